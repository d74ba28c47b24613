"""What every comparison of two models has: its two sides, its held-out rows, and the files it leaves."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import polars as pl

from retrain.evals.config import EvalConfig, ModelFiles
from retrain.train.data import read_rows
from retrain.train.energy import Meter
from retrain.train.progress import write_json
from retrain.train.weights import file_digest

Side = Literal["champion", "challenger"]
SIDES: Final[tuple[Side, ...]] = ("champion", "challenger")


def files_of(config: EvalConfig, side: Side) -> ModelFiles:
    return config.champion if side == "champion" else config.challenger


def held_out_rows(config: EvalConfig, columns: Sequence[str]) -> pl.DataFrame:
    """The rows of both sets: `row_id`, the columns, and `rows`, which names the set (new or old)."""
    sets = {"new": read_rows(config.new, "new", columns)}
    if config.old is not None:
        sets["old"] = read_rows(config.old, "old", columns)
    return pl.concat([
        _named(frame).select("row_id", *columns, pl.lit(name).alias("rows")) for name, frame in sets.items()
    ])  # fmt: skip


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    if "row_id" in frame.columns:
        return frame.with_columns(pl.col("row_id").cast(pl.String))
    return frame.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("row_id"))


def write_comparison(config: EvalConfig, meter: Meter, predictions: pl.DataFrame, found: Mapping[str, Any]) -> None:
    """Write predictions.parquet, then evaluation.json with its digest and `found`."""
    output = config.output_dir
    output.mkdir(parents=True, exist_ok=True)
    part = output / "predictions.parquet.part"
    predictions.write_parquet(part)
    part.replace(output / "predictions.parquet")
    used = meter.keep(0.0)
    counts = predictions.group_by("rows", maintain_order=True).len()
    write_json(output / "evaluation.json", {
        "run_id": config.run_id, "task": config.task, "config": config.record(),
        "digests": {"config": config.digest(), "predictions": file_digest(output / "predictions.parquet")},
        "rows": dict(counts.iter_rows()), **found, "used": used.record(), "wall_seconds": used.seconds,
    })  # fmt: skip
