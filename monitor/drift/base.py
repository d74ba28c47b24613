"""What every drift statistic shares: the counts it reads, and its entry in the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from core.errors import InsufficientDataError, InvalidError


@dataclass(frozen=True, eq=False)
class Counts:
    """Rows per bin of one column on the baseline's bins.

    `positions`: a value standing for each bin, ascending, for ordered columns; None for categories.
    `scale`: standard deviation of the reference in the column's unit; None for categories or without spread.
    """

    counts: NDArray[np.int64]
    positions: Floats | None = None
    scale: float | None = None

    @cached_property
    def n(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def shares(self) -> Floats:
        """Counts as shares of one. Raises InsufficientDataError when there is no observation."""
        if self.n < 1:
            raise InsufficientDataError("no observation on one side; a distribution cannot be compared", rows=self.n)
        return self.counts / self.n


@dataclass(frozen=True)
class Method:
    """`input`: ordered statistics read every bin in order, binned ones about ten bins of equal share, or levels.

    `expected(reference, current)`: mean of the statistic when nothing changed, where it is known not to be near 0.
    """

    name: str
    input: Literal["ordered", "binned"]
    unit: str
    alarm: Literal["above"]
    compute: Callable[[Counts, Counts], float]
    expected: Callable[[Counts, Counts], float] | None = None


def pair(reference: Counts, current: Counts) -> tuple[Floats, Floats]:
    """Shares of both sides. Raises InvalidError when they were counted on different bins."""
    if len(reference.counts) != len(current.counts):
        raise InvalidError(
            f"{len(reference.counts)} reference bins, {len(current.counts)} current bins; count both on one baseline",
            reference_bins=len(reference.counts),
            current_bins=len(current.counts),
        )
    return reference.shares, current.shares
