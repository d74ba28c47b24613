"""Weights of rows that make group and label independent, and rows drawn by them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats, Ints
from monitor.fairness.grouping import MISSING

PROTECTED: Final = "protected_"  # before the name of a protected column in curated rows


def groups_of(rows: pl.DataFrame, by: Sequence[str]) -> pl.Series:
    """The group of each row, shape (rows,): the levels of the columns together; a missing one is a level of its own."""
    nobody = pl.Series([MISSING] * rows.height, dtype=pl.String)  # where rows are older than the column
    parts = [
        rows[PROTECTED + name].cast(pl.String).fill_null(MISSING) if PROTECTED + name in rows.columns else nobody
        for name in by
    ]
    return parts[0] if len(parts) == 1 else pl.select(pl.concat_str(parts, separator=", ")).to_series()


def independent_weights(group: pl.Series, label: pl.Series, strength: float = 1.0) -> Floats:
    """Weights by which group and label are independent in the training rows.

    Args:
        group, label: of each row, shape (rows,), without null.
        strength: 0 leaves every weight at 1, 1 makes them independent, between them in proportion.

    Returns:
        P(group) P(label) / P(group, label) of each row, shape (rows,); they add up to the number of rows.

    Source: Kamiran and Calders (2012), Knowledge and Information Systems 33, 1-33, algorithm 1 (reweighing); the same
    weights as aif360's Reweighing.
    """
    cells = pl.DataFrame({"group": group, "label": label})
    counted = cells.with_columns(
        pl.len().over("group").alias("of_group"), pl.len().over("label").alias("of_label"),
        pl.len().over("group", "label").alias("of_both"),
    )  # fmt: skip
    full = counted["of_group"] * counted["of_label"] / (len(group) * counted["of_both"])
    return 1.0 + strength * (full.to_numpy().astype(np.float64) - 1.0)


def drawn_rows(weights: Floats, seed: int) -> Ints:
    """Places of rows, each as often as its weight says: whole times, and once more with the probability of the rest.

    Args:
        weights: shape (rows,), >= 0.

    Returns:
        Places in order, repeated and left out; about as many as rows.

    Source: Kamiran and Calders (2012), uniform sampling; rounded at random so that each weight is kept on average.
    """
    whole = np.floor(weights)
    more = np.random.default_rng(seed).random(len(weights)) < weights - whole
    return np.repeat(np.arange(len(weights)), (whole + more).astype(np.int64))
