"""What every KPI shares: its entry in the catalogue, its value, and the rows it reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import polars as pl

from core.arrays import Floats
from core.errors import InvalidError
from monitor.kpi.bounds import Bounds

NO_NUMBER: Final = "no row has a finite number in the column"

KpiTask = Literal["classification", "regression", "generation"]
KpiInput = Literal["prediction", "outcome", "score", "column"]
TASKS: Final[tuple[KpiTask, ...]] = ("classification", "regression", "generation")


@dataclass(frozen=True)
class KpiValue:
    """The value of a KPI; None with a `reason` if it is undefined.

    `low` and `high` are the ends of a 95 % interval that assumes independent rows. An end is missing if the rows are
    too few to bound it. `left_out` counts rows that were present but not usable, such as a row without a finite
    number; each KPI documents which. `note` says how many rows bear the value, where that is not `n`. `bounds` gives
    the ends at another level, by which a limit is judged; None if there is no interval.
    """

    value: float | None
    reason: str | None
    n: int
    low: float | None = None
    high: float | None = None
    left_out: int = 0
    bounds: Bounds | None = field(default=None, compare=False, repr=False)
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            if getattr(self, name) == 0.0:
                object.__setattr__(self, name, 0.0)  # -0.0 is no number that a reader expects


@dataclass(frozen=True)
class Kpi:
    """One entry of the catalogue.

    `reads` lists the columns of the frame that `compute` gets. If it reads the outcome, rows without an outcome are
    left out; otherwise every row of the window counts. "column" means the column that the rule names, which has
    one of `column_types`. The unit "column" is the unit of that column. `higher_is_better` is None if neither
    direction is.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    tasks: tuple[KpiTask, ...]
    compute: Callable[[pl.DataFrame], KpiValue]
    reads: tuple[KpiInput, ...] = ("prediction", "outcome")
    column_types: tuple[str, ...] = ()


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with an outcome. A row without a prediction stays: the model gave no answer where it owed one.

    Raises:
        InvalidError: the frame has no column prediction or outcome.
    """
    for column in ("prediction", "outcome"):
        if column not in frame.columns:
            raise InvalidError(
                f"the rows have no column {column!r}; join predictions with outcomes first", column=column
            )
    return frame.filter(pl.col("outcome").is_not_null())


def undefined(reason: str, n: int = 0, *, left_out: int = 0, note: str = "") -> KpiValue:
    """A KPI without a value.

    Args:
        reason: why it is undefined.
        n: rows that count.
        left_out: rows that could not be used.
        note: how many rows bear the value, where that is not `n`.

    Returns:
        A value of None with the reason.
    """
    return KpiValue(None, reason, n, left_out=left_out, note=note)


def paired(frame: pl.DataFrame) -> tuple[Floats, Floats, int]:
    """Predictions and outcomes of the labelled rows whose difference is finite.

    Args:
        frame: columns prediction and outcome, numbers, shape (rows,).

    Returns:
        Predictions and outcomes in the outcome's unit, shape (usable rows,) each, and the number of labelled rows that
        were left out.

    Raises:
        InvalidError: a column is absent or does not hold numbers.
    """
    rows = labelled(frame)
    sides = []
    for column in ("prediction", "outcome"):
        if rows.height and not rows[column].dtype.is_numeric():
            raise InvalidError(f"{column} has type {rows[column].dtype}; a regression KPI needs numbers", column=column)
        sides.append(rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.isfinite(sides[0] - sides[1])
    return sides[0][usable], sides[1][usable], rows.height - int(usable.sum())


def no_pair(left_out: int) -> str:
    """The reason to report if `paired` finds no row."""
    return "no labelled row has a finite prediction" if left_out else "no outcome has arrived"


def numbers(frame: pl.DataFrame) -> tuple[Floats, int]:
    """The finite values of the column that the rule names.

    Args:
        frame: `column`, numbers, shape (rows,).

    Returns:
        Values in the column's unit, shape (usable rows,), and the number of rows without a finite value.

    Raises:
        InvalidError: the column does not hold numbers.
    """
    column = frame["column"]
    if column.null_count() < len(column) and not column.dtype.is_numeric():
        raise InvalidError(f"the column has type {column.dtype}; this KPI needs numbers", type=str(column.dtype))
    values = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    finite = values[np.isfinite(values)]
    return finite.astype(np.float64), len(values) - len(finite)
