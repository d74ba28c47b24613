"""The record every evaluation returns, the table entry that names one, and the shared intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidError

Unit = Literal["share", "1"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """One figure on held-out rows; `value` is None with a reason where it is undefined."""

    name: str
    value: float | None
    reason: str | None
    unit: Unit
    higher_is_better: bool
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Eval:
    """One entry of the catalogue. `needs` names the input of `compute`: label pairs or token log-probabilities."""

    name: str
    needs: Literal["labels", "token_logprobs"]
    unit: Unit
    higher_is_better: bool
    compute: Callable[..., Evaluation]


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion on the same rows, with its interval."""

    name: str
    value: float | None
    reason: str | None
    unit: Unit
    higher_is_better: bool
    n: int
    low: float | None
    high: float | None


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a share.

    Args:
        successes: 0 <= successes <= n.
        n: trials, at least 1.
        confidence: coverage, in (0, 1).

    Returns:
        Lower and upper bound, shares in [0, 1].

    Raises:
        InvalidError: n is 0, or successes lies outside [0, n].

    Source: Wilson (1927), J. Am. Stat. Assoc. 22, 209-212.
    """
    if n < 1 or not 0 <= successes <= n:
        raise InvalidError(f"successes: {successes} of n: {n} is no share; need 0 <= successes <= n and n >= 1")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    # At the ends the bound is the end itself; rounding would leave it just inside.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], n: int, *, confidence: float, seed: int, draws: int = 500
) -> Interval:
    """Percentile interval of a statistic of rows, by resampling row indices with replacement.

    Args:
        statistic: value for an array of n row indices.
        n: rows, at least 1.
        confidence: coverage, in (0, 1).
        seed: of the resampling; the same seed gives the same interval, and pairs two models.
        draws: resamples.

    Returns:
        Lower and upper bound in the unit of the statistic.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    generator = np.random.default_rng(seed)
    values = np.array([statistic(generator.integers(0, n, size=n)) for _ in range(draws)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def codes(*columns: Sequence[str]) -> tuple[list[NDArray[np.intp]], int]:
    """Columns of names as integer codes over one common vocabulary, and its size.

    Raises:
        InvalidError: the columns differ in length.
    """
    if len({len(column) for column in columns}) > 1:
        raise InvalidError(f"columns: lengths {[len(c) for c in columns]} differ; give one value per row in each")
    names: dict[Any, int] = {}
    coded = [np.array([names.setdefault(x, len(names)) for x in column], dtype=np.intp) for column in columns]
    return coded, len(names)
