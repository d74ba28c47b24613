"""The change of a mean, split over parts (agents): the effect of each part's share of the rows and of its rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from monitor.kpi.base import labelled, paired
from monitor.kpi.texts import equals_reference

DEGRADED: Final = 3.2905  # standard errors; two-sided level 0.001
MIN_ROWS: Final = 30  # on each side, for a standard error


@dataclass(frozen=True, slots=True)
class Contribution:
    """One part (agent) before and now. `share_effect` + `rate_effect` is its contribution to the change."""

    part: str
    share_before: float
    share_now: float
    rate_before: float | None
    rate_now: float | None
    share_effect: float
    rate_effect: float
    explained: float | None  # contribution over the whole change; None if the whole did not change
    standard_errors: float | None  # change of the rate over its standard error; None if a side has too few rows


def row_values(metric: str, frame: pl.DataFrame) -> pl.DataFrame | None:
    """One value per row, whose mean is the KPI.

    Args:
        metric: name of a KPI.
        frame: the columns that the KPI reads, and `part`, shape (rows,).

    Returns:
        Columns `part` and `value`, in the unit of the KPI, of the usable rows. None if the KPI is not a mean over rows.

    Raises:
        InvalidError: a column is absent or does not hold what the KPI needs.
    """
    if metric == "accuracy":
        rows = labelled(frame)
        sides = [pl.col(c).cast(pl.String) for c in ("prediction", "outcome")]
        return rows.select("part", (sides[0] == sides[1]).fill_null(value=False).cast(pl.Float64).alias("value"))
    if metric == "exact_match":
        rows = labelled(frame)
        return rows.select("part", equals_reference(rows).cast(pl.Float64).alias("value")).drop_nulls("value")
    if metric == "mae":
        rows = labelled(frame)
        paired(rows)  # raises unless both columns hold numbers
        error = (pl.col("prediction").cast(pl.Float64) - pl.col("outcome").cast(pl.Float64)).abs()
        return rows.select("part", error.alias("value")).filter(pl.col("value").is_finite())
    if "column" in frame.columns and metric in COLUMN_MEANS:
        found = frame.select("part", pl.col("column").cast(pl.Float64).alias("value"))
        return found.filter(pl.col("value").is_finite())
    return None


COLUMN_MEANS = (
    "csat_mean", "error_rate", "escalation_rate", "first_contact_resolution", "mean_cost", "mean_tokens",
    "thumbs_up_share",
)  # fmt: skip


def decompose(before: pl.DataFrame, now: pl.DataFrame) -> list[Contribution]:
    """Split the change of a mean exactly over parts, largest contribution first.

    With shares s and rates r of part a, before (0) and now (1), and m the mean of both overall means,
    change = sum over a of (s1 - s0) ((r0 + r1) / 2 - m) + (s0 + s1) / 2 (r1 - r0). The first term is the effect of the
    shares, the second that of the rates. The sum is the whole change, without a remainder. A part that is seen on one
    side only gets the same rate on both sides, so its whole contribution is the effect of its share.

    Args:
        before, now: columns part (text) and value, shape (rows,), without missing values, at least one row each.

    Returns:
        One entry per part. Shares are 0..1; rates and effects have the unit of the values.

    Source: Kitagawa (1955), Components of a difference between two rates, Journal of the American Statistical
    Association 50.
    """
    sides = [_sums(frame) for frame in (before, now)]
    overall = [sum(s for _, s, _ in side.values()) / sum(n for n, _, _ in side.values()) for side in sides]
    rows = [sum(n for n, _, _ in side.values()) for side in sides]
    middle, change = sum(overall) / 2.0, overall[1] - overall[0]
    found = []
    for part in sorted({*sides[0], *sides[1]}):
        (n0, sum0, square0), (n1, sum1, square1) = (side.get(part, (0, 0.0, 0.0)) for side in sides)
        share0, share1 = n0 / rows[0], n1 / rows[1]
        rate0, rate1 = sum0 / n0 if n0 else sum1 / n1, sum1 / n1 if n1 else sum0 / n0
        by_share = (share1 - share0) * ((rate0 + rate1) / 2.0 - middle)
        by_rate = (share0 + share1) / 2.0 * (rate1 - rate0)
        explained = (by_share + by_rate) / change if abs(change) > 1e-12 else None
        error = _error(n0, rate0, square0, n1, rate1, square1)
        found.append(
            Contribution(
                part, share0, share1, rate0 if n0 else None, rate1 if n1 else None, by_share, by_rate, explained,
                (rate1 - rate0) / error if error else None,
            )
        )  # fmt: skip
    return sorted(found, key=lambda p: (-abs(p.share_effect + p.rate_effect), p.part))


def _sums(frame: pl.DataFrame) -> Mapping[str, tuple[int, float, float]]:
    """Rows, sum and sum of squares of each part."""
    value = pl.col("value")
    sums = frame.group_by("part").agg(pl.len(), value.sum(), (value**2).sum().alias("square"))
    return {part: (n, total, square) for part, n, total, square in sums.iter_rows()}


def _error(n0: int, rate0: float, square0: float, n1: int, rate1: float, square1: float) -> float:
    """Standard error of the difference of two means; 0 if a side has fewer than 30 rows."""
    if min(n0, n1) < MIN_ROWS:
        return 0.0
    variances = [max(square0 / n0 - rate0**2, 0.0) / n0, max(square1 / n1 - rate1**2, 0.0) / n1]
    return float(np.sqrt(sum(variances)))
