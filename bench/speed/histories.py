"""Histories to replay, each a spec and a file of events. Windows and reference are declared; no KPI has a limit."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import yaml

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
START: Final = datetime(2025, 1, 6, tzinfo=UTC)
LONG_AGO: Final = datetime(1975, 1, 6, tzinfo=UTC)
HISTORY_DAYS: Final = 308  # 44 weeks and 10 months of 30 days
HISTORY_ROWS: Final = 277_000
NUMBERS: Final = 9


@dataclass(frozen=True)
class Files:
    """`today`: the spec for the build that is compared with, where it does not know every key of `spec`."""

    spec: Path
    events: Path
    today: Path | None = None


def history(folder: Path, rows: int) -> Files:
    """Two classes from 9 numbers and 5 categories, with score and outcome; 54 windows of a week or of 30 days.

    With fewer rows the days are the same and hold fewer rows each.
    """
    rng = np.random.default_rng(12)
    x = rng.normal(size=(rows, NUMBERS))
    groups = {name: rng.choice(levels, rows) for name, levels in (
        ("region", ["north", "south", "east", "west"]), ("channel", ["web", "branch", "phone"]),
        ("product", [f"product {i}" for i in range(12)]), ("sex", ["female", "male"]),
        ("age_band", ["up to 25", "26 to 60", "over 60"]),
    )}  # fmt: skip
    odds = x[:, 0] + 0.5 * x[:, 1] - 0.4 * (groups["region"] == "north")
    score = 1.0 / (1.0 + np.exp(-odds))
    frame = pl.DataFrame(
        {f"n{i}": np.round(x[:, i], 3) for i in range(NUMBERS)}
        | {"flag": x[:, 2] > 1.0, **groups, "customer": rng.integers(0, rows // 3, rows).astype(str)}
        | {"said": np.where(score > 0.5, "yes", "no"), "score": np.round(score, 4)}
        | {"truth": np.where(rng.random(rows) < score, "yes", "no")}
    )
    columns: dict[str, Any] = {f"n{i}": {"role": "input", "type": "number"} for i in range(NUMBERS)}
    columns |= {"flag": {"role": "input", "type": "boolean"}}
    columns |= {name: {"role": "input", "type": "category"} for name in ("region", "product")}
    columns |= {"channel": {"role": "segment", "type": "category"}}
    columns |= {name: {"role": "protected", "type": "category"} for name in ("sex", "age_band")}
    columns |= {"customer": {"role": "subject", "type": "string"}}
    columns |= {
        "said": {"role": "prediction", "type": "category"}, "truth": {"role": "outcome", "type": "category"},
        "score": {"role": "score", "type": "number", "positive": "yes"},
    }  # fmt: skip
    monitors = {
        "windows": ["7d", "30d"], "false_alarms": "1 per 30d", "estimate": True,
        "kpi": [{"metric": name} for name in ("accuracy", "roc_auc", "f1_macro")],
        "fairness": [
            {"metric": name, "by": ["sex", "age_band"]}
            for name in ("demographic_parity_difference", "equalized_odds_difference")
        ],
    }  # fmt: skip
    every = timedelta(days=HISTORY_DAYS) / rows
    return _written(folder, f"history-{rows}", _timed(frame, every), {
        "task": "classification", "columns": columns, "baseline": {"rows": f"first {rows * 56 // HISTORY_DAYS}"},
        "monitors": monitors,
    })  # fmt: skip


def compas(folder: Path) -> Files:
    """The 7,214 people of COMPAS in two windows of 3,607, judged for fairness by race and sex."""
    people = pl.read_parquet(SHARED / "compas_two_years.parquet").sort("compas_screening_date", "id")
    frame = people.select(
        pl.col("id").cast(pl.String).alias("event_id"), pl.lit("v1").alias("version"), "age", "priors_count", "race",
        "sex", (pl.col("decile_score") / 10).alias("score"), (pl.col("decile_score") >= 5).alias("high"),
        (pl.col("two_year_recid") == 1).alias("again"),
        pl.col("compas_screening_date").dt.replace_time_zone("UTC").alias("ts"),
    )  # fmt: skip
    number, protected = {"role": "input", "type": "number"}, {"role": "protected", "type": "category"}
    return _written(folder, "compas", frame, {
        "task": "classification",
        "columns": {
            "age": number, "priors_count": number, "race": protected, "sex": protected,
            "score": {"role": "score", "type": "number", "positive": "true"},
            "high": {"role": "prediction", "type": "boolean"}, "again": {"role": "outcome", "type": "boolean"},
        },
        "baseline": {"rows": "first 3607"},
        "monitors": {
            "windows": {"rows": 3607}, "false_alarms": {"alpha": 0.01}, "estimate": True,
            "kpi": [{"metric": "accuracy"}],
            "fairness": [
                {"metric": name, "by": ["race", "sex"]}
                for name in ("equalized_odds_difference", "demographic_parity_difference")
            ],
        },
    })  # fmt: skip


def sparse(folder: Path, days: int) -> Files:
    """One row a day with 8 numbers, the last of which is the answer, in windows of 365 days.

    Rows of more than 20 years before the newest have to be declared; the build that is compared with takes any.
    """
    rng = np.random.default_rng(8)
    frame = pl.DataFrame({f"n{i}": np.round(rng.normal(size=days), 3) for i in range(8)})
    columns = {f"n{i}": {"role": "input" if i < 7 else "prediction", "type": "number"} for i in range(8)}
    events = _timed(frame, timedelta(days=1), LONG_AGO)
    document: dict[str, Any] = {
        "task": "regression", "columns": columns, "baseline": {"rows": f"first {min(3650, days // 3)}"},
        "monitors": {"windows": ["365d"], "false_alarms": "1 per 365d"},
    }  # fmt: skip
    today = _written(folder, f"sparse-{days}-today", events, document).spec
    declared = document | {"times": {"earliest": LONG_AGO.isoformat()}}
    return replace(_written(folder, f"sparse-{days}", events, declared), today=today)


def _timed(frame: pl.DataFrame, every: timedelta, start: datetime = START) -> pl.DataFrame:
    """The frame as events, one each `every` from `start` on."""
    return frame.with_row_index("_row").select(
        pl.format("e{}", "_row").alias("event_id"),
        pl.lit(start).add(pl.col("_row").cast(pl.Int64) * every).cast(pl.Datetime("us", "UTC")).alias("ts"),
        pl.lit("v1").alias("version"),
        pl.exclude("_row"),
    )


def _written(folder: Path, name: str, events: pl.DataFrame, document: dict[str, Any]) -> Files:
    files = Files(folder / f"{name}.yaml", folder / f"{name}.parquet")
    own = {"model": "replayed", "owner": "bench@example.com", "purpose": "measure a replay"}
    files.spec.write_text(yaml.safe_dump(own | document, sort_keys=False))
    events.write_parquet(files.events)
    return files
