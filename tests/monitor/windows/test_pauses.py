"""Time without rows costs nothing: of a long stretch the first windows are recorded, whatever its length."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from api.replay.replay_file import replay_file
from monitor.windows.pauses import MAX_EMPTY
from tests.monitor.traffic import rows, spec

OLD = datetime(1970, 1, 5, tzinfo=UTC)


def replayed(folder: Path, frame: pl.DataFrame, length: str, **more: Any) -> dict[str, Any]:
    frame.write_ndjson(folder / "events.ndjson")
    model = spec(
        baseline={"rows": "first 300"}, times={"earliest": "1960-01-01T00:00:00Z"},
        monitors={"windows": [length], "false_alarms": "1 per 36500d"}, **more,
    )  # fmt: skip
    return replay_file(folder / "home", model, folder / "events.ndjson", None)


@pytest.mark.parametrize("length", [pytest.param("1m", marks=pytest.mark.slow), "1d"])
def test_half_a_century_without_rows_leaves_a_hundred_windows(tmp_path: Path, length: str) -> None:
    every = timedelta(seconds=2) if length == "1m" else timedelta(hours=1)
    frame = rows(800, every=every).drop("customer")
    old = [(OLD + every * i).isoformat() for i in range(400)]
    frame = frame.with_columns(pl.Series("ts", old + frame["ts"][400:].to_list()))
    windows = replayed(tmp_path, frame, length)["windows"]
    empty = [w for w in windows if w["rows"] == 0]
    assert len(empty) == MAX_EMPTY
    assert {w["from"][:4] for w in windows} == {"1970", "2026"}
    assert sum(w["rows"] for w in windows) == 800


@pytest.mark.slow
def test_a_stray_row_of_long_ago_costs_no_window(tmp_path: Path) -> None:
    frame = rows(600, every=timedelta(minutes=20)).drop("customer")
    stray = frame[:1].with_columns(pl.lit("stray").alias("event_id"), pl.lit(OLD.isoformat()).alias("ts"))
    windows = replayed(tmp_path, pl.concat([frame[:500], stray, frame[500:]]), "1h")["windows"]
    assert {w["from"][:4] for w in windows} <= {"1970", "2026"}
    assert sum(w["from"].startswith("1970") for w in windows) <= 1
    assert len(windows) <= 600 / 3 + MAX_EMPTY + 2
