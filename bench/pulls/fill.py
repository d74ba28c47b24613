"""Fill an empty home folder with one model and what a service has measured of ten million of its events.

    python -m bench.pulls.fill HOME [--windows 400] [--columns 50] [--alerts 40] [--segments 8]

A report reads measurements, never events: the events themselves are not made. Every row that a report reads is written
through the session that binds it, a transaction for each window, as the service does.
"""

import argparse
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID, uuid4

import polars as pl
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.canonical import sha256
from core.clock import ManualClock
from core.settings import load
from governance.binding.session import bind_inserted
from governance.ledger.append import append_entry
from migrations import upgrade
from monitor.fairness.counts import count
from monitor.fairness.counts_codec import encode
from monitor.fairness.grouping import Grouping
from monitor.site import Site, open_site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, FairnessCounts, Incident, Measurement, Model, ReferenceRow, SpecRevision, Window
from retrain.tables import ModelVersion, TriggerDecision

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAYS: Final = 90
EVENTS: Final = 10_000_000
BANDS: Final = ("18-34", "35-54", "55+")
STATISTICS: Final = ("psi", "psi_corrected", "ks", "wasserstein", "jensen_shannon", "hellinger")
NAME: Final = "loan-decisions"


def spec_of(columns: int, segments: int) -> dict[str, Any]:
    inputs = {f"amount_{i}": {"role": "input", "type": "number", "unit": "EUR"} for i in range(columns - 5)}
    return {
        "model": NAME, "task": "classification", "owner": "risk@example.com", "purpose": "decide on applications",
        "risk": "high",
        "columns": {
            **inputs,
            **({"channel": {"role": "segment", "type": "category"}} if segments else {}),
            "age_band": {"role": "protected", "type": "category"},
            "score": {"role": "score", "type": "number", "positive": "yes"},
            "decision": {"role": "prediction", "type": "category"},
            "truth": {"role": "outcome", "type": "category"},
        },
        "baseline": {"rows": "first 100000"},
        "monitors": {
            "windows": ["6h"], "false_alarms": "1 per 30d",
            "kpi": [{"metric": "accuracy", "min": 0.85}, {"metric": "f1_macro"}],
            "fairness": [
                {"metric": "demographic_parity_difference", "by": ["age_band"], "max": 0.1, "min_group": 30},
                {"metric": "equalized_odds_difference", "by": ["age_band"], "max": 0.12, "min_group": 30},
            ],
        },
        "retrain": {
            "when": ["drift", "kpi"], "approval": "one",
            "recipe": {"base_model": "models/base-3m", "method": "qlora", "task": "sequence_classification"},
        },
    }  # fmt: skip


class Past:
    """Writes the past of one model: its windows, and what was measured, raised and decided in them."""

    def __init__(self, site: Site, *, windows: int, columns: int, alerts: int, segments: int) -> None:
        self.site, self.random = site, Random(11)
        self.count, self.alerts, self.segments = windows, alerts, segments
        self.columns = [f"amount_{i}" for i in range(columns - 5)]
        self.step = timedelta(days=DAYS) / windows
        self.rows = EVENTS // windows
        self.model_id, self.reference_id = uuid4(), uuid4()
        self.spec = parse_spec(spec_of(columns, segments))
        self.counts = _counts()

    def write(self) -> None:
        with self.site.database.write() as db:
            self._declared(db)
        for number in range(self.count):
            with self.site.database.write() as db:
                self._window(db, number)

    def _log(self, db: Session, kind: str, at: datetime, body: Mapping[str, Any]) -> None:
        append_entry(db, kind=kind, actor="assay", subject=f"model:{NAME}", body=body, at=at)

    def _declared(self, db: Session) -> None:
        db.add(Model(id=self.model_id, name=NAME, revision=1, created_at=START))
        db.flush()
        db.add(
            SpecRevision(
                model_id=self.model_id, revision=1, digest=self.spec.digest, document=self.spec.document,
                author="ann", created_at=START,
            )
        )  # fmt: skip
        self._log(db, "model.spec", START, {"revision": 1, "digest": self.spec.digest, "previous": None})
        db.add(
            ReferenceRow(
                id=self.reference_id, model_id=self.model_id, spec_revision=1, state="ready", reason="model declared",
                from_seq=0, to_seq=100_000, from_ts=START, to_ts=START + timedelta(days=1), rows=100_000,
                artifact=sha256(b"reference"), created_at=START, ready_at=START + timedelta(days=1),
            )
        )  # fmt: skip
        body = {"baseline": self.reference_id, "digest": sha256(b"reference"), "rows": 100_000, "reason": "declared"}
        self._log(db, "model.baseline", START + timedelta(days=1), body)
        db.add(
            ModelVersion(
                model_id=self.model_id, version="v1", stage="champion", base_model="models/base-3m",
                base_digest=sha256(b"base"), adapter=None, labels=["no", "yes"], created_at=START, promoted_at=START,
            )
        )  # fmt: skip
        self._log(db, "version.promoted", START, {"version": "v1", "previous": None})

    def _rows(self, db: Session, table: Any, given: list[dict[str, Any]]) -> None:
        bind_inserted(db, table, given)
        db.connection().execute(insert(table.__table__), given)

    def _window(self, db: Session, number: int) -> None:
        begin = START + number * self.step
        end = begin + self.step
        drifted = number % 13 == 7
        p = 0.0005 if drifted else self.random.uniform(0.05, 0.98)
        sentence = "Drift: `amount_0`, mean +0.31 std." if drifted else f"No evidence of a change (p = {p:.2g} > 0.02)."
        findings = [self._finding(c, drifted and c in self.columns[:2]) for c in self.columns]
        visible = [{"column": c, "change": 0.05, "unit": "std", "statement": f"0.05 std of {c}"} for c in self.columns]
        window = {
            "id": uuid4(), "model_id": self.model_id, "baseline_id": self.reference_id, "spec_revision": 1,
            "scale": "6h", "number": number, "from_seq": number * self.rows, "to_seq": (number + 1) * self.rows,
            "from_ts": begin, "to_ts": end, "rows": self.rows, "versions": ["v1"], "sentence": sentence,
            "verdict": "alarm" if drifted else "ok", "labels": self.rows * 9 // 10, "next_outcome": 0,
            "decision": {
                "verdict": "drift" if drifted else "no_evidence", "judged": True, "p": p, "alpha": 0.02,
                "reason": sentence, "columns": findings, "visible": visible, "sentence": sentence,
                "n_reference": 100_000, "n_window": self.rows, "unjudged": [],
            },
            "events_version": number, "judged_seq": (number + 1) * self.rows, "closed_at": end, "refreshed_at": end,
            "corrected_at": None, "corrections": 0, "history": [],
        }  # fmt: skip
        self._rows(db, Window, [window])
        self._rows(db, Measurement, list(self._measured(window)))
        self._rows(db, FairnessCounts, [{
            "id": uuid4(), "model_id": self.model_id, "window_id": window["id"], "rows": 600, "labelled": 540,
            "data": self.counts, "computed_at": end,
        }])  # fmt: skip
        self._followed(db, window, drifted)

    def _followed(self, db: Session, window: Mapping[str, Any], drifted: bool) -> None:
        """The alerts that a window raises and the decision that it causes."""
        at = window["to_ts"] + timedelta(minutes=1)
        opened = self.alerts * (window["number"] + 1) // self.count - self.alerts * window["number"] // self.count
        for _ in range(opened):
            self._alert(db, window, at)
        decision = {
            "id": uuid4(), "model_id": self.model_id, "spec_revision": 1, "window_id": window["id"], "cause": "window",
            "fired": drifted, "reason": "drift in the last window" if drifted else "nothing asked for it",
            "triggers": [{"name": "drift", "fire": drifted, "reason": window["sentence"], "evidence": []}],
            "blocked_by": [], "request_key": None, "request_digest": None, "at": at,
        }  # fmt: skip
        self._rows(db, TriggerDecision, [decision])
        self._log(db, "trigger.decision", at, {"decision": decision["id"], "fired": drifted})

    def _alert(self, db: Session, window: Mapping[str, Any], at: datetime) -> None:
        resolved = at + timedelta(hours=5) if self.random.random() < 0.9 else None
        state = "resolved" if resolved else "open"
        incident, alert = uuid4(), uuid4()
        db.add(
            Incident(
                id=incident, model_id=self.model_id, headline=window["sentence"], severity="warning", state=state,
                from_ts=window["from_ts"], to_ts=window["to_ts"], opened_at=at, resolved_at=resolved,
            )
        )  # fmt: skip
        db.flush()
        db.add(
            Alert(
                id=alert, model_id=self.model_id, incident_id=incident, monitor="drift", metric="p_value",
                value=0.0005, limit=0.02, sentence=window["sentence"], first_window_id=window["id"],
                last_window_id=window["id"], windows=1, state=state, opened_at=at, resolved_at=resolved,
            )
        )  # fmt: skip
        db.flush()
        self._log(db, "alert.opened", at, {"alert": alert, "monitor": "drift", "window": window["id"]})
        if resolved:
            self._log(db, "alert.resolved", resolved, {"alert": alert, "monitor": "drift"})

    def _finding(self, column: str, alarmed: bool) -> dict[str, Any]:
        value = 0.31 if alarmed else self.random.gauss(0, 0.02)
        return {
            "column": column, "kind": "number", "effect": "location", "detail": None, "value": value,
            "reference": 10.0, "current": 10.0 + value, "unit": "std", "t": value * 30,
            "adjusted_p": 0.0005 if alarmed else self.random.uniform(0.2, 1.0), "alarmed": alarmed,
            "above_floor": alarmed, "visible_change": 0.05, "times_floor": abs(value) / 0.05, "clusters": [],
        }  # fmt: skip

    def _measured(self, window: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The numbers of a window as the service has them: drift, statistics and quality by column, KPIs, fairness."""
        whole = {
            "model_id": self.model_id, "window_id": window["id"], "from_ts": window["from_ts"],
            "to_ts": window["to_ts"], "computed_at": window["closed_at"],
        }  # fmt: skip
        decision = window["decision"]
        yield _measured(whole, "drift", "p_value", decision["p"], self.rows, limit=0.02, unit="probability",
                        alarm=window["verdict"] == "alarm", details={"verdict": decision["verdict"]})  # fmt: skip
        for found in decision["columns"]:
            column, value = found["column"], abs(found["value"])
            yield _measured(whole, "drift", "effect", found["value"], self.rows, column=column, unit="std",
                            details={"t": found["t"], "adjusted_p": found["adjusted_p"]})  # fmt: skip
            for name in STATISTICS:
                yield _measured(whole, "drift", name, value / 10, self.rows, column=column, unit="nats")
            yield _measured(whole, "quality", "missing", 0.001, self.rows, column=column)
        for metric, limit in (("accuracy", 0.85), ("f1_macro", None)):
            for segment in ("", *(f"channel={i}" for i in range(self.segments))):
                value = 0.91 + self.random.uniform(-0.015, 0.015)
                yield _measured(
                    whole, "kpi", metric, value, window["labels"], segment=segment, low=value - 0.005,
                    high=value + 0.005, limit=limit, estimated=value + 0.003, estimated_low=value - 0.01,
                    estimated_high=value + 0.02, estimate_inside=True, details={"method": "Wilson score"},
                )  # fmt: skip
        groups = [{"group": g, "n": self.rows // 3, "too_small": False, "intervals": {"selection_rate": [0.48, 0.55]},
                   "rates": {"selection_rate": 0.5 + i / 100, "true_positive_rate": 0.8}}
                  for i, g in enumerate(BANDS)]  # fmt: skip
        for metric, limit in (("demographic_parity_difference", 0.1), ("equalized_odds_difference", 0.12)):
            gap = 0.05 + self.random.uniform(-0.02, 0.02)
            yield _measured(whole, "fairness", metric, gap, window["labels"], column="age_band", low=gap / 2,
                            high=gap * 2, limit=limit,
                            details={"groups": groups, "between": list(BANDS[:2])})  # fmt: skip


def _measured(whole: Mapping[str, Any], monitor: str, metric: str, value: float, n: int, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(
        ("reason", "low", "high", "limit", "n_reference", "estimated", "estimated_low", "estimated_high",
         "estimate_inside", "previous_value", "previous_n", "corrected_at")
    )  # fmt: skip
    return {
        "id": uuid4(), **whole, "monitor": monitor, "metric": metric, "column": "", "segment": "", "unit": "share",
        "alarm": False, "details": {}, **empty, "value": value, "n": n, **more,
    }  # fmt: skip


def _counts() -> bytes:
    """The counts of a window by age band; those of six hundred rows, as large as those of any number of rows."""
    rows = pl.DataFrame(
        {
            "age_band": [BANDS[i % 3] for i in range(600)],
            "prediction": [("no", "yes")[i * 7 % 5 % 2] for i in range(600)],
            "outcome": [None if i % 10 == 0 else ("no", "yes")[i * 11 % 5 % 2] for i in range(600)],
        },
        schema_overrides={"outcome": pl.String},
    )  # fmt: skip
    return encode(count(rows, Grouping(("age_band",)), prediction="prediction", outcome="outcome"))


def fill(home: Path, *, windows: int = 400, columns: int = 50, alerts: int = 40, segments: int = 8) -> UUID:
    """Fill a home folder; returns the id of the model."""
    settings = load({}, home=home)
    upgrade(settings.database_url)
    site = open_site(settings, ManualClock(START + timedelta(days=DAYS)))
    past = Past(site, windows=windows, columns=columns, alerts=alerts, segments=segments)
    past.write()
    with site.database.write() as db:
        site.sign_ledger(db)
    site.close()
    return past.model_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    for name, default in (("windows", 400), ("columns", 50), ("alerts", 40), ("segments", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    fill(given.pop("home"), **given)


if __name__ == "__main__":
    main()
