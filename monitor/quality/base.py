"""What checks of data quality share: rows flagged or not, counted per block, and one test of a rise."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

Scope = Literal["column", "rows", "labels"]
Learned = dict[str, Any]

BLOCKS: Final = 20
FLOOR: Final = 0.005  # a rise of a share by less is named but does not alarm
MINIMUM_ROWS: Final = 200
MOST_LEVELS: Final = 5_000


@dataclass(frozen=True)
class Check:
    """One entry of the catalogue.

    `scope`: one column of `types`; the row with its times; or the labelled row with its times. `learn` makes what
    `flag` needs from reference rows, None where it cannot be; `flag` says of each row whether it is at fault, null
    where the row does not count. `halved`: what was learned fits the rows it was learned from too well, so the
    reference's own share is counted on its second half with what was learned on the first.
    """

    name: str
    scope: Scope
    learn: Callable[[pl.DataFrame, Learned], Learned | None]
    flag: Callable[[pl.DataFrame, Learned], pl.Series]
    types: tuple[str, ...] = ()
    halved: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows at fault and rows counted, per block."""

    faults: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def share(self) -> float | None:
        return sum(self.faults) / sum(self.rows) if sum(self.rows) else None


@dataclass(frozen=True, slots=True)
class Rise:
    """`p`: one-sided, of a share no higher than the reference's; None with a reason where it was not tested."""

    value: float | None
    reference: float | None
    p: float | None
    reason: str | None
    n: int
    n_reference: int
    spread: float | None = None


def counts(flags: pl.Series, blocks: int = BLOCKS) -> Counts:
    """Count flagged rows in equal blocks of rows in their order."""
    at = np.arange(len(flags)) * blocks // max(len(flags), 1)
    known = flags.is_not_null().to_numpy() if flags.null_count() else np.ones(len(flags), dtype=bool)
    faults = (flags.fill_null(value=False) if flags.null_count() else flags).to_numpy().astype(bool)
    found = [np.bincount(at[x], minlength=blocks).tolist() for x in (faults & known, known)]
    return Counts(tuple(found[0]), tuple(found[1]))


def rise(reference: Counts, window: Counts) -> Rise:
    """Whether a share is higher than in the reference.

    Given both sums of faults, the window's is binomial with the window's part of the rows (the conditional test of two
    Poisson rates). Faults that come in runs are not independent: both sums are divided by the spread, the Pearson
    chi-square of the reference's blocks over its degrees of freedom, at least 1, and rounded, the window's down and the
    reference's up.

    Source: Przyborowski and Wilenski (1940); McCullagh and Nelder (1989), section 4.5, for the spread.
    """
    from scipy.stats import binom

    n0, n1 = sum(reference.rows), sum(window.rows)
    value, before = window.share, reference.share
    if value is None or before is None:
        return Rise(
            value, before, None, "no row of the " + ("window" if value is None else "reference") + " counts", n1, n0
        )
    if min(n0, n1) < MINIMUM_ROWS:
        return Rise(value, before, None, f"fewer than {MINIMUM_ROWS} rows that count", n1, n0)
    spread = overdispersion(reference)
    k0, k1 = math.ceil(sum(reference.faults) / spread), math.floor(sum(window.faults) / spread)
    p = float(binom.sf(k1 - 1, k0 + k1, n1 / (n0 + n1))) if k1 else 1.0
    return Rise(value, before, p, None, n1, n0, spread)


def overdispersion(reference: Counts) -> float:
    """How much more the blocks' shares vary than those of independent rows, at least 1."""
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
    """Holm's adjusted p values: their minimum holds the level for all tests together. Source: Holm (1979)."""
    order = np.argsort(p, kind="stable")
    found, highest = [0.0] * len(p), 0.0
    for place, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - place) * p[at]))
        found[at] = highest
    return found


def nothing(_frame: pl.DataFrame, limits: Learned) -> Learned:
    """For a check that learns nothing."""
    return limits
