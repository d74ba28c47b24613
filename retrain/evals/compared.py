"""What every comparison of two models has: its two sides, its held-out rows, its scores of labels, and its files."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from retrain.evals import EVALS
from retrain.evals.base import Difference
from retrain.evals.config import EvalConfig, ModelFiles
from retrain.evals.paired import accuracy_difference, f1_macro_difference
from retrain.train.config_file import load_config
from retrain.train.data import read_rows
from retrain.train.energy import Meter
from retrain.train.kinds import columns_of, is_table
from retrain.train.mitigation.weights import PROTECTED
from retrain.train.progress import Progress, write_json
from retrain.train.weights import file_digest

Side = Literal["champion", "challenger"]
SIDES: Final[tuple[Side, ...]] = ("champion", "challenger")
DIFFERENCES: Final[Mapping[str, Callable[..., Difference]]] = {
    "accuracy": accuracy_difference,
    "f1_macro": f1_macro_difference,
}
Scores = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # of each model, and the paired differences


def comparison(
    path: Path, compare: Callable[[EvalConfig, pl.DataFrame, Progress], tuple[pl.DataFrame, Mapping[str, Any]]]
) -> None:
    """A comparison from start to end: read config and rows, ask both models, write.

    Args:
        path: of the config.
        compare: gives the predictions and what else was found.
    """
    config = load_config(path, EvalConfig)
    with Meter(config.output_dir, config.country) as meter:
        progress = Progress(config.progress)
        progress.write("load")
        rows = held_out_rows(config)
        progress.write("evaluate", 0, len(SIDES))
        write_comparison(config, meter, *compare(config, rows, progress))
        progress.write("done", eta_s=0.0)


def files_of(config: EvalConfig, side: Side) -> ModelFiles:
    return config.champion if side == "champion" else config.challenger


def held_out_rows(config: EvalConfig) -> pl.DataFrame:
    """The rows of both sets: `row_id`, the columns of the task, and `rows`, which names the set (new or old).

    Those of a table have their protected columns too: a model may decide by group.
    """
    columns = columns_of(config.task)
    sets = {"new": read_rows(config.new, "new", columns)}
    if config.old is not None:
        sets["old"] = read_rows(config.old, "old", columns)
    parts = []
    for name, frame in sets.items():
        groups = [c for c in frame.columns if c.startswith(PROTECTED)] if is_table(config.task) else []
        parts.append(_named(frame).select("row_id", *columns, *groups, pl.lit(name).alias("rows")))
    return pl.concat(parts, how="diagonal")


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


def compare_labels(config: EvalConfig, predictions: pl.DataFrame) -> Scores:
    """By set of rows every evaluation of labels of both models, and the paired differences.

    Args:
        predictions: `rows`, the set; `label`; and a column of answers for each side.
    """
    evaluations, differences = list[dict[str, Any]](), list[dict[str, Any]]()
    for name in predictions["rows"].unique(maintain_order=True):
        part = predictions.filter(pl.col("rows") == name)
        truth, sides = part["label"].to_list(), [part[side].to_list() for side in SIDES]
        for entry in (e for e in EVALS.values() if e.needs == "labels"):
            for side, guess in zip(SIDES, sides, strict=True):
                found = entry.compute(truth, guess, confidence=config.confidence)
                evaluations.append({"model": side, "rows": name} | asdict(found))
            gap = DIFFERENCES[entry.name](truth, *sides, confidence=config.confidence, seed=config.seed)
            differences.append({"rows": name} | asdict(gap))
    return evaluations, differences
