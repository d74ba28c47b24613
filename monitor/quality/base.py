"""What data quality checks share: flagged rows counted per block, and one test for a rise of their share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

Scope = Literal["column", "rows", "labels"]
Learned = dict[str, Any]

BLOCKS: Final = 20
MIN_RISE: Final = 0.005  # a smaller rise of a share is reported but does not alarm
MIN_ROWS: Final = 200
MAX_LEVELS: Final = 5_000


@dataclass(frozen=True)
class QualityCheck:
    """One entry of the catalogue.

    `scope` is what `learn` and `flag` read: one column of one of `types`, as `value`; the whole row with its times; or
    the labelled row with its times. `learn` derives what `flag` needs from reference rows, or None if it cannot. `flag`
    states for each row whether it is faulty, null if the row does not count. `members` states which rows are named by
    their values when the check alarms: the faulty ones, or all that are alike; None if values say nothing. `halved` is
    for checks whose limits fit
    the rows they were learned from too well: the reference's own share is then counted on its second half, with limits
    learned on the first.
    """

    name: str
    scope: Scope
    learn: Callable[[pl.DataFrame, Learned], Learned | None]
    flag: Callable[[pl.DataFrame, Learned], pl.Series]
    types: tuple[str, ...] = ()
    halved: bool = False
    members: Callable[[pl.DataFrame, Learned], pl.Series] | None = None


@dataclass(frozen=True, slots=True)
class FaultCounts:
    """Faulty rows and rows that count, per block."""

    faults: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def share(self) -> float | None:
        return sum(self.faults) / sum(self.rows) if sum(self.rows) else None


@dataclass(frozen=True, slots=True)
class Rise:
    """Whether a share rose. `p` is one-sided, for a share no higher than the reference's; None with a `reason` if it
    was not tested. `spread` is the overdispersion of the reference's blocks.
    """

    value: float | None
    reference: float | None
    p: float | None
    reason: str | None
    n: int
    n_reference: int
    spread: float | None = None


def counts(flags: pl.Series, blocks: int = BLOCKS) -> FaultCounts:
    """Count flagged rows in blocks of consecutive rows of equal size.

    Args:
        flags: whether each row is faulty, shape (rows,); null if the row does not count.
        blocks: number of blocks.

    Returns:
        Faulty rows and rows that count, `blocks` entries each.
    """
    block = np.arange(len(flags)) * blocks // max(len(flags), 1)
    known = flags.is_not_null().to_numpy() if flags.null_count() else np.ones(len(flags), dtype=bool)
    faults = (flags.fill_null(value=False) if flags.null_count() else flags).to_numpy().astype(bool)
    found = [np.bincount(block[x], minlength=blocks).tolist() for x in (faults & known, known)]
    return FaultCounts(tuple(found[0]), tuple(found[1]))


def rise(reference: FaultCounts, window: FaultCounts) -> Rise:
    """Test whether a share is higher than in the reference.

    Given both sums of faults, the sum of the window is binomial with the window's part of the rows (the conditional
    test of two Poisson rates). Faults that come in runs are not independent. Both sums are therefore divided by the
    spread, `overdispersion` of the reference, and rounded: the window's down and the reference's up.

    Args:
        reference: faulty rows and rows that count, per block of the reference.
        window: the same for the window.

    Returns:
        Both shares, and the p value of a share no higher than the reference's. The p value is None with a reason if a
        side has fewer than 200 rows that count.

    Source: Przyborowski and Wilenski (1940); McCullagh and Nelder (1989), section 4.5, for the spread.
    """
    from scipy.special import betainc  # scipy.stats, which calls it too, takes half a second to import

    n0, n1 = sum(reference.rows), sum(window.rows)
    value, before = window.share, reference.share
    if value is None or before is None:
        return Rise(
            value, before, None, "no row of the " + ("window" if value is None else "reference") + " counts", n1, n0
        )
    if min(n0, n1) < MIN_ROWS:
        return Rise(value, before, None, f"fewer than {MIN_ROWS} rows that count", n1, n0)
    spread = overdispersion(reference)
    k0, k1 = math.ceil(sum(reference.faults) / spread), math.floor(sum(window.faults) / spread)
    p = float(betainc(k1, k0 + 1, n1 / (n0 + n1))) if k1 else 1.0  # that a binomial number is k1 or more
    return Rise(value, before, p, None, n1, n0, spread)


def overdispersion(reference: FaultCounts) -> float:
    """How much more the blocks' shares vary than those of independent rows.

    Args:
        reference: faulty rows and rows that count, per block.

    Returns:
        Pearson's chi-squared statistic of the blocks over its degrees of freedom, at least 1; 1 if no row, or every
        row, is faulty.

    Source: McCullagh and Nelder, Generalized Linear Models (1989), section 4.5.
    """
    share = reference.share
    if not share or share >= 1.0:
        return 1.0
    rows = np.array(reference.rows, dtype=np.float64)
    faults = np.array(reference.faults, dtype=np.float64)[rows > 0]
    rows = rows[rows > 0]
    if len(rows) < 2:
        return 1.0
    return max(1.0, float(np.sum((faults - rows * share) ** 2 / (rows * share * (1.0 - share))) / (len(rows) - 1)))


def adjusted(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p values. Comparing each with the level holds the level for all tests together.

    Args:
        p: p values, shape (tests,), each 0..1.

    Returns:
        Adjusted p values 0..1 in the order of `p`.

    Source: Holm (1979).
    """
    order = np.argsort(p, kind="stable")
    found, highest = [0.0] * len(p), 0.0
    for rank, test in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[test]))
        found[test] = highest
    return found


def learn_nothing(_frame: pl.DataFrame, limits: Learned) -> Learned:
    """`learn` of a check whose flags need nothing from the reference.

    Args:
        _frame: reference rows; not read.
        limits: the limits that the spec declares.

    Returns:
        The limits, unchanged.
    """
    return limits
