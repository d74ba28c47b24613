"""From typed columns to the numbers that an estimator reads: declared, stored as JSON, the same in training and use.

The order of the columns is stored. A level that was not seen in training is all zeros where levels have columns of
their own, and missing where they have numbers. A missing number is the median of training, with a column that says so,
where the estimator cannot read it, and missing elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retrain.train.tabular.estimator_list import Entry
from retrain.train.tabular.recipe import TableColumn

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input: how its values become numbers.

    `levels`: of a category, in the order of their columns or codes. `fill`: in place of a missing number. `missing`:
    whether a column says that the value is missing. A number becomes (value - centre) / scale.
    """

    name: str
    type: str
    levels: tuple[str, ...] | None = None
    codes: bool = False
    fill: float | None = None
    missing: bool = False
    centre: float = 0.0
    scale: float = 1.0

    @property
    def names(self) -> list[str]:
        own = self.levels is None or self.codes
        found = [self.name] if own else [f"{self.name}={level}" for level in self.levels or ()]
        return [*found, f"{self.name} is missing"] if self.missing else found

    def numbers(self, values: pl.Series) -> Matrix:
        """Shape (rows, len(names))."""
        parts = []
        if self.levels is None:
            given = values.cast(pl.Float64).to_numpy().astype(np.float64)
            filled = given if self.fill is None else np.where(np.isnan(given), self.fill, given)
            parts.append(((filled - self.centre) / self.scale)[:, None])
        else:
            index = {level: float(i) for i, level in enumerate(self.levels)}
            at = np.array([index.get(v, np.nan) if v is not None else np.nan for v in values], dtype=np.float64)
            parts.append(at[:, None] if self.codes else (at[:, None] == np.arange(len(self.levels))).astype(np.float64))
        if self.missing:
            parts.append(values.is_null().to_numpy().astype(np.float64)[:, None])
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True)
class Pipeline:
    columns: tuple[Encoded, ...]

    @classmethod
    def fit(cls, frame: pl.DataFrame, columns: Sequence[TableColumn], entry: Entry, max_levels: int) -> Self:
        """From training rows alone.

        Args:
            frame: typed, as `retrain.train.tabular.rows` makes it.
        """
        return cls(tuple(_fitted(frame[c.name], c, entry, max_levels) for c in columns))

    @classmethod
    def read(cls, documents: Sequence[Mapping[str, Any]]) -> Self:
        columns = (
            Encoded(**{**one, "levels": None if one["levels"] is None else tuple(one["levels"])}) for one in documents
        )
        return cls(tuple(columns))

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [asdict(column) for column in self.columns]

    @property
    def inputs(self) -> tuple[TableColumn, ...]:
        return tuple(TableColumn.model_validate({"name": c.name, "type": c.type}) for c in self.columns)

    @property
    def names(self) -> list[str]:
        return [name for column in self.columns for name in column.names]

    @property
    def categorical(self) -> list[int]:
        """Places of the numbers that are codes of levels."""
        flags = [column.codes and i == 0 for column in self.columns for i, _ in enumerate(column.names)]
        return [i for i, flag in enumerate(flags) if flag]

    def matrix(self, frame: pl.DataFrame) -> Matrix:
        """Numbers of typed rows, shape (rows, len(names)); found by name, whatever the order of the frame."""
        return np.ascontiguousarray(np.concatenate([c.numbers(frame[c.name]) for c in self.columns], axis=1))


def _fitted(values: pl.Series, column: TableColumn, entry: Entry, max_levels: int) -> Encoded:
    gaps = bool(values.null_count())
    if column.type == "category":
        counts = sorted(values.drop_nulls().value_counts().iter_rows(), key=lambda pair: (-pair[1], pair[0]))
        levels = tuple(sorted(str(name) for name, _ in counts[:max_levels]))
        codes = entry.encoding == "codes"
        return Encoded(column.name, column.type, levels=levels, codes=codes, missing=gaps and not codes)
    if not entry.imputes:  # a column without any value is 0 everywhere: scikit-learn's trees find no bin for it
        return Encoded(column.name, column.type, fill=None if values.null_count() < len(values) else 0.0)
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    fill = float(np.median(known)) if len(known) else 0.0
    if column.type == "boolean":
        fill = float(fill >= 0.5)
    filled = values.cast(pl.Float64).fill_null(fill).to_numpy()
    centre, scale = (float(filled.mean()), float(filled.std())) if entry.scales else (0.0, 1.0)
    return Encoded(column.name, column.type, fill=fill, missing=gaps, centre=centre, scale=scale if scale > 0 else 1.0)
