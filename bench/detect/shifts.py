"""Planted changes of a window of the credit table, whose column `score` is normal."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.detect.trial import Shift


def mean(size: float) -> Shift:
    return lambda frame, rng: frame.with_columns(pl.col("score") + size)


def scale(factor: float) -> Shift:
    return lambda frame, rng: frame.with_columns(pl.col("score") * factor)


def missing(share: float) -> Shift:
    return lambda frame, rng: _some(frame, rng, share, "score", None)


def prior(share: float) -> Shift:
    return lambda frame, rng: _some(frame, rng, share, "EDUCATION", "3.0")


def unseen(share: float) -> Shift:
    return lambda frame, rng: _some(frame, rng, share, "EDUCATION", "new")


def all_numbers(size: float) -> Shift:
    return lambda frame, rng: frame.with_columns(
        pl.col(c) + size * pl.col(c).std() for c, t in frame.schema.items() if t == pl.Float64
    )


def _some(frame: pl.DataFrame, rng: np.random.Generator, share: float, column: str, value: str | None) -> pl.DataFrame:
    chosen = pl.Series(rng.random(frame.height) < share)
    return frame.with_columns(pl.when(chosen).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


def one_column(column: str, size: float) -> Shift:
    return lambda frame, rng: frame.with_columns(pl.col(column) + size)


def new_level(column: str, share: float) -> Shift:
    return lambda frame, rng: _some(frame, rng, share, column, "brand new")


SHIFTS: dict[str, Shift] = {
    "none": lambda frame, rng: frame,
    "mean_0.05_std": mean(0.05), "mean_0.1_std": mean(0.1), "mean_0.2_std": mean(0.2), "mean_0.5_std": mean(0.5),
    "scale_1.1": scale(1.1), "scale_1.25": scale(1.25), "null_1": missing(0.01), "null_5": missing(0.05),
    "prior_5": prior(0.05), "prior_10": prior(0.1), "unseen_1": unseen(0.01), "all_numbers_0.05_std": all_numbers(0.05),
}  # fmt: skip


@dataclass(frozen=True)
class Power:
    """Shifts planted in the windows of one kind of traffic, at some numbers of rows a day."""

    traffic: str
    shifts: Mapping[str, Shift]
    rows: tuple[int, ...]


POWERS = (
    Power("scored", SHIFTS, (300, 1000)),
    Power("scored", {n: SHIFTS[n] for n in ("none", "mean_0.05_std", "mean_0.1_std", "scale_1.1", "null_1", "prior_5",
                                            "prior_10", "unseen_1")}, (10_000,)),
    Power("wide50", {"one_of_50_0.2_std": one_column("w0", 0.2)}, (1000,)),
    Power("zipf40", {"new_level_1": new_level("z0", 0.01)}, (300, 1000)),
    Power("scored_bursts", {"bursts_0.5_std": mean(0.5)}, (10_000,)),
)  # fmt: skip
