"""Statistics of raw rows: what they share, and the numbers rows become. They look at all columns together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.baseline import ColumnKind
from monitor.coding import category_values, number_values

Floats = NDArray[np.float64]
MOST_LEVELS: Final = 20


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
    """Rows of both sides as numbers on the reference's scale; texts are left out.

    A number is centred on the reference's mean and divided by its standard deviation, cut at 10 of them; a missing one
    lies at the mean and is marked in a column of its own. A category is one column per level among its 20 most
    frequent of the reference; any other level and a missing one are zero in all of them. A reference column without
    spread keeps its unit.
    """
    sides: tuple[list[Floats], list[Floats]] = ([], [])
    for name, kind in columns.items():
        if kind == "number":
            known = number_values(reference, name)
            finite = known[np.isfinite(known)]
            middle, scale = (float(finite.mean()), float(finite.std()) or 1.0) if len(finite) else (0.0, 1.0)
            for side, frame in zip(sides, (reference, window), strict=True):
                values = number_values(frame, name)
                there = np.isfinite(values)
                side.append(np.where(there, np.clip((np.where(there, values, middle) - middle) / scale, -10, 10), 0.0))
                side.append((~there).astype(np.float64))
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
