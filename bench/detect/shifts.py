"""Planted changes of a window of the credit table, whose column `score` is normal."""

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
    return lambda frame, rng: _some(frame, rng, share, "EDUCATION", "3")


def unseen(share: float) -> Shift:
    return lambda frame, rng: _some(frame, rng, share, "EDUCATION", "new")


def all_numbers(size: float) -> Shift:
    return lambda frame, rng: frame.with_columns(
        pl.col(c) + size * (pl.col(c).std() or 1.0) for c, t in frame.schema.items() if t == pl.Float64
    )


def _some(frame: pl.DataFrame, rng: np.random.Generator, share: float, column: str, value: str | None) -> pl.DataFrame:
    chosen = pl.Series(rng.random(frame.height) < share)
    return frame.with_columns(pl.when(chosen).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


SHIFTS: dict[str, Shift] = {
    "mean_0.05_std": mean(0.05), "mean_0.1_std": mean(0.1), "mean_0.2_std": mean(0.2), "mean_0.5_std": mean(0.5),
    "scale_1.1": scale(1.1), "scale_1.25": scale(1.25), "null_1": missing(0.01), "null_5": missing(0.05),
    "prior_5": prior(0.05), "prior_10": prior(0.1), "unseen_1": unseen(0.01), "all_numbers_0.05_std": all_numbers(0.05),
}  # fmt: skip
