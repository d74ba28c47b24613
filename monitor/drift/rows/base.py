"""What statistics of raw rows share: their entry in the catalogue, and the matrix that rows become.

These statistics read all columns together.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.profile.coding import as_vectors, category_values, dimensions_of, number_values
from monitor.profile.reference_profile import ColumnKind

MAX_LEVELS: Final = 20  # of a category column, each a feature
MAX_COMPONENTS: Final = 16  # of a vector column
MAX_DEVIATIONS: Final = 10  # reference standard deviations, at which numbers are clipped


@dataclass(frozen=True)
class RowMethod:
    """One entry: `compute(reference, window, seed)` reads two matrices of shape (rows, features).

    `unchanged` is its value without drift.
    """

    name: str
    unit: str
    unchanged: float
    compute: Callable[[Floats, Floats, int], float]


@dataclass(frozen=True)
class RowScore:
    """One statistic of all columns; `value` is None with a `reason` if it is undefined."""

    method: str
    value: float | None
    reason: str | None
    unit: str
    unchanged: float
    n_reference: int
    n_window: int


def features(reference: pl.DataFrame, window: pl.DataFrame, columns: Mapping[str, ColumnKind]) -> tuple[Floats, Floats]:
    """Rows of both sides as numbers in units of the reference. Texts are left out, except for vectors made of them.

    A number minus the reference's mean is divided by the reference's standard deviation (by 1 if that is 0) and clipped
    at 10 deviations. A missing number becomes 0, and a feature of its own marks it. A category becomes one feature for
    each of the 20 most frequent levels of the reference; any other level, and a missing one, is 0 in all of them. A
    vector becomes its first 16 principal components of the reference, treated like numbers.

    Args:
        reference: reference rows, with the columns below.
        window: rows of the window, with the same columns.
        columns: kind of each column.

    Returns:
        Two matrices of shape (rows, features), finite.

    Source: standardisation and one-hot coding; Pearson (1901) for principal components.
    """
    sides: tuple[list[Floats], list[Floats]] = ([], [])
    for name, kind in columns.items():
        if kind == "number":
            _add(sides, number_values(reference, name), number_values(window, name))
        elif kind in ("vector", "encoded"):
            for before, after in components(reference[name], window[name]):
                _add(sides, before, after)
        elif kind == "category":
            counted = category_values(reference, name).drop_nulls().value_counts(sort=True)
            levels = counted.sort("count", counted.columns[0], descending=[True, False])[counted.columns[0]]
            for level in levels.head(MAX_LEVELS):
                for side, frame in zip(sides, (reference, window), strict=True):
                    same = category_values(frame, name) == level
                    side.append(same.fill_null(value=False).to_numpy().astype(np.float64))
    shapes = reference.height, window.height
    before, after = (
        np.column_stack(side) if side else np.zeros((rows, 0)) for side, rows in zip(sides, shapes, strict=True)
    )
    return before, after


def _add(sides: tuple[list[Floats], list[Floats]], reference: Floats, window: Floats) -> None:
    """Append a number of both sides in units of the reference, and whether it is missing."""
    finite = reference[np.isfinite(reference)]
    mean, std = (float(finite.mean()), float(finite.std()) or 1.0) if len(finite) else (0.0, 1.0)
    for side, values in zip(sides, (reference, window), strict=True):
        known = np.isfinite(values)
        deviations = (np.where(known, values, mean) - mean) / std
        side.append(np.where(known, np.clip(deviations, -MAX_DEVIATIONS, MAX_DEVIATIONS), 0.0))
        side.append((~known).astype(np.float64))


def components(reference: pl.Series, window: pl.Series) -> Iterator[tuple[Floats, Floats]]:
    """The first principal components of a column of vectors, fitted on the reference.

    Args:
        reference: vectors of one length, shape (rows,).
        window: vectors of the same length, shape (rows,).

    Returns:
        For each component the values of both sides in the vectors' unit, shape (rows,) each; nan in rows without a
        finite vector. No component if the reference has fewer than two finite vectors.

    Source: Pearson (1901); computed by a singular value decomposition.
    """
    before = as_vectors(reference, dimensions_of(reference))
    known = before[np.isfinite(before).all(axis=1)].astype(np.float64)
    if len(known) < 2:
        return
    after = as_vectors(window, before.shape[1])
    mean = known.mean(axis=0)
    _, _, axes = np.linalg.svd(known - mean, full_matrices=False)
    for axis in axes[:MAX_COMPONENTS]:
        yield (before - mean) @ axis, (after - mean) @ axis
