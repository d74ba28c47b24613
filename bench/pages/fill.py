"""Fill an empty home folder with models and a year of measurements, bound to the ledger as the service binds them.

    python bench/pages/fill.py HOME --models 100 --days 365

It prints the key of an administrator and what to ask for as JSON. It stands alone, so that a build of an earlier
commit can fill its own database: the pages of both are then asked about the same rows.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID, uuid4

import numpy as np
import polars as pl
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.canonical import sha256
from core.settings import load
from governance.access.api_keys import first_admin
from governance.binding.session import bind_inserted
from governance.ledger.append import append_entry
from migrations import upgrade
from monitor.fairness.counts import count
from monitor.fairness.counts_codec import encode
from monitor.fairness.grouping import Grouping
from monitor.profile.block import profile_block
from monitor.profile.codec import to_bytes
from monitor.profile.fit_reference import fit_reference
from monitor.reference.choose_rows import watched_columns
from monitor.site import Site, open_site
from monitor.spec.parse import parse_spec
from monitor.tables import (
    Alert,
    FairnessCounts,
    Incident,
    Measurement,
    Model,
    ReferenceRow,
    SpecRevision,
    StoredProfile,
    Window,
)
from retrain.tables import GateRow, ModelVersion, Run, TriggerDecision

NUMBERS: Final = tuple(f"amount_{i}" for i in range(6))
LEVELS: Final = tuple(f"kind_{i}" for i in range(3))
CHANNELS: Final = ("web", "phone", "branch", "partner")
ROWS: Final = 1_000  # of a window
DEEP: Final = 2  # models with the profiles of their windows, as every model of a service has
REFERENCE_DAYS: Final = 28
PROMOTED: Final = (0, 120, 240)  # days on which a version is promoted


def spec_of(name: str, risk: str = "limited") -> dict[str, Any]:
    numbers = {n: {"role": "input", "type": "number", "unit": "EUR"} for n in NUMBERS}
    levels = {n: {"role": "input", "type": "category"} for n in LEVELS}
    return {
        "model": name, "task": "classification", "owner": "risk@example.com", "purpose": "decide on applications",
        "risk": risk,
        "columns": {
            **numbers, **levels,
            "channel": {"role": "segment", "type": "category"},
            "age_band": {"role": "protected", "type": "category"},
            "tokens": {"role": "measure", "type": "number", "unit": "tokens"},
            "score": {"role": "score", "type": "number", "positive": "yes"},
            "decision": {"role": "prediction", "type": "category"},
            "truth": {"role": "outcome", "type": "category"},
        },
        "baseline": {"rows": f"first {REFERENCE_DAYS * ROWS}"},
        "monitors": {
            "windows": ["1d"], "false_alarms": "1 per 30d",
            "kpi": [{"metric": "accuracy", "min": 0.85}, {"metric": "f1_macro"}],
            "fairness": [
                {"metric": "demographic_parity_difference", "by": ["age_band"], "max": 0.1, "min_group": 30}
            ],
        },
    }  # fmt: skip


class Filler:
    """Writes one model: its windows a day long, and what was measured in them."""

    def __init__(self, site: Site, db: Session, name: str, start: datetime, days: int, seed: int) -> None:
        self.site, self.db, self.name, self.start, self.days = site, db, name, start, days
        self.random, self.model_id = Random(seed), uuid4()
        self.windows: list[dict[str, Any]] = []

    def rows(self, table: Any, given: list[dict[str, Any]]) -> None:
        if given:
            bind_inserted(self.db, table, given)
            self.db.connection().execute(insert(table.__table__), given)

    def add(self, row: Any) -> Any:
        self.db.add(row)
        self.db.flush()
        return row

    def log(self, kind: str, at: datetime, body: Mapping[str, Any], subject: str | None = None) -> None:
        append_entry(self.db, kind=kind, actor="bench", subject=subject or f"model:{self.name}", body=body, at=at)

    def write(self, artifact: str, quarters: list[bytes], counts: bytes) -> None:
        spec = parse_spec(spec_of(self.name))
        self.add(Model(id=self.model_id, name=self.name, revision=1, created_at=self.start))
        self.add(
            SpecRevision(
                model_id=self.model_id, revision=1, digest=spec.digest, document=spec.document, author="bench",
                created_at=self.start,
            )
        )  # fmt: skip
        self.log("model.spec", self.start, {"revision": 1, "digest": spec.digest, "previous": None})
        references = [self._reference(at, artifact) for at in PROMOTED if at < self.days]
        for day in range(self.days):
            self._window(day, references)
        self.rows(Window, self.windows)
        for window in self.windows:
            self.rows(Measurement, list(self._measured(window)))
        self._counts(counts)
        self._profiles(references[-1], quarters)
        self._alerts()
        self._versions()
        self._decisions()

    def _reference(self, day: int, artifact: str) -> ReferenceRow:
        at = self.start + timedelta(days=day)
        end = at + timedelta(days=REFERENCE_DAYS)
        row: ReferenceRow = self.add(
            ReferenceRow(
                model_id=self.model_id, spec_revision=1, state="ready", reason=f"v{day} promoted", from_seq=day * ROWS,
                to_seq=(day + REFERENCE_DAYS) * ROWS, from_ts=at, to_ts=end, origin_ts=at, artifact=artifact,
                rows=REFERENCE_DAYS * ROWS, created_at=at, ready_at=end, profiled_seq=self.days * ROWS,
                estimator_reason="not fitted",
            )
        )  # fmt: skip
        self.log("model.baseline", end, {"baseline": row.id, "digest": artifact, "rows": row.rows, "reason": "made"})
        return row

    def _window(self, day: int, references: list[ReferenceRow]) -> None:
        at = self.start + timedelta(days=day)
        base = [r for r in references if r.from_seq <= day * ROWS][-1]
        number = (day * ROWS - base.from_seq) // ROWS
        collected = number < REFERENCE_DAYS
        drifted = not collected and self.random.random() < 0.03
        p = None if collected else 0.0005 if drifted else self.random.uniform(0.05, 0.98)
        verdict = "reference" if collected else "drift" if drifted else "no_evidence"
        sentence = {"reference": "Drift not judged: these rows belong to the reference itself.",
                    "drift": "Drift: amount_0, mean +0.31 std."}.get(verdict, "No evidence of a change.")  # fmt: skip
        columns = [] if collected else [self._finding(c, drifted and c == "amount_0") for c in (*NUMBERS, *LEVELS)]
        visible = [{"column": c, "change": 0.05, "unit": "std", "statement": f"a change of {c} by 0.05 std"}
                   for c in NUMBERS]  # fmt: skip
        self.windows.append({
            "id": uuid4(), "model_id": self.model_id, "baseline_id": base.id, "spec_revision": 1, "scale": "1d",
            "number": number, "from_seq": day * ROWS, "to_seq": (day + 1) * ROWS, "from_ts": at,
            "to_ts": at + timedelta(days=1), "rows": ROWS, "versions": [f"v{sum(d <= day for d in PROMOTED)}"],
            "sentence": sentence, "verdict": "alarm" if drifted else "unknown" if collected else "ok",
            "decision": {
                "verdict": verdict, "judged": p is not None, "p": p, "alpha": 0.02, "reason": sentence,
                "columns": columns, "visible": [] if collected else visible, "sentence": sentence,
                "n_reference": ROWS * REFERENCE_DAYS, "n_window": ROWS, "unjudged": [],
            },
            "labels": max(0, int(ROWS * min(1.0, (self.days - day) / 10))), "next_outcome": 0, "events_version": day,
            "judged_seq": (day + 1) * ROWS, "closed_at": at + timedelta(days=1), "refreshed_at": at + timedelta(days=1),
            "corrected_at": None, "corrections": 0, "history": [],
        })  # fmt: skip

    def _finding(self, column: str, alarmed: bool) -> dict[str, Any]:
        number = column in NUMBERS
        value = 0.31 if alarmed else self.random.gauss(0, 0.02)
        return {
            "column": column, "kind": "number" if number else "category", "effect": "location" if number else "share",
            "detail": None if number else "b", "value": value, "reference": 10.0 if number else 0.5,
            "current": (10.0 if number else 0.5) + value, "unit": "std" if number else "share of rows",
            "t": value * 30, "adjusted_p": 0.0005 if alarmed else self.random.uniform(0.2, 1.0), "alarmed": alarmed,
            "above_floor": alarmed, "visible_change": 0.05, "times_floor": abs(value) / 0.05,
        }  # fmt: skip

    def _measured(self, window: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """About fifty numbers of a window, as those of the service: drift, KPIs by segment, fairness, data quality."""
        whole = {
            "model_id": self.model_id, "window_id": window["id"], "from_ts": window["from_ts"],
            "to_ts": window["to_ts"], "computed_at": window["closed_at"],
        }  # fmt: skip
        decision, n = window["decision"], ROWS
        reason = None if decision["judged"] else window["sentence"]
        yield _measurement(whole, "drift", "p_value", decision["p"], n, reason=reason, unit="probability", limit=0.02,
                           alarm=decision["verdict"] == "drift",
                           details={"verdict": decision["verdict"], "draws": 999})  # fmt: skip
        for c in decision["columns"]:
            details = {k: c[k] for k in ("effect", "detail", "t", "adjusted_p", "above_floor", "visible_change",
                                         "reference", "current", "times_floor")}  # fmt: skip
            yield _measurement(whole, "drift", "effect", c["value"], n, column=c["column"], unit=c["unit"],
                               details=details | {"named": c["alarmed"]})  # fmt: skip
            yield _measurement(whole, "drift", "psi", abs(c["value"]) / 10, n, column=c["column"], unit="nats",
                               details={"expected": 0.01})  # fmt: skip
        labels = window["labels"]
        for metric, limit in (("accuracy", 0.85), ("f1_macro", None)):
            for segment in ("", *(f"channel={c}" for c in CHANNELS)):
                yield self._kpi(whole, metric, limit, segment, labels if not segment else labels // 4)
        groups = [{"group": g, "n": k, "rates": {"selection_rate": r}, "intervals": {}, "too_small": False}
                  for g, k, r in (("18-34", 400, 0.5), ("35-54", 380, 0.52), ("55+", 220, 0.47))]  # fmt: skip
        gap = 0.05 + self.random.uniform(-0.02, 0.02)
        yield _measurement(whole, "fairness", "demographic_parity_difference", gap, n, column="age_band", low=gap / 2,
                           high=gap * 2, limit=0.1,
                           details={"groups": groups, "between": ["35-54", "55+"]})  # fmt: skip
        for column in (*NUMBERS, *LEVELS):
            yield _measurement(whole, "quality", "missing", abs(self.random.gauss(0, 0.002)), n, column=column,
                               details={"adjusted_p": 0.8, "reference": 0.001})  # fmt: skip
        yield _measurement(whole, "volume", "rows", float(ROWS), n, unit="rows",
                           details={"expected": float(ROWS), "p": 0.7})  # fmt: skip

    def _kpi(self, whole: Mapping[str, Any], metric: str, limit: float | None, segment: str, n: int) -> dict[str, Any]:
        if n < 30:
            return _measurement(whole, "kpi", metric, None, n, segment=segment, limit=limit,
                                reason="no outcome has arrived yet")  # fmt: skip
        value = 0.91 + self.random.uniform(-0.015, 0.015)
        spread = 1.96 * math.sqrt(value * (1 - value) / n)
        estimate = value + self.random.uniform(-0.01, 0.01)
        return _measurement(
            whole, "kpi", metric, value, n, segment=segment, low=value - spread, high=value + spread, limit=limit,
            estimated=estimate, estimated_low=estimate - 0.02, estimated_high=estimate + 0.02, estimate_inside=True,
            details={"rows": ROWS, "coverage": n / ROWS, "judgement": {"judged": True, "alpha": 0.001, "min_rows": 30}},
        )  # fmt: skip

    def _counts(self, data: bytes) -> None:
        self.rows(FairnessCounts, [
            {"id": uuid4(), "model_id": self.model_id, "window_id": w["id"], "rows": 500, "labelled": 480,
             "data": data, "computed_at": w["closed_at"]}
            for w in self.windows
        ])  # fmt: skip

    def _profiles(self, reference: ReferenceRow, quarters: list[bytes]) -> None:
        found = [
            {"id": uuid4(), "baseline_id": reference.id, "label": int(w["from_ts"].timestamp()) // 21_600 + q,
             "version": "", "segment": segment, "rows": ROWS // 4, "data": data, "unencoded": {}}
            for w in self.windows if w["baseline_id"] == reference.id for q, data in enumerate(quarters)
            for segment in ("", *(f"channel={c}" for c in CHANNELS))
        ]  # fmt: skip
        if found:
            self.db.connection().execute(insert(StoredProfile.__table__), found)  # type: ignore[arg-type]

    def _alerts(self) -> None:
        alarmed = [w for w in self.windows if w["verdict"] == "alarm"][-8:]
        for i, window in enumerate(alarmed):
            at = window["closed_at"] + timedelta(minutes=1)
            resolved = at + timedelta(hours=5) if i < len(alarmed) - 1 or self.random.random() < 0.7 else None
            state = "resolved" if resolved else "open"
            incident = self.add(
                Incident(
                    model_id=self.model_id, headline=window["sentence"], severity="warning", state=state,
                    from_ts=window["from_ts"], to_ts=window["to_ts"], opened_at=at, resolved_at=resolved,
                )
            )  # fmt: skip
            alert = self.add(
                Alert(
                    model_id=self.model_id, incident_id=incident.id, monitor="drift", metric="p_value", value=0.0005,
                    limit=0.02, sentence=window["sentence"], first_window_id=window["id"],
                    last_window_id=window["id"], state=state, opened_at=at, resolved_at=resolved,
                )
            )  # fmt: skip
            self.log("alert.opened", at, {"alert": alert.id, "monitor": "drift"})

    def _versions(self) -> None:
        for i, day in enumerate(d for d in PROMOTED if d < self.days):
            at = self.start + timedelta(days=day)
            newest = day == max(d for d in PROMOTED if d < self.days)
            self.add(
                ModelVersion(
                    model_id=self.model_id, version=f"v{i + 1}", stage="champion" if newest else "retired",
                    base_model="base", base_digest=sha256(b"base"), adapter=None, labels=["no", "yes"], created_at=at,
                    promoted_at=at, retired_at=None if newest else at + timedelta(days=120),
                )
            )  # fmt: skip
            self.log("version.registered", at, {"version": f"v{i + 1}"})

    def _decisions(self) -> None:
        made = [
            {"id": uuid4(), "model_id": self.model_id, "spec_revision": 1, "window_id": w["id"], "cause": "window",
             "fired": w["verdict"] == "alarm", "reason": "drift in the last window", "triggers": [], "blocked_by": [],
             "request_key": None, "request_digest": None, "at": w["closed_at"]}
            for w in self.windows
        ]  # fmt: skip
        self.rows(TriggerDecision, made)
        for decision in [d for d in made if d["fired"]][-3:]:
            run = self.add(
                Run(
                    model_id=self.model_id, decision_id=decision["id"], spec_revision=1, state="rejected",
                    champion_version="v1", candidate_version=None, approvals=[], created_at=decision["at"],
                    finished_at=decision["at"] + timedelta(hours=2),
                )
            )  # fmt: skip
            self.add(GateRow(run_id=run.id, gate="no_regression", verdict="fail", reason="worse", evidence={},
                             at=decision["at"]))  # fmt: skip


def _measurement(
    whole: Mapping[str, Any], monitor: str, metric: str, value: float | None, n: int, **more: Any
) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(
        ("reason", "low", "high", "limit", "n_reference", "estimated", "estimated_low", "estimated_high",
         "estimate_inside", "previous_value", "previous_n", "corrected_at")
    )  # fmt: skip
    return {
        "id": uuid4(), **whole, "monitor": monitor, "metric": metric, "column": "", "segment": "", "unit": "share",
        "alarm": False, "details": {}, **empty, "value": value, "n": n, **more,
    }  # fmt: skip


def _frame(rows: int, start: datetime, days: int) -> pl.DataFrame:
    found = np.random.default_rng(1)
    step = days * 86_400_000_000 // rows
    ts = pl.Series([start + timedelta(microseconds=step * i) for i in range(rows)], dtype=pl.Datetime("us", "UTC"))
    numbers = {n: found.normal(10.0, 2.0, rows) for n in NUMBERS}
    levels = {n: found.choice(["a", "b", "c", "d"], rows) for n in LEVELS}
    return pl.DataFrame({
        "ts": ts, **numbers, **levels, "channel": found.choice(list(CHANNELS), rows),
        "age_band": found.choice(["18-34", "35-54", "55+"], rows), "tokens": found.poisson(300, rows).astype(float),
        "score": found.uniform(0, 1, rows), "decision": found.choice(["yes", "no"], rows),
        "truth": found.choice(["yes", "no"], rows),
    })  # fmt: skip


def _blobs(site: Site, start: datetime) -> tuple[str, list[bytes], bytes]:
    """The digest of a fitted reference, the profiles of a day by quarter, and the counts of a window by age band."""
    spec = parse_spec(spec_of("model-000"))
    reference = _frame(REFERENCE_DAYS * ROWS, start, REFERENCE_DAYS)
    labels = (reference["ts"].dt.epoch("s") // 21_600).cast(pl.Int64).to_numpy()
    fitted = fit_reference(reference, watched_columns(spec), blocks=labels, parts=4)
    day = _frame(ROWS, start, 1)
    quarters = [to_bytes(profile_block(day[q * 250 : q * 250 + 250], fitted)) for q in range(4)]
    counted = count(
        day.head(500).select("age_band", prediction="decision", outcome="truth"), Grouping(("age_band",)),
        prediction="prediction", outcome="outcome",
    )  # fmt: skip
    return site.artifacts.put(fitted.to_bytes()), quarters, encode(counted)


def fill(home: Path, models: int, days: int) -> dict[str, Any]:
    """Fill a home folder; returns a key, and the names and ids to ask for."""
    settings = load(home=home)
    upgrade(settings.database_url)
    site = open_site(settings)
    start = (datetime.now(UTC) - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    key = first_admin(site)
    artifact, quarters, counts = _blobs(site, start)
    asked: dict[str, Any] = {}
    for i in range(models):
        with site.database.write() as db:
            filler = Filler(site, db, f"model-{i:03d}", start, days, seed=i)
            filler.write(artifact, quarters if i < DEEP else [], counts)
            if i == 0:
                asked = {"model": filler.name, "window": str(filler.windows[-2]["id"])}
                asked["alert"] = _alert_of(db, filler.model_id)
    site.close()
    ends = {"since": start.date().isoformat(), "until": (start + timedelta(days=days)).date().isoformat()}
    return {"key": key, **ends, **asked}


def _alert_of(db: Session, model: UUID) -> str:
    from monitor.store import alerts

    return str(alerts(db, model)[-1].id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--days", type=int, default=365)
    given = parser.parse_args()
    print(json.dumps(fill(given.home, given.models, given.days)))


if __name__ == "__main__":
    main()
