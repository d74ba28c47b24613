"""How values of one column are told: numbers by cut points of the reference, levels by name."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from core.figures import WORDS

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW_VALUES: Final = 8  # distinct numbers that are told one by one
MISSING: Final = "no value"


@dataclass(frozen=True, slots=True)
class Cuts:
    """Cut points of one number. Bin b holds points[b-1] < x <= points[b]; the first and the last bin are open.

    `names`: of the bins, one more than there are points.
    """

    points: tuple[float, ...]
    names: tuple[str, ...]

    def bins(self, values: Floats) -> Ints:
        """The bin of each value, -1 where it is nan."""
        found = np.searchsorted(np.asarray(self.points), values, side="left").astype(np.int64)
        return np.where(np.isnan(values), -1, found)


def cuts_of(reference: Floats) -> Cuts:
    """Cut points at rounded quantiles of the reference; between its values where there are at most eight.

    Args:
        reference: finite numbers or nan, shape (rows,).

    Returns:
        At most five points, or as many as a number of few values has; none where the reference has no value.
    """
    values = reference[np.isfinite(reference)]
    distinct = np.unique(values)
    if not len(distinct):
        return Cuts((), ("any value",))
    if len(distinct) <= FEW_VALUES:
        ends = [float(distinct[0]), *((distinct[:-1] + distinct[1:]) / 2).tolist(), float(distinct[-1])]
        ends[0] = float(np.nextafter(ends[0], -math.inf))
        names = (f"< {said(distinct[0])}", *(f"= {said(v)}" for v in distinct), f"> {said(distinct[-1])}")
        return Cuts(tuple(ends), names)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.quantile(values, QUANTILES)
        spread = float(values.max() - values.min())
    ends = sorted({p for p in found.tolist() if math.isfinite(p)}) or [float(values.min())]
    gaps = [b - a for a, b in itertools.pairwise(ends)] or [spread]
    points = sorted({_steady(p, min(gaps[max(at - 1, 0) : at + 1])) for at, p in enumerate(ends)})
    between = [f"{said(a)} to {said(b)}" for a, b in itertools.pairwise(points)]
    return Cuts(tuple(points), (f"<= {said(points[0])}", *between, f"> {said(points[-1])}"))


def usual_number(reference: Floats, share: float) -> float:
    """A quantile of some numbers, rounded as cut points are: by its distance to the median."""
    found, middle = (float(np.quantile(reference, q)) for q in (share, 0.5))
    return _steady(found, abs(found - middle))


def _steady(value: float, gap: float) -> float:
    """The nearest of 1, 2 or 5 times a power of ten that is at most half a gap.

    The step is so wide that another sample of the same rows nearly always gives the same point, and so narrow that
    neighbours stay apart. Numbers at the ends of what a float holds have no rounded steps, and are told as they are.
    """
    if not 1e-290 < gap < 1e290:
        return value
    power = 10.0 ** math.floor(math.log10(gap / 2))
    step = max(part * power for part in (1.0, 2.0, 5.0) if part * power <= gap / 2 * (1 + 1e-9))
    return float(f"{round(value / step) * step:.12g}") + 0.0


def said(value: float) -> str:
    """A cut point for a reader: thousands apart, millions in words, without digits that rounding left."""
    number = float(value)
    if number and not 1e-4 <= abs(number) < 1e15:
        return f"{number:.3g}"
    for least, word in WORDS:
        if abs(number) >= least:
            return f"{number / least:.12g} {word}"
    return f"{number:,.6f}".rstrip("0").rstrip(".") if number % 1 else f"{number:,.0f}"


def percent(share: float) -> str:
    """A share in percent, whole from 10 % on."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.1f} %"


@dataclass(frozen=True, slots=True)
class Shares:
    """How often values of one kind occur, such as `> 1,000`: as a share of the rows of each side."""

    value: str
    reference: float
    window: float
    rows: int  # of both sides that have it

    @property
    def change(self) -> float:
        return self.window - self.reference


def number_shares(cuts: Cuts, reference: Floats, window: Floats) -> tuple[Shares, ...]:
    """For each cut point the share above it, or for few values that of each, and the share without a value."""
    sides = [cuts.bins(side) for side in (reference, window)]
    found = [missing_share(*(side == -1 for side in sides))]
    if any(name.startswith("= ") for name in cuts.names):
        found += [_shares(name, [side == b for side in sides]) for b, name in enumerate(cuts.names)]
    else:
        for b, point in enumerate(cuts.points):
            found.append(_shares(f"> {said(point)}", [side > b for side in sides]))
    return tuple(found)


def level_shares(levels: Sequence[str], reference: Ints, window: Ints) -> tuple[Shares, ...]:
    """The share of each level of a category, and of rows without a value.

    Args:
        levels: names by code.
        reference, window: codes; -1 for no value.
    """
    found = [missing_share(reference == -1, window == -1)]
    return (*found, *(_shares(f"= {n}", [reference == c, window == c]) for c, n in enumerate(levels)))


def missing_share(reference: np.ndarray, window: np.ndarray) -> Shares:
    """The share of rows without a value, by one truth value for each row of a side."""
    return _shares(MISSING, [reference, window])


def _shares(name: str, sides: Sequence[np.ndarray]) -> Shares:
    before, after = (float(side.mean()) if len(side) else 0.0 for side in sides)
    return Shares(name, before, after, int(sum(side.sum() for side in sides)))
