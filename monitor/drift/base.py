"""What every drift statistic shares: its entry in the catalogue, and the counts it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from core.arrays import Floats, Ints
from core.errors import InsufficientDataError, InvalidError


@dataclass(frozen=True, eq=False)
class Counts:
    """Rows per bin of one column, on the bins of the reference.

    `positions` has one value per bin, ascending, for ordered columns; None for categories. `std` is the standard
    deviation of the reference in the column's unit; None for categories, or if the reference does not vary.
    """

    counts: Ints  # (bins,)
    positions: Floats | None = None  # (bins,)
    std: float | None = None

    @cached_property
    def n(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def shares(self) -> Floats:
        """Counts over their sum.

        Raises:
            InsufficientDataError: there is no observation.
        """
        if self.n < 1:
            raise InsufficientDataError("no observation on one side; a distribution cannot be compared", rows=self.n)
        return self.counts / self.n


@dataclass(frozen=True)
class Method:
    """One entry of the catalogue.

    With `input` "ordered" the statistic reads every bin, in order. With "binned" it reads about ten bins of equal
    share, or levels. `expected(reference, current)` is the mean of the statistic without drift, if it is known not to
    be near 0.
    """

    name: str
    input: Literal["ordered", "binned"]
    unit: str
    alarm: Literal["above"]
    compute: Callable[[Counts, Counts], float]
    expected: Callable[[Counts, Counts], float] | None = None


def pair(reference: Counts, current: Counts) -> tuple[Floats, Floats]:
    """Shares of both sides.

    Args:
        reference: counts per bin, shape (bins,).
        current: counts on the same bins, shape (bins,).

    Returns:
        Shares of the reference and of the current rows, shape (bins,) each.

    Raises:
        InvalidError: the two sides have different numbers of bins.
        InsufficientDataError: either side has no observation.

    Source: relative frequencies.
    """
    if len(reference.counts) != len(current.counts):
        raise InvalidError(
            f"{len(reference.counts)} reference bins, {len(current.counts)} current bins; count both on one baseline",
            reference_bins=len(reference.counts),
            current_bins=len(current.counts),
        )
    return reference.shares, current.shares
