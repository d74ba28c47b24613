"""What the statistics of a text column share: means of what its encoder measures of every text."""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import InsufficientDataError


@dataclass(frozen=True, slots=True)
class Mean:
    """`total`: sum over the `n` texts that could be measured."""

    n: int
    total: float


@dataclass(frozen=True)
class TextMethod:
    """`derived`: which of the encoder's numbers it reads; without drift the value is the reference's own."""

    name: str
    derived: str
    unit: str
    compute: Callable[[Mean], float]


def mean(measured: Mean) -> float:
    """Raises InsufficientDataError when there is no text."""
    if measured.n < 1:
        raise InsufficientDataError("no text on one side that could be measured", rows=measured.n)
    return measured.total / measured.n
