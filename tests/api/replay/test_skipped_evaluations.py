"""A replay evaluates only where something can be found, and finds the same as if it evaluated at every block."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from api.replay.document import document
from api.replay.input import ReplayInput, read_events, read_outcomes
from api.replay.replay_file import open_fresh
from api.replay.run import ReplayRun, feed
from core.clock import ManualClock
from monitor import service
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec

NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = datetime(2026, 1, 5, tzinfo=UTC)
COLUMNS = {
    "amount": {"role": "input", "type": "number"}, "shop": {"role": "segment", "type": "category"},
    "said": {"role": "prediction", "type": "category"}, "truth": {"role": "outcome", "type": "category"},
}  # fmt: skip


def spec(baseline: int, windows: list[str]) -> ModelSpec:
    return parse_spec(
        {
            "model": "replayed", "task": "classification", "owner": "ml@example.com", "purpose": "replay",
            "columns": COLUMNS, "baseline": {"rows": f"first {baseline}"},
            "monitors": {"windows": windows, "false_alarms": "1 per 7d", "kpi": [{"metric": "accuracy"}]},
        }
    )  # fmt: skip


def traffic(rows: int, every: timedelta, changes_at: int) -> pl.DataFrame:
    """Rows whose column moves, and whose answers get worse, from one row on; there is no row on one day in nine."""
    random, at = np.random.default_rng(5), np.arange(rows)
    truth = random.random(rows) < 0.5
    wrong = random.random(rows) < np.where(at < changes_at, 0.05, 0.5)
    frame = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in at], "ts": [START + int(i) * every for i in at], "version": ["v1"] * rows,
            "amount": random.normal(size=rows) + 2.0 * (at >= changes_at),
            "shop": random.choice(["north", "south"], rows), "said": np.where(truth ^ wrong, "yes", "no"),
            "truth": np.where(truth, "yes", "no"),
        }
    )  # fmt: skip
    return frame.filter(pl.col("ts").dt.ordinal_day() % 9 != 0)


def replayed(home: Path, model: ModelSpec, given: ReplayInput, late: ReplayInput | None, *, every: bool) -> Any:
    site = open_fresh(home, ManualClock(given.frame["ts"][0]))
    try:
        with site.database.write() as db:
            service.apply_spec(site, db, model, "tester")
        run = ReplayRun(site, model, late, [])
        for _ in feed(run, given):
            if every:
                run.waits_for = None
        return document(run, run.stored(), None)
    finally:
        site.close()


def told(found: Any) -> Any:
    """The document without the identifiers that each replay draws anew."""
    if isinstance(found, dict):
        return {
            key: told(value) for key, value in found.items() if key not in ("first_window", "last_window", "window")
        }
    return [told(part) for part in found] if isinstance(found, list) else found


CASES = [
    pytest.param(spec(700, ["7d"]), timedelta(hours=1), 2400, None, id="outcomes with events", marks=pytest.mark.slow),
    pytest.param(
        spec(700, ["7d"]), timedelta(hours=1), 2400, timedelta(days=3), id="late outcomes", marks=pytest.mark.slow
    ),
    pytest.param(spec(60, ["14d"]), timedelta(days=1), 200, None, id="one row a day"),
]


@pytest.mark.parametrize(("model", "each", "rows", "delay"), CASES)
def test_the_document_is_that_of_a_replay_that_evaluates_at_every_block(
    tmp_path: Path, model: ModelSpec, each: timedelta, rows: int, delay: timedelta | None
) -> None:
    frame, late = traffic(rows, each, rows * 5 // 8), None
    if delay is not None:
        file = tmp_path / "outcomes.parquet"
        frame.select("event_id", pl.col("ts") + delay, "truth").write_parquet(file)
        late, frame = read_outcomes(file, model, now=NOW), frame.drop("truth")
    frame.write_parquet(tmp_path / "events.parquet")
    given = read_events(tmp_path / "events.parquet", model, now=NOW)
    skipping = replayed(tmp_path / "skipping", model, given, late, every=False)
    always = replayed(tmp_path / "always", model, given, late, every=True)
    assert told(skipping) == told(always)
    assert len(skipping["windows"]) >= 8
    if rows > 2000:
        assert "concept" in {alert["monitor"] for alert in skipping["alerts"]}
