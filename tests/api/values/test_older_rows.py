"""A home in which categories are stored as 1.0 and NaN, as releases before `monitor.levels` stored them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from api.replay.document import document
from api.replay.input import LINE_COLUMN, ReplayInput
from api.replay.replay_file import open_fresh
from api.replay.run import ReplayRun, feed
from core.clock import ManualClock
from monitor import service
from monitor.spec.parse import parse_spec

START = datetime(2026, 1, 5, tzinfo=UTC)
SPEC = parse_spec({
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 600"},
    "columns": {
        "shop": {"role": "segment", "type": "category"}, "age": {"role": "protected", "type": "category"},
        "pred": {"role": "prediction", "type": "category"}, "label": {"role": "outcome", "type": "category"},
    },
    "monitors": {
        "windows": {"rows": 100}, "false_alarms": {"alpha": 0.05}, "kpi": [{"metric": "accuracy"}],
        "fairness": [{"metric": "demographic_parity_difference", "by": ["age"], "min_group": 20}],
    },
})  # fmt: skip


def rows(old: int, new: int) -> pl.DataFrame:
    """Rows as they are stored: older ones with the spelling of floats and labels as integers, then new ones."""

    def spelt(code: int | None, older: bool) -> str | None:
        return ("NaN" if older else None) if code is None else f"{code}.0" if older else str(code)

    found: list[dict[str, Any]] = []
    for i in range(old + new):
        shop = None if i % 5 == 0 else i % 3
        found.append({
            "event_id": f"e{i}", "ts": START + i * timedelta(minutes=1), "version": "v1", "trace_id": None,
            "span_id": None, "shop": spelt(shop, i < old), "age": spelt(i % 2, i < old), "pred": spelt(i % 2, i < old),
            "label": str(i % 2),
        })  # fmt: skip
    frame = pl.DataFrame(
        found, schema_overrides={"ts": pl.Datetime("us", "UTC"), "trace_id": pl.String, "span_id": pl.String}
    )
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(LINE_COLUMN))


def test_rows_of_before_are_compared_with_new_ones_as_the_levels_they_mean(tmp_path: Path) -> None:
    given = ReplayInput("rows", rows(old=750, new=450))  # stored as they are: the reader has no part in it
    site = open_fresh(tmp_path, ManualClock(START))
    try:
        with site.database.write() as db:
            service.apply_spec(site, db, SPEC, "tester")
        run = ReplayRun(site, SPEC, None, [])
        for _ in feed(run, given):
            pass
        found = document(run, run.stored(), None)
        assert set(site.events.events("m")["pred"].unique()) == {"0.0", "1.0", "0", "1"}
    finally:
        site.close()
    later = [window for window in found["windows"] if window["verdict"] != "unknown"]
    assert len(later) >= 5
    assert [window["verdict"] for window in later] == ["ok"] * len(later)
    assert [window["kpi"]["accuracy"]["realised"] for window in later] == [1.0] * len(later)
    for window in later:
        (fairness,) = window["fairness"]
        assert {group["group"] for group in fairness["groups"]} == {"0", "1"}
