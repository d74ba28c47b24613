"""A small disparity that lasts, found over many windows: a test that may be looked at after every window.

A disparity within its limit means, for each comparison of two sides, that rate <= intercept + slope * other rate. Each
window multiplies the evidence against that by how much better the rates of earlier windows explain it than the nearest
rates within the limit do. While the limit holds, the evidence exceeds 1 / error with a probability of at most `error`,
however many windows are looked at: it is a product of numbers whose mean is at most 1. Nothing is assumed about the
rates of different windows, nor of different rows of one window, but that rows are independent.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from core.arrays import Floats, Ints

CAP: Final = 10.0  # evidence beyond this many times the alarm line is dropped, so that an alarm can end
_PRIOR: Final = 1.0  # hits and misses that every group is given before its first row
_STEPS: Final = 40  # of a bisection between two rates


@dataclass(frozen=True, eq=False, slots=True)
class Sides:
    """The two sides of some comparisons in each window, in order of time; shape (windows, comparisons) each."""

    hits: Ints
    n: Ints
    other_hits: Ints
    other_n: Ints


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the windows say together against a limit.

    Attributes:
        log_e: logarithm of the evidence of all comparisons together; an alarm where it is log(1 / error) or more.
        leading: the comparison with the most evidence; None where there is no comparison.
        windows: windows in which it has rows on both sides.
    """

    log_e: float
    leading: int | None
    windows: int


def evidence(sides: Sides, *, slope: ArrayLike, intercept: ArrayLike, error: float) -> Evidence:
    """Evidence, over windows, that some comparison is beyond its limit, rate > intercept + slope * other rate.

    Args:
        sides: counts; a window in which a side has no row says nothing of that comparison.
        slope: > 0, broadcast to (windows, comparisons); 1 for a difference.
        intercept: >= 0, broadcast likewise; the limit of a difference, 0 for a ratio.
        error: probability of ever alarming while every comparison is within its limit, 0..1.

    Returns:
        The evidence after the last window, and the comparison that leads it.

    Source: Turner and Grunwald (2023), Safe sequential testing and effect estimation in stratified count data, AISTATS;
    Ville (1939) for the error at any time.
    """
    together, total = path(sides, slope=slope, intercept=intercept, error=error)
    if not len(total):
        return Evidence(0.0, None, 0)
    leading = int(np.argmax(total))
    counted = (sides.n[:, leading] > 0) & (sides.other_n[:, leading] > 0)
    return Evidence(float(together[-1]), leading, int(counted.sum()))


def path(sides: Sides, *, slope: ArrayLike, intercept: ArrayLike, error: float) -> tuple[Floats, Floats]:
    """The evidence after each window.

    Args:
        sides: counts.
        slope, intercept: as of `evidence`.
        error: as of `evidence`; it says where a comparison's evidence is cut off.

    Returns:
        Logarithms of the evidence of all comparisons together after each window, shape (windows,), and of that of each
        comparison after the last one, shape (comparisons,).

    Source: that of `evidence`. The mean of several evidences is one too.
    """
    steps = log_steps(sides, slope=slope, intercept=intercept)
    comparisons = steps.shape[1]
    total, together = np.zeros(comparisons), np.zeros(len(steps))
    if comparisons:
        most, one = np.log(CAP * comparisons / error), np.log(comparisons)
        for at, step in enumerate(steps):
            total = np.minimum(total + step, most)
            together[at] = np.logaddexp.reduce(total) - one
    return together, total


def log_steps(sides: Sides, *, slope: ArrayLike, intercept: ArrayLike) -> Floats:
    """The logarithm by which each window multiplies the evidence of each comparison.

    Args:
        sides: counts.
        slope: broadcast to (windows, comparisons).
        intercept: broadcast likewise.

    Returns:
        Log likelihood ratios of the rates that earlier windows suggest and of the nearest ones within the limit, shape
        (windows, comparisons); 0 where those rates are within the limit themselves.

    Source: that of `evidence`.
    """
    hits, n, other_hits, other_n = (
        np.asarray(x, dtype=np.float64) for x in (sides.hits, sides.n, sides.other_hits, sides.other_n)
    )
    s, d = np.broadcast_to(np.asarray(slope, dtype=np.float64), n.shape), np.broadcast_to(intercept, n.shape)
    rate, other = _before(hits, n), _before(other_hits, other_n)
    near, near_other = _nearest(rate, other, n, other_n, s, np.asarray(d, dtype=np.float64))
    beyond = (rate > d + s * other) & (n > 0) & (other_n > 0) & (d < 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = _log_ratio(hits, n, rate, near) + _log_ratio(other_hits, other_n, other, near_other)
    return np.where(beyond, steps, 0.0)


def _before(hits: Floats, n: Floats) -> Floats:
    """The rate of all earlier windows; a half before the first."""
    earlier, rows = np.cumsum(hits, axis=0) - hits, np.cumsum(n, axis=0) - n
    return np.asarray((earlier + _PRIOR) / (rows + 2 * _PRIOR))


def _nearest(rate: Floats, other: Floats, n: Floats, other_n: Floats, s: Floats, d: Floats) -> tuple[Floats, Floats]:
    """The rates on the line rate = d + s * other that are nearest to some beyond it, by Kullback and Leibler.

    The distance of n and other_n rows falls and then rises along the line, so its slope is bisected.
    """
    low, high = np.zeros_like(rate), np.minimum(1.0, (1.0 - d) / s)
    for _ in range(_STEPS):
        y = (low + high) / 2
        x = d + s * y
        with np.errstate(divide="ignore", invalid="ignore"):
            rising = n * s * (x - rate) / (x * (1 - x)) + other_n * (y - other) / (y * (1 - y)) > 0
        low, high = np.where(rising, low, y), np.where(rising, y, high)
    y = (low + high) / 2
    return d + s * y, y


def _log_ratio(hits: Floats, n: Floats, rate: Floats, near: Floats) -> Floats:
    return np.asarray(hits * np.log(rate / near) + (n - hits) * np.log((1 - rate) / (1 - near)))
