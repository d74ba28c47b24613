"""Windows of the story, and what was measured in them."""

from typing import Any

import polars as pl

from monitor.fairness.counts import count
from monitor.fairness.counts_codec import encode
from monitor.fairness.grouping import Grouping
from monitor.tables import FairnessCounts, Measurement, ReferenceRow, Window
from tests.reports.story_teller import START, STEP, Teller

SENTENCES = {
    "reference": "Drift not judged: these rows belong to the reference itself.",
    "drift": "Drift: unknown words in text, mean 0.20 instead of 0.02; confidence, mean 0.59 instead of 0.90.",
}
ALARMED: list[dict[str, Any]] = [
    {
        "column": "text.oov", "kind": "number", "effect": "location", "detail": None, "value": 0.183,
        "reference": 0.02, "current": 0.203, "unit": "share", "t": 11.2, "adjusted_p": 0.001, "alarmed": True,
        "above_floor": True, "visible_change": 0.021,
    },
    {
        "column": "confidence", "kind": "number", "effect": "location", "detail": None, "value": -0.31,
        "reference": 0.9, "current": 0.59, "unit": "std", "t": -8.1, "adjusted_p": 0.001, "alarmed": True,
        "above_floor": True, "visible_change": 0.12,
    },
]  # fmt: skip


def window(
    t: Teller, i: int, baseline: ReferenceRow, number: int, accuracy: float, *, drifted: bool, version: str
) -> Window:
    """Write the story's window `i` and its measurements; the first four of a baseline are its reference."""
    start, reference = START + i * STEP, number < 4
    p = None if reference else 0.001 if drifted else t.random.uniform(0.05, 0.98)
    labels = max(0, int(500 * (0.96 - 0.16 * max(0, i - 28))) - t.random.randrange(20))
    verdict = "reference" if reference else "drift" if drifted else "no_evidence"
    sentence = SENTENCES.get(verdict, f"No evidence of a change in 500 rows (p = {p or 0:.2g} > 0.01).")
    decision = {
        "verdict": verdict, "judged": p is not None, "p": p, "alpha": 0.01, "reason": sentence,
        "columns": ALARMED if drifted else [], "visible": [] if reference else _visible(t), "sentence": sentence,
    }  # fmt: skip
    row: Window = t.add(
        Window(
            id=t.id(f"window {i}"), model_id=t.model.id, baseline_id=baseline.id, spec_revision=1 if i < 9 else 2,
            scale="500 rows", number=number, from_seq=i * 500, to_seq=i * 500 + 500, from_ts=start,
            to_ts=start + STEP, rows=500, versions=[version], sentence=sentence, decision=decision, labels=labels,
            verdict="alarm" if drifted or accuracy < 0.85 else "ok", events_version=i * 5, closed_at=start + STEP,
            refreshed_at=start + STEP,
        )
    )  # fmt: skip
    reason = None if p is not None else sentence
    _measure(t, row, "drift", "p_value", p, reason, 500, limit=0.01, alarm=drifted)
    _performance(t, row, accuracy, labels)
    _fairness(t, row, accuracy, labels, drifted=drifted, limit=0.15 if i < 9 else 0.12)
    _counts(t, row, i)
    return row


def _visible(t: Teller) -> list[dict[str, Any]]:
    return [
        {
            "column": column, "change": t.random.uniform(least, most), "unit": unit,
            "statement": f"a change of the mean of {column} by {shown} or more would have shown",
        }
        for column, least, most, unit, shown in (
            ("text.oov", 0.018, 0.03, "share", 0.021), ("confidence", 0.1, 0.14, "std", 0.12)
        )
    ]  # fmt: skip


def _performance(t: Teller, row: Window, accuracy: float, labels: int) -> None:
    enough = labels >= 100
    reason = None if enough else f"{labels} labelled rows, 100 needed"
    for metric, value, limit in (("accuracy", accuracy, 0.85), ("f1_macro", accuracy - 0.02, None)):
        spread = 1.96 * (value * (1 - value) / max(labels, 1)) ** 0.5
        _measure(
            t, row, "kpi", metric, value if enough else None, reason, labels,
            low=value - spread if enough else None, high=value + spread if enough else None, limit=limit,
            alarm=enough and limit is not None and value < limit, details={"method": "Wilson score"},
        )  # fmt: skip


def _fairness(t: Teller, row: Window, accuracy: float, labels: int, *, drifted: bool, limit: float) -> None:
    gap = 0.05 + (0.04 if drifted else 0.0) + t.random.uniform(-0.02, 0.02)
    rates = (
        ("18-34", 231, accuracy),
        ("35-54", 168, accuracy - gap),
        ("55+", 83, accuracy - 0.01),
        ("unknown", 12, 0.9),
    )
    groups = [
        {"group": g, "n": n, "rates": {"true_positive_rate": rate, "false_positive_rate": 0.04}, "too_small": n < 30}
        for g, n, rate in rates
    ]
    _measure(
        t, row, "fairness", "equalized_odds_difference", gap, None, labels, column="age_band", low=gap / 2,
        high=gap + 0.05, limit=limit, details={"groups": groups, "method": "bootstrap within groups"},
    )  # fmt: skip


def _counts(t: Teller, row: Window, i: int) -> None:
    """The rows of a window by age band: half of them of two intents each, the last few without an outcome."""
    bands = ["18-34"] * 231 + ["35-54"] * 168 + ["55+"] * 89 + [None] * 12
    rows = pl.DataFrame(
        {
            "age_band": bands, "prediction": [("card lost", "transfer")[j * 7 % 3 % 2] for j in range(500)],
            "outcome": [None if j % 25 == 0 else ("card lost", "transfer")[(j + i) * 7 % 3 % 2] for j in range(500)],
        },
        schema_overrides={"age_band": pl.String, "outcome": pl.String},
    )  # fmt: skip
    counts = count(rows, Grouping(("age_band",)), prediction="prediction", outcome="outcome")
    t.add(
        FairnessCounts(
            model_id=t.model.id, window_id=row.id, rows=counts.rows, labelled=counts.labelled, data=encode(counts),
            computed_at=row.closed_at,
        )
    )  # fmt: skip


def _measure(
    t: Teller, w: Window, monitor: str, metric: str, value: float | None, reason: str | None, n: int, *,
    column: str = "", low: float | None = None, high: float | None = None, limit: float | None = None,
    alarm: bool = False, details: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    t.add(
        Measurement(
            model_id=t.model.id, window_id=w.id, monitor=monitor, metric=metric, column=column, segment="",
            value=value, reason=reason, low=low, high=high, unit="probability" if monitor == "drift" else "share",
            limit=limit, alarm=alarm, n=n, n_reference=2000 if monitor == "drift" else None, details=details or {},
            from_ts=w.from_ts, to_ts=w.to_ts, computed_at=w.closed_at,
        )
    )  # fmt: skip
