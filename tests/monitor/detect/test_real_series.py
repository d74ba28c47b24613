"""Series in the order they happened: a market joined to another, and the seasons of a bike hire."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from monitor.detect.decide import DriftDecision
from monitor.detect.rules import judge
from monitor.profile.block import profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind, ReferenceProfile
from monitor.reference.collect import time_blocks
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec

SCALES = ("1d", "7d")
SWITCH = 17_424


def spec(columns: Mapping[str, ColumnKind]) -> ModelSpec:
    declared: dict[str, Any] = {name: {"role": "input", "type": kind} for name, kind in columns.items()}
    declared["answer"] = {"role": "prediction", "type": "category"}
    return parse_spec(
        {
            "model": "series", "task": "classification", "owner": "a@example.com", "purpose": "watch a series",
            "columns": declared, "baseline": {"rows": "first 1000"}, "monitors": {"windows": list(SCALES)},
        }
    )  # fmt: skip


def fitted(declared: ModelSpec, frame: pl.DataFrame, columns: Mapping[str, ColumnKind]) -> ReferenceProfile:
    return fit_reference(frame, columns, blocks=time_blocks(frame["ts"], SCALES), parts=4)


def window_at(
    declared: ModelSpec, profile: ReferenceProfile, frame: pl.DataFrame, scale: str, start: Any
) -> DriftDecision:
    rows = frame.filter((pl.col("ts") >= start) & (pl.col("ts") < start + duration(scale)))
    first = int(time_blocks(pl.Series([start]), SCALES)[0])
    blocks = profile_blocks(rows, profile, time_blocks(rows["ts"], SCALES) - first)
    return judge(declared, profile, scale, blocks, (), first=first, seed=first)


ELEC2: dict[str, ColumnKind] = dict.fromkeys(
    ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer", "period"), "number"
)


@pytest.fixture(scope="module")
def elec2(shared_data: Path) -> pl.DataFrame:
    frame = pl.read_parquet(shared_data / "elec2.parquet")
    begin = pl.datetime(1996, 5, 7, time_unit="us", time_zone="UTC")
    return frame.with_columns((begin + pl.int_range(pl.len()) * timedelta(minutes=30)).alias("ts"))


@pytest.mark.parametrize("days", [84, 119, 301])
def test_joining_the_victorian_market_alarms_in_its_first_window_and_names_its_columns(
    elec2: pl.DataFrame, days: int
) -> None:
    declared = spec(ELEC2)
    before = SWITCH - 7 * 48
    profile = fitted(declared, elec2[before - 48 * days : before], ELEC2)
    for back in range(7, 0, -1):
        quiet = window_at(declared, profile, elec2, "1d", elec2["ts"][SWITCH - 48 * back])
        assert not quiet.alarmed
    for scale in SCALES:
        found = window_at(declared, profile, elec2, scale, elec2["ts"][SWITCH])
        assert found.verdict == "drift", scale
        assert {"vicprice", "vicdemand", "transfer"} <= {f.column for f in found.columns if f.alarmed}


BIKE: dict[str, ColumnKind] = {
    "temp": "number", "atemp": "number", "hum": "number", "windspeed": "number", "cnt": "number",
    "weathersit": "category", "workingday": "category",
}  # fmt: skip


def test_the_seasons_of_a_bike_hire_are_left_out_by_the_diagnostic_and_do_not_alarm_day_by_day(
    shared_data: Path,
) -> None:
    frame = pl.read_parquet(shared_data / "bike_sharing_hourly.parquet").with_columns(
        pl.col("timestamp").dt.replace_time_zone("UTC").alias("ts"),
        pl.col("weathersit", "workingday").cast(pl.String),
    )
    declared = spec(BIKE)
    first = frame["ts"][0]
    profile = fitted(declared, frame.filter(pl.col("ts") < first + timedelta(days=63)), BIKE)
    verdicts: Counter[str] = Counter()
    for day in range(63, 365, 2):
        found = window_at(declared, profile, frame, "1d", first + timedelta(days=day))
        verdicts[found.verdict] += 1
        assert {"temp", "atemp", "cnt"} <= set(found.unjudged)
        assert found.p_growth is not None
        assert found.p_growth <= 0.1
    judged = sum(verdicts.values())
    budget = declared.monitors.alpha("1d")
    assert verdicts["drift"] <= budget * judged + 3 * np.sqrt(budget * judged)
