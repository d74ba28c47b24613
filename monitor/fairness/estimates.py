"""A rate of each group with what its certainty follows from: rows that count, or a standard error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Flags, Floats, Ints
from monitor.fairness.intervals import LEVEL, Ends, clopper_pearson, wilson


@dataclass(frozen=True, eq=False)
class Estimates:
    """One rate of each group.

    Attributes:
        value: the rates, shape (groups,); nan where one is undefined.
        n: rows that each is of, shape (groups,).
        hits: of a share: the rows that count, shape (groups,).
        error: of any other number: its standard error, shape (groups,); nan where it has none.
        odds: whether the value is hits / (n - hits), and not hits / n.
    """

    value: Floats
    n: Ints
    hits: Ints | None = None
    error: Floats | None = None
    odds: bool = False

    @property
    def is_share(self) -> bool:
        return self.hits is not None and not self.odds

    @property
    def defined(self) -> Flags:
        """Whether each is defined, shape (groups,)."""
        return np.isfinite(self.value)

    def take(self, groups: Sequence[int] | Ints) -> "Estimates":
        """Those of some groups, in the given order."""
        at = np.asarray(groups, dtype=np.int64)
        hits, error = (None if part is None else part[at] for part in (self.hits, self.error))
        return Estimates(self.value[at], self.n[at], hits, error, self.odds)  # type: ignore[arg-type]  # as they were

    def exact(self, level: float) -> Ends:
        """Ends that hold however few rows there are (of shares; of means about).

        Args:
            level: 1 minus the error of both ends.

        Returns:
            Lower and upper ends, shape (groups,) each; nan where the rate is undefined.

        Source: Clopper and Pearson (1934) for shares; Student (1908) for means.
        """
        return self._student(level) if self.hits is None else self._scaled(clopper_pearson(self.hits, self.n, level))

    def interval(self, level: float = LEVEL) -> Ends:
        """The interval that is shown beside each rate.

        Args:
            level: its confidence, two-sided.

        Returns:
            Lower and upper ends, shape (groups,) each; nan where the rate is undefined.

        Source: Wilson (1927) for shares; Student (1908) for means.
        """
        return self._student(level) if self.hits is None else self._scaled(wilson(self.hits, self.n, level))

    def _student(self, level: float) -> Ends:
        from scipy.special import stdtrit

        assert self.error is not None
        half = stdtrit(np.maximum(self.n - 1, 1), 0.5 + level / 2.0) * self.error
        return self.value - half, self.value + half

    def _scaled(self, ends: Ends) -> Ends:
        return (_odds(ends[0]), _odds(ends[1])) if self.odds else ends


def _odds(share: Floats) -> Floats:
    out = np.where(np.isnan(share), np.nan, np.inf)
    return np.asarray(np.divide(share, 1.0 - share, out=out, where=share < 1.0))


def of_shares(hits: Ints, n: Ints) -> Estimates:
    """Shares of rows.

    Args:
        hits: rows that count, shape (groups,).
        n: rows in all, shape (groups,).

    Returns:
        hits / n; nan where n is 0.

    Source: the definition of a share.
    """
    value = np.full(np.shape(hits), np.nan)
    np.divide(hits, n, out=value, where=n > 0)
    return Estimates(value, n, hits)


def of_means(sums: Floats, scale: float = 1.0) -> Estimates:
    """Means of a number.

    Args:
        sums: rows, their sum and sum of squares, shape (groups, 3).
        scale: what the means are divided by, such as a standard deviation; nan makes them undefined.

    Returns:
        Means, nan without a row, with their standard errors, nan below two rows.

    Source: the standard error of a mean.
    """
    n, total, square = sums[..., 0], sums[..., 1], sums[..., 2]
    value, error = np.full(n.shape, np.nan), np.full(n.shape, np.nan)
    np.divide(total, n, out=value, where=n > 0)
    spread = np.maximum(square - n * np.nan_to_num(value) ** 2, 0.0)
    np.divide(spread, n * (n - 1), out=error, where=n > 1)
    scale = scale if scale > 0 else float("nan")
    return Estimates(value / scale, n.astype(np.int64), error=np.sqrt(error) / scale)
