"""Words for the size of a change, by lines that the field uses. docs/alerts.md lists them with their sources."""

import math
from statistics import NormalDist
from typing import Final, Literal

Size = Literal["very small", "small", "moderate", "large"]

COHEN: Final = (0.2, 0.5, 0.8)  # of d and of h: Cohen (1988), sections 2.2 and 6.2
PSI: Final = (0.1, 0.25)  # of the population stability index: Siddiqi, Credit Risk Scorecards (2006)
POINTS: Final = (0.02, 0.10)  # of a KPI or a disparity that is a share: a house rule
RELATIVE: Final = (0.05, 0.20)  # of a KPI in a unit of its own, as a part of what it was: a house rule
FACTOR: Final = (2.0, 4.0)  # of volume, and of a statistic over its threshold: as for severity
FOUR_FIFTHS: Final = (0.8, 0.5)  # of a ratio of groups: the four-fifths rule, 29 CFR 1607.4 (D); half as a house rule


def of_std(change: float) -> Size:
    """Of a shift in standard deviations of the reference."""
    return _four(abs(change))


def of_shares(before: float, after: float) -> Size:
    """Of a share of rows, 0..1, that changed: by Cohen's h, so that 1 % to 4 % is more than 50 % to 53 %."""
    return _four(abs(_angle(after) - _angle(before)))


def of_ks(distance: float) -> Size:
    """Of a Kolmogorov-Smirnov distance, 0..1: as the shift of a normal variable that gives as much."""
    return _four(2 * NormalDist().inv_cdf((1 + min(max(distance, 0.0), 1 - 1e-9)) / 2))


def of_points(change: float) -> Size:
    """Of a KPI or a disparity that is a share: by the difference in points, 1.0 for all of it."""
    return _three(abs(change), POINTS)


def of_relative(before: float, after: float) -> Size:
    """Of a KPI in a unit of its own: by the change as a part of what it was. From 0, any change is large."""
    return _three(abs(after - before) / abs(before), RELATIVE) if before else "large" if after else "small"


def of_ratio(ratio: float) -> Size:
    """Of a ratio between two groups, whichever is larger."""
    least = min(ratio, 1 / ratio) if ratio > 0 else 0.0
    return "small" if least >= FOUR_FIFTHS[0] else "moderate" if least >= FOUR_FIFTHS[1] else "large"


def of_factor(factor: float) -> Size:
    """Of a number that became so many times as large, or as small."""
    return _three(max(factor, 1 / factor) if factor > 0 else math.inf, FACTOR)


def of_psi(index: float) -> Size:
    return _three(index, PSI)


def _angle(share: float) -> float:
    return 2 * math.asin(math.sqrt(min(max(share, 0.0), 1.0)))


def _three(size: float, lines: tuple[float, float]) -> Size:
    return "small" if size < lines[0] else "moderate" if size < lines[1] else "large"


def _four(size: float) -> Size:
    return "very small" if size < COHEN[0] else _three(size, COHEN[1:])
