"""Writes rows of a model's past straight into the tables, each with its entry in the ledger."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from core.canonical import canonical, sha256
from governance.ledger.append import append_entry
from governance.proof.note import sign_note
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Incident, Model, ReferenceRow, SpecRevision, Window
from retrain.tables import ModelVersion, TriggerDecision

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


class Teller:
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

    def baseline(self, name: str, reason: str, start: datetime, from_seq: int) -> ReferenceRow:
        end = start + 4 * STEP
        row: ReferenceRow = self.add(
            ReferenceRow(
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

    def alert(
        self, monitor: str, metric: str, first: Window, windows: int, value: float, limit: float, sentence: str
    ) -> Alert:
        at = first.closed_at + timedelta(minutes=1)
        incident = self.add(
            Incident(
                id=self.id(f"incident {monitor}"),
                model_id=self.model.id,
                headline=sentence,
                severity="warning",
                from_ts=first.from_ts,
                to_ts=first.to_ts,
                opened_at=at,
            )
        )
        row: Alert = self.add(
            Alert(
                id=self.id(f"alert {monitor}"),
                model_id=self.model.id,
                incident_id=incident.id,
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
