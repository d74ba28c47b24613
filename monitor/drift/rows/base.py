"""Statistics of raw rows: what they share, and the numbers rows become. They look at all columns together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.profile.coding import as_vectors, category_values, dimensions_of, number_values
from monitor.profile.reference_profile import ColumnKind

MOST_LEVELS: Final = 20
MOST_COMPONENTS: Final = 16


@dataclass(frozen=True)
class RowMethod:
    """`compute(reference, window, seed)` reads two matrices (rows, features); `unchanged`: its value without drift."""

    name: str
    unit: str
    unchanged: float
    compute: Callable[[Floats, Floats, int], float]


@dataclass(frozen=True)
class RowScore:
    """`value` is None with a `reason` where undefined."""

    method: str
    value: float | None
    reason: str | None
    unit: str
    unchanged: float
    n_reference: int
    n_window: int


def features(reference: pl.DataFrame, window: pl.DataFrame, columns: Mapping[str, ColumnKind]) -> tuple[Floats, Floats]:
    """Rows of both sides as numbers on the reference's scale; texts are left out, but for the vectors made of them.

    A number is centred on the reference's mean and divided by its standard deviation, cut at 10 of them; a missing one
    lies at the mean and is marked in a column of its own. A category is one column per level among its 20 most
    frequent of the reference; any other level and a missing one are zero in all of them. A vector is its first 16
    principal components among the reference's, treated like numbers. A reference column without spread keeps its unit.
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
            for level in levels.head(MOST_LEVELS):
                for side, frame in zip(sides, (reference, window), strict=True):
                    same = category_values(frame, name) == level
                    side.append(same.fill_null(value=False).to_numpy().astype(np.float64))
    shapes = reference.height, window.height
    before, after = (
        np.column_stack(side) if side else np.zeros((rows, 0)) for side, rows in zip(sides, shapes, strict=True)
    )
    return before, after


def _add(sides: tuple[list[Floats], list[Floats]], reference: Floats, window: Floats) -> None:
    """A number of both sides on the reference's scale, and where it is missing."""
    finite = reference[np.isfinite(reference)]
    middle, scale = (float(finite.mean()), float(finite.std()) or 1.0) if len(finite) else (0.0, 1.0)
    for side, values in zip(sides, (reference, window), strict=True):
        there = np.isfinite(values)
        side.append(np.where(there, np.clip((np.where(there, values, middle) - middle) / scale, -10, 10), 0.0))
        side.append((~there).astype(np.float64))


def components(reference: pl.Series, window: pl.Series) -> Iterator[tuple[Floats, Floats]]:
    """The principal components of a column of vectors on both sides, nan in rows without a vector."""
    before = as_vectors(reference, dimensions_of(reference))
    known = before[np.isfinite(before).all(axis=1)].astype(np.float64)
    if len(known) < 2:
        return
    after = as_vectors(window, before.shape[1])
    middle = known.mean(axis=0)
    _, _, axes = np.linalg.svd(known - middle, full_matrices=False)
    for axis in axes[:MOST_COMPONENTS]:
        yield (before - middle) @ axis, (after - middle) @ axis
