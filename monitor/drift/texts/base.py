"""What the statistics of a text column share: the mean of a number that the encoder measures for every text."""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import InsufficientDataError


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean as its sum: `total` over the `n` texts that could be measured."""

    n: int
    total: float


@dataclass(frozen=True)
class TextMethod:
    """One entry of the catalogue; `derived` names the number of the encoder that it reads.

    Without drift the value is that of the reference.
    """

    name: str
    derived: str
    unit: str
    compute: Callable[[Mean], float]


def mean(measured: Mean) -> float:
    """The mean of a measured number.

    Args:
        measured: its sum and the number of texts.

    Returns:
        Mean in the unit of the number.

    Raises:
        InsufficientDataError: there is no text.

    Source: the arithmetic mean.
    """
    if measured.n < 1:
        raise InsufficientDataError("no text on one side that could be measured", rows=measured.n)
    return measured.total / measured.n
