"""A rate of each group with what its certainty follows from: rows that count, or a standard error."""

from dataclasses import dataclass

import numpy as np

from core.arrays import Flags, Floats, Ints

# A rate of each group with its lower and its upper end, shape (groups,) each.
Ends = tuple[Floats, Floats, Floats]


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
    def defined(self) -> Flags:
        """Whether each is defined, shape (groups,)."""
        return np.isfinite(self.value)

    def ends(self, alpha: float) -> Ends:
        """The rates with ends of which each is wrong with a probability of at most alpha (of a share; else about).

        Args:
            alpha: one-sided error of each end, 0 < alpha < 0.5.

        Returns:
            Rates, lower and upper ends, shape (groups,) each.

        Source: Clopper and Pearson (1934) for shares; the normal distribution for means.
        """
        from scipy.special import betaincinv, ndtri

        if self.hits is None:
            assert self.error is not None
            wide = ndtri(1.0 - alpha) * self.error
            return self.value, self.value - wide, self.value + wide
        hits, n = self.hits, self.n
        low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, alpha), 0.0)
        high = np.where(hits < n, betaincinv(hits + 1, np.maximum(n - hits, 1), 1.0 - alpha), 1.0)
        return self.value, self._scaled(low), self._scaled(high)

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """The interval that is shown beside each rate.

        Args:
            level: its confidence, two-sided.

        Returns:
            Lower and upper ends, shape (groups,) each; nan where the rate is undefined.

        Source: Wilson (1927) for shares; the normal distribution for means.
        """
        from scipy.special import ndtri

        z = float(ndtri(0.5 + level / 2.0))
        if self.hits is None:
            assert self.error is not None
            return self.value - z * self.error, self.value + z * self.error
        n = np.where(self.n > 0, self.n, np.nan)
        share = self.hits / n
        centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        low = np.where(self.hits == 0, np.where(self.n > 0, 0.0, np.nan), centre - half)
        high = np.where((self.hits == self.n) & (self.n > 0), 1.0, centre + half)
        return self._scaled(low), self._scaled(high)

    def _scaled(self, share: Floats) -> Floats:
        if not self.odds:
            return np.asarray(share, dtype=np.float64)
        out = np.full(np.shape(share), np.inf)
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


def of_means(sums: Floats) -> Estimates:
    """Means of a number.

    Args:
        sums: rows, their sum and sum of squares, shape (groups, 3).

    Returns:
        Means, nan without a row, with their standard errors, nan below two rows.

    Source: the standard error of a mean.
    """
    n, total, square = sums[..., 0], sums[..., 1], sums[..., 2]
    value, error = np.full(n.shape, np.nan), np.full(n.shape, np.nan)
    np.divide(total, n, out=value, where=n > 0)
    spread = np.maximum(square - n * np.nan_to_num(value) ** 2, 0.0)
    np.divide(spread, n * (n - 1), out=error, where=n > 1)
    return Estimates(value, n.astype(np.int64), error=np.sqrt(error))
