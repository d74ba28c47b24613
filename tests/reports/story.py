"""A plausible month of one model, straight into the tables: quiet, drift, a held-back decision, a retrain, recovery."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from core.canonical import canonical, sha256, timestamp
from governance.ledger.append import append_entry
from governance.proof.note import sign_note
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, BaselineRow, Dataset, Explanation, Measurement, Model, SpecRevision, Window
from retrain.tables import GateRow, ModelVersion, Run, TriggerDecision

START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(hours=12)
END = START + 34 * STEP
SPACE = UUID("6f1d3c52-0d0b-4f0e-9a52-3f1f6f0f7a10")
SPEC: dict[str, Any] = {
    "model": "support-intents",
    "task": "classification",
    "owner": "ml-support@example.com",
    "purpose": "route customer messages to the right queue",
    "risk": "high",
    "columns": {
        "text": {"role": "input", "type": "text"},
        "channel": {"role": "segment", "type": "category"},
        "intent": {"role": "prediction", "type": "category"},
        "confidence": {"role": "score", "type": "number"},
        "age_band": {"role": "protected", "type": "category"},
        "customer": {"role": "subject", "type": "string"},
        "intent_true": {"role": "outcome", "type": "category"},
    },
    "baseline": {"rows": "first 2000"},
    "monitors": {
        "windows": {"rows": 500},
        "false_alarms": {"alpha": 0.01},
        "kpi": [{"metric": "accuracy", "min": 0.85}, {"metric": "f1_macro"}],
        "fairness": [{"metric": "equalized_odds_difference", "by": ["age_band"], "max": 0.12, "min_group": 30}],
    },
    "retrain": {
        "when": ["drift", "kpi", {"new_outcomes": 5000}, {"cron": "0 3 * * 0"}],
        "recipe": {"base_model": "models/base-3m", "method": "qlora", "task": "sequence_classification"},
        "approval": "one",
    },
}


def _evaluated(rows: str, model: str, value: float, n: int) -> dict[str, Any]:
    return {"name": "accuracy", "rows": rows, "model": model, "value": value, "low": value - 0.02, "high": value + 0.02,
            "n": n, "unit": "share", "reason": None}  # fmt: skip


EVALUATION: dict[str, Any] = {
    "evaluations": [
        _evaluated("new", "champion", 0.741, 842),
        _evaluated("new", "challenger", 0.894, 842),
        _evaluated("old", "champion", 0.912, 2000),
        _evaluated("old", "challenger", 0.899, 2000),
    ],
    "differences": [
        {"name": "accuracy", "rows": "new", "value": 0.153, "low": 0.118, "high": 0.188, "n": 842},
        {"name": "accuracy", "rows": "old", "value": -0.013, "low": -0.021, "high": -0.005, "n": 2000},
    ],
    "config": {"output_dir": "/srv/assay/runs/1/evaluated"},
}


@dataclass(frozen=True)
class Story:
    model_id: UUID
    run_id: UUID
    alert_id: UUID
    start: datetime = START
    end: datetime = END


class _Teller:
    def __init__(self, site: Site, db: Session) -> None:
        self.site, self.db, self.random, self.made = site, db, Random(7), 0
        self.model = Model(
            id=self.id("model"), name=str(SPEC["model"]), revision=2, created_at=START - timedelta(days=2)
        )
        db.add(self.model)
        db.flush()

    def id(self, name: str) -> UUID:
        return uuid5(SPACE, name)

    def add(self, row: Any) -> Any:
        self.db.add(row)
        self.db.flush()
        return row

    def log(self, kind: str, actor: str, at: datetime, body: Mapping[str, Any], subject: str | None = None) -> None:
        where = subject or f"model:{self.model.name}"
        append_entry(self.db, kind=kind, actor=actor, subject=where, body=body, at=at)

    def specs(self) -> None:
        first = {
            **SPEC,
            "monitors": {**SPEC["monitors"], "fairness": [{**SPEC["monitors"]["fairness"][0], "max": 0.15}]},
        }
        for number, (document, at) in enumerate(((first, START - timedelta(days=2)), (SPEC, START + 9 * STEP)), 1):
            spec = parse_spec(document)
            self.add(
                SpecRevision(
                    model_id=self.model.id,
                    revision=number,
                    digest=spec.digest,
                    document=spec.document,
                    author="a.lindqvist",
                    created_at=at,
                )
            )
            self.log("model.spec", "a.lindqvist", at, {"revision": number, "digest": spec.digest, "previous": None})

    def version(self, name: str, at: datetime, promoted: datetime, retired: datetime | None, run: UUID | None) -> None:
        adapter = None if run is None else sha256(name.encode())
        row = self.add(
            ModelVersion(
                model_id=self.model.id,
                version=name,
                stage="retired" if retired else "champion",
                base_model="models/base-3m",
                base_digest=sha256(b"base"),
                adapter=adapter,
                labels=["card lost", "transfer"],
                run_id=run,
                created_at=at,
                promoted_at=promoted,
                retired_at=retired,
                signature=None,
            )
        )
        row.signature = sign_note(canonical({"version": name}).decode() + "\n", [self.site.keys.signing])
        body = {"version": name, "base_digest": row.base_digest, "adapter": adapter, "run": run}
        self.log("version.registered", "assay", at, body)
        self.log(
            "version.promoted", "assay" if run is None else "m.ortiz", promoted, {**body, "reason": "gates passed"}
        )

    def baseline(self, name: str, reason: str, start: datetime, from_seq: int) -> BaselineRow:
        end = start + 4 * STEP
        row: BaselineRow = self.add(
            BaselineRow(
                id=self.id(name),
                model_id=self.model.id,
                spec_revision=1,
                state="ready",
                reason=reason,
                from_seq=from_seq,
                to_seq=from_seq + 2000,
                from_ts=start,
                to_ts=end,
                rows=2000,
                artifact=sha256(name.encode()),
                created_at=start,
                ready_at=end,
            )
        )
        body = {"baseline": row.id, "digest": row.artifact, "rows": 2000, "reason": reason}
        self.log("model.baseline", "assay", end, body)
        return row

    def window(
        self, i: int, baseline: BaselineRow, number: int, accuracy: float, drifted: bool, version: str
    ) -> Window:
        start, r = START + i * STEP, self.random
        reference = number < 4
        p = None if reference else 0.001 if drifted else r.uniform(0.05, 0.98)
        labels = max(0, int(500 * (0.96 - 0.16 * max(0, i - 28))) - r.randrange(20))
        verdict = "reference" if reference else "drift" if drifted else "no_evidence"
        columns = []
        if drifted:
            columns = [
                {
                    "column": "text.oov",
                    "kind": "number",
                    "effect": "location",
                    "detail": None,
                    "value": 0.183,
                    "reference": 0.02,
                    "current": 0.203,
                    "unit": "share",
                    "t": 11.2,
                    "adjusted_p": 0.001,
                    "alarmed": True,
                    "above_floor": True,
                    "visible_change": 0.021,
                },
                {
                    "column": "confidence",
                    "kind": "number",
                    "effect": "location",
                    "detail": None,
                    "value": -0.31,
                    "reference": 0.9,
                    "current": 0.59,
                    "unit": "std",
                    "t": -8.1,
                    "adjusted_p": 0.001,
                    "alarmed": True,
                    "above_floor": True,
                    "visible_change": 0.12,
                },
            ]
        visible = (
            []
            if reference
            else [
                {
                    "column": "text.oov",
                    "change": r.uniform(0.018, 0.03),
                    "unit": "share",
                    "statement": "a change of the mean of text.oov by 0.021 or more would have shown",
                },
                {
                    "column": "confidence",
                    "change": r.uniform(0.1, 0.14),
                    "unit": "std",
                    "statement": "a change of the mean of confidence by 0.12 or more would have shown",
                },
            ]
        )
        sentence = {
            "reference": "Drift not judged: these rows belong to the reference itself.",
            "drift": "Drift: unknown words in text, mean 0.20 instead of 0.02; confidence, mean 0.59 instead of 0.90.",
            "no_evidence": f"No evidence of a change in 500 rows (p = {p or 0:.2g} > 0.01).",
        }[verdict]
        row: Window = self.add(
            Window(
                id=self.id(f"window {i}"),
                model_id=self.model.id,
                baseline_id=baseline.id,
                spec_revision=1 if i < 9 else 2,
                scale="500 rows",
                number=number,
                from_seq=i * 500,
                to_seq=i * 500 + 500,
                from_ts=start,
                to_ts=start + STEP,
                rows=500,
                versions=[version],
                verdict="alarm" if drifted or accuracy < 0.85 else "ok",
                sentence=sentence,
                decision={
                    "verdict": verdict,
                    "judged": p is not None,
                    "p": p,
                    "alpha": 0.01,
                    "reason": sentence,
                    "columns": columns,
                    "visible": visible,
                    "sentence": sentence,
                },
                labels=labels,
                events_version=i * 5,
                closed_at=start + STEP,
                refreshed_at=start + STEP,
            )
        )
        self._measure(row, "drift", "p_value", p, None if p is not None else sentence, 500, limit=0.01, alarm=drifted)
        for metric, value, limit in (("accuracy", accuracy, 0.85), ("f1_macro", accuracy - 0.02, None)):
            enough = labels >= 100
            spread = 1.96 * (value * (1 - value) / max(labels, 1)) ** 0.5
            self._measure(
                row,
                "kpi",
                metric,
                value if enough else None,
                None if enough else f"{labels} labelled rows, 100 needed",
                labels,
                low=value - spread if enough else None,
                high=value + spread if enough else None,
                limit=limit,
                alarm=enough and limit is not None and value < limit,
                details={"method": "Wilson score"},
            )
        gap = 0.05 + (0.04 if drifted else 0.0) + r.uniform(-0.02, 0.02)
        groups = [
            {"group": g, "n": n, "rates": {"true_positive_rate": t, "false_positive_rate": 0.04}, "too_small": n < 30}
            for g, n, t in (
                ("18-34", 231, accuracy),
                ("35-54", 168, accuracy - gap),
                ("55+", 83, accuracy - 0.01),
                ("unknown", 12, 0.9),
            )
        ]
        self._measure(
            row,
            "fairness",
            "equalized_odds_difference",
            gap,
            None,
            labels,
            column="age_band",
            low=gap / 2,
            high=gap + 0.05,
            limit=0.15 if i < 9 else 0.12,
            alarm=False,
            details={"groups": groups, "method": "bootstrap within groups"},
        )
        return row

    def _measure(
        self,
        w: Window,
        monitor: str,
        metric: str,
        value: float | None,
        reason: str | None,
        n: int,
        *,
        column: str = "",
        low: float | None = None,
        high: float | None = None,
        limit: float | None = None,
        alarm: bool = False,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.add(
            Measurement(
                model_id=self.model.id,
                window_id=w.id,
                monitor=monitor,
                metric=metric,
                column=column,
                segment="",
                value=value,
                reason=reason,
                low=low,
                high=high,
                unit="probability" if monitor == "drift" else "share",
                limit=limit,
                alarm=alarm,
                n=n,
                n_reference=2000 if monitor == "drift" else None,
                details=details or {},
                from_ts=w.from_ts,
                to_ts=w.to_ts,
                computed_at=w.closed_at,
            )
        )

    def alert(
        self, monitor: str, metric: str, first: Window, windows: int, value: float, limit: float, sentence: str
    ) -> Alert:
        at = first.closed_at + timedelta(minutes=1)
        row: Alert = self.add(
            Alert(
                id=self.id(f"alert {monitor}"),
                model_id=self.model.id,
                monitor=monitor,
                metric=metric,
                value=value,
                limit=limit,
                sentence=sentence,
                first_window_id=first.id,
                last_window_id=first.id,
                windows=windows,
                state="open",
                opened_at=at,
            )
        )
        body = {
            "alert": row.id,
            "monitor": monitor,
            "metric": metric,
            "window": first.id,
            "value": value,
            "limit": limit,
        }
        self.log("alert.opened", "assay", at, body)
        return row

    def answer(self, alert: Alert, acknowledged: datetime, resolved: datetime | None) -> None:
        alert.state, alert.acknowledged_at, alert.acknowledged_by = "acknowledged", acknowledged, "j.park"
        self.log("alert.acknowledged", "j.park", acknowledged, {"alert": alert.id, "monitor": alert.monitor})
        if resolved is not None:
            alert.state, alert.resolved_at, alert.resolved_by, alert.note = (
                "resolved",
                resolved,
                "j.park",
                "v2 answers the new requests",
            )
            self.log("alert.resolved", "j.park", resolved, {"alert": alert.id, "monitor": alert.monitor})

    def decision(
        self, name: str, window: Window, fired: bool, reason: str, blocked: list[dict[str, str]]
    ) -> TriggerDecision:
        at = window.closed_at + timedelta(minutes=2)
        triggers = [
            {"name": "drift", "fire": True, "reason": "an alarm in the last window", "evidence": [str(window.id)]}
        ]
        row: TriggerDecision = self.add(
            TriggerDecision(
                id=self.id(name),
                model_id=self.model.id,
                spec_revision=2,
                window_id=window.id,
                cause="window",
                fired=fired,
                reason=reason,
                triggers=triggers,
                blocked_by=blocked,
                at=at,
            )
        )
        self.log("trigger.decision", "assay", at, {"decision": row.id, "fired": fired, "reason": reason})
        return row

    def run(self, decision: TriggerDecision, finished: datetime) -> Run:
        at, run_id = decision.at, self.id("run")
        subject = f"run:{run_id}"
        ids = {}
        for role, rows in (("train", 4210), ("eval", 842), ("holdout", 2000)):
            digest = sha256(role.encode())
            provenance = {
                "sources": [
                    {"table": "support-intents/events", "from_seq": 0, "to_seq": 11_000, "delta_version": 95},
                    {"table": "support-intents/outcomes", "outcomes": 4600, "delta_version": 61},
                ],
                "filters": ["labelled"],
                "labels": {"card lost": rows - 400, "transfer": 300, "crypto": 100},
                "dropped": {"repeats a later text": 212},
                "parents": [],
            }
            row = self.add(
                Dataset(
                    model_id=self.model.id,
                    name=f"{role} 2026-03-12",
                    role=role,
                    digest=digest,
                    rows=rows,
                    provenance=provenance,
                    run_id=run_id,
                    created_at=at,
                    created_by="assay",
                )
            )
            ids[role] = row.id
            self.log(
                "dataset.registered",
                "assay",
                at,
                {"dataset": row.id, "digest": digest, "rows": rows, "role": role},
                subject,
            )
        config = {
            "base_dir": "/srv/assay/models/base-3m",
            "output_dir": "/srv/assay/runs/1/trained",
            "train": {"path": "/srv/assay/artifacts/tr", "sha256": sha256(b"train")},
            "labels": ["card lost", "transfer", "crypto"],
            "recipe": {
                "base_model": "/srv/assay/models/base-3m",
                "method": "qlora",
                "task": "sequence_classification",
                "r": 16,
                "lora_alpha": 32,
                "epochs": 5,
                "learning_rate": 0.001,
                "batch_size": 32,
                "seed": 7,
            },
            "threads": 2,
        }
        row = self.add(
            Run(
                id=run_id,
                model_id=self.model.id,
                decision_id=decision.id,
                spec_revision=2,
                state="promoted",
                champion_version="v1",
                candidate_version="v2",
                config=config,
                config_digest=sha256(canonical(config)),
                train_dataset_id=ids["train"],
                eval_dataset_id=ids["eval"],
                holdout_dataset_id=ids["holdout"],
                progress={"phase": "done", "step": 330, "steps": 330, "loss": 0.214},
                metrics={
                    "config": config,
                    "loss": [2.0 / (1 + i / 40) for i in range(330)],
                    "grad_norm": [1.0] * 330,
                    "steps": 330,
                    "train_seconds": 171.0,
                    "peak_rss_bytes": 1411 * 2**20,
                    "labels_new": ["crypto"],
                    "rows_train": 4210,
                    "device": "cpu",
                    "threads": 2,
                    "libraries": {"torch": "2.13.0", "peft": "0.21.2"},
                    "quantisation": {"type": "nf4", "double": True},
                    "digests": {"base": sha256(b"base")},
                },
                evaluation=EVALUATION,
                attempts=1,
                approvals=[{"actor": "m.ortiz", "at": timestamp(finished), "reason": "reviewed the gates"}],
                created_at=at,
                started_at=at,
                finished_at=finished,
            )
        )
        self.log(
            "run.started", "assay", at, {"run": run_id, "decision": decision.id, "config": row.config_digest}, subject
        )
        for gate, reason in (
            ("fairness", "equalized_odds_difference by age_band 0.061, limit 0.12, n = 842"),
            ("forgetting", "accuracy on the old hold-out 0.899 after 0.912, loss 0.013, limit 0.04, n = 2000"),
            ("integrity", "adapter has 24 tensors, all finite; logits change on 100 % of 64 rows"),
            ("no_regression", "accuracy 0.894 after 0.741 on the same 842 rows; interval of the gain 0.118 to 0.188"),
        ):
            self.add(GateRow(run_id=run_id, gate=gate, verdict="pass", reason=reason, evidence={}, at=finished))
            self.log("gate.result", "assay", finished, {"run": run_id, "gate": gate, "verdict": "pass"}, subject)
        self.log("run.approved", "m.ortiz", finished, {"run": run_id, "reason": "reviewed the gates"}, subject)
        return row  # type: ignore[no-any-return]  # add() takes any row


def tell(site: Site, db: Session) -> Story:
    """Write the story; times lie in March 2026, whatever the clock says."""
    t = _Teller(site, db)
    t.specs()
    t.version("v1", START - timedelta(days=1), START - timedelta(days=1), START + 22 * STEP, None)
    first = t.baseline("first", "model declared", START, 0)
    windows = []
    for i in range(22):
        drifted = i >= 15
        accuracy = (0.76 if drifted else 0.91) + t.random.uniform(-0.012, 0.012)
        windows.append(t.window(i, first, i, accuracy, drifted, "v1"))
    drift = t.alert(
        "drift",
        "p_value",
        windows[15],
        7,
        0.001,
        0.01,
        "Drift: unknown words in text, mean 0.20 instead of 0.02; confidence, mean 0.59 instead of 0.90.",
    )
    kpi = t.alert(
        "kpi",
        "accuracy",
        windows[16],
        6,
        0.757,
        0.85,
        "accuracy 0.757 (0.715 to 0.794), n = 467, below its limit 0.85.",
    )
    t.decision(
        "held",
        windows[15],
        False,
        "162 labelled events since the last training set, 200 needed",
        [{"name": "min_outcomes", "reason": "162 of 200"}],
    )
    fired = t.decision("fired", windows[18], True, "drift in 4 windows and 1,640 new outcomes", [])
    promoted = START + 22 * STEP
    run = t.run(fired, promoted - timedelta(hours=1))
    t.version("v2", promoted - timedelta(hours=1), promoted, None, run.id)
    second = t.baseline("second", "version v2 promoted", promoted, 11_000)
    for i in range(22, 34):
        windows.append(t.window(i, second, i - 22, 0.893 + t.random.uniform(-0.012, 0.012), False, "v2"))
    drift.confirmation = {
        "window_id": str(windows[15].id),
        "artifact": sha256(b"confirmation"),
        "drifted_columns": ["text", "confidence"],
        "share": 0.5,
    }
    t.answer(drift, drift.opened_at + timedelta(hours=3), promoted + timedelta(days=1))
    t.answer(kpi, kpi.opened_at + timedelta(hours=4), promoted + timedelta(days=1))
    for i in range(3):
        t.add(
            Explanation(
                model_id=t.model.id,
                event_id=f"e-{i}",
                version="v1",
                artifact=sha256(f"e{i}".encode()),
                additivity_residual=1e-6 * (i + 1),
                created_at=START + 16 * STEP,
            )
        )
    return Story(t.model.id, run.id, drift.id)
