"""A small classifier's traffic for service tests: one number, one category, a protected group, late outcomes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "model": "loans", "task": "classification", "owner": "risk@example.com", "purpose": "decide small loans",
        "columns": {
            "amount": {"role": "input", "type": "number"},
            "region": {"role": "segment", "type": "category"},
            "age_band": {"role": "protected", "type": "category"},
            "customer": {"role": "subject", "type": "string"},
            "decision": {"role": "prediction", "type": "category"},
            "truth": {"role": "outcome", "type": "category"},
        },
        "baseline": {"rows": "first 1000"},
        "monitors": {
            "windows": {"rows": 250}, "false_alarms": {"alpha": 0.01},
            "kpi": [{"metric": "accuracy", "min": 0.8}],
            "fairness": [{"metric": "equalized_odds_difference", "by": ["age_band"], "max": 0.2}],
        },
    }  # fmt: skip
    return base | changes


def spec(**changes: Any) -> ModelSpec:
    return parse_spec(document(**changes))


def rows(
    count: int, *, start: int = 0, shift: float = 0.0, right: float = 0.9, every: timedelta = timedelta(minutes=1)
) -> pl.DataFrame:
    """Events with their truth: `shift` moves the amount by std, `right` is the share of right answers."""
    random = np.random.default_rng(start)
    truth = random.choice(["yes", "no"], count)
    answer = np.where(random.random(count) < right, truth, np.where(truth == "yes", "no", "yes"))
    return pl.DataFrame(
        {
            "event_id": [f"e{start + i}" for i in range(count)],
            "ts": [(BEGIN + every * (start + i)).isoformat() for i in range(count)],
            "version": ["v1"] * count,
            "amount": random.normal(shift, 1.0, count),
            "region": random.choice(["north", "south"], count),
            "age_band": random.choice(["18-29", "30+"], count),
            "customer": [f"c{i % 97}" for i in range(count)],
            "decision": answer,
            "truth": truth,
        }
    )  # fmt: skip


def events_body(frame: pl.DataFrame) -> bytes:
    return frame.drop("truth").write_ndjson().encode()


def outcomes_body(frame: pl.DataFrame) -> bytes:
    return frame.select("event_id", "truth").write_ndjson().encode()
