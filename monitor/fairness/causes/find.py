"""Where the disparity of one metric comes from: the pair of groups and the rate behind it, and its parts by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.fairness.causes.conditional import HeldFixed, held_fixed
from monitor.fairness.causes.decompose import FactorParts, Together, by_factor, together
from monitor.fairness.causes.factors import Factor, factor, words
from monitor.fairness.causes.groups import ROW_RATES, Ranged, TwoGroups
from monitor.fairness.grouping import MISSING
from monitor.levels import as_levels

MOST_COLUMNS: Final = 20
TEXTS: Final = ("text", "texts")


@dataclass(frozen=True, slots=True)
class GapQuestion:
    """Which disparity is looked into: a rate of two groups.

    Attributes:
        positive: the class whose rate it is; None where a rate counts right answers, or a number.
        given: columns declared as legitimate, held fixed together.
    """

    rate: str
    positive: str | None
    first: str
    second: str
    given: tuple[str, ...] = ()
    min_group: int = 30


@dataclass(frozen=True, slots=True)
class DisparityCauses:
    """The parts of one disparity. `declared` holds the declared columns fixed together, `each` every column alone.

    `columns` are sorted by the size of their composition part. `left_out` names columns that were not looked at, and
    why. `disparity` is the second group's rate minus the first's.
    """

    rate: str
    words: str
    share: bool
    positive: str | None
    groups: tuple[str, str]
    n: tuple[int, int]
    means: tuple[float, float]
    disparity: Ranged
    declared: HeldFixed | None
    columns: tuple[FactorParts, ...]
    together: Together | None
    each: tuple[HeldFixed, ...]
    left_out: tuple[str, ...]


def worst_pair(groups: Sequence[Mapping[str, Any]]) -> tuple[str, str, str] | str:
    """(rate, group with the lowest, group with the highest) of the largest difference, or why there is none.

    Args:
        groups: as a measurement keeps them: `group`, `n`, `rates` by name and `too_small`.
    """
    kept = [g for g in groups if not g["too_small"] and MISSING not in str(g["group"])]
    if len(kept) < 2:
        return "fewer than two groups are large enough to be compared"
    found = []
    for rate in dict.fromkeys(name for g in kept for name in g["rates"] if name in ROW_RATES):
        known = sorted((float(g["rates"][rate]), str(g["group"])) for g in kept if g["rates"].get(rate) is not None)
        if len(known) > 1:
            found.append((known[-1][0] - known[0][0], rate, known[0][1], known[-1][1]))
    if not found:
        return "no rate of these groups is defined, or none that rows are divided by"
    _, rate, low, high = max(found, key=lambda one: one[0])
    return rate, low, high


def two_groups(frame: pl.DataFrame, group: pl.Series, asked: GapQuestion) -> tuple[TwoGroups, pl.Series] | str:
    """The rows on which a rate is defined, and which rows of the frame they are; or why there are none.

    Args:
        frame: column `prediction`, and `outcome` or `score` where the rate reads one, shape (rows,).
        group: the group of each row, shape (rows,).
    """
    rate = ROW_RATES[asked.rate]
    kept = group.is_in([asked.first, asked.second]) & frame["prediction"].is_not_null()
    if rate.outcome:
        kept &= frame["outcome"].is_not_null()
    if rate.number:
        if "score" not in frame.columns:
            return "the model has no score"
        kept &= frame["score"].is_not_null() & frame["score"].is_not_nan()
    chosen = frame.filter(kept)
    predicted, happened = (
        (as_levels(chosen[name]) == asked.positive).fill_null(value=False).to_numpy()
        if name in chosen.columns and asked.positive is not None else np.ones(chosen.height, dtype=np.bool_)
        for name in ("prediction", "outcome")
    )  # fmt: skip
    if asked.positive is None and rate.outcome:  # right or wrong, whatever the class
        predicted = (as_levels(chosen["prediction"]) == as_levels(chosen["outcome"])).to_numpy()
    number: Floats = np.zeros(chosen.height)
    if rate.number:
        number = chosen["score"].cast(pl.Float64).to_numpy().astype(np.float64)
    value, over = rate.rows(predicted, happened, number)
    later = (group.filter(kept) == asked.second).to_numpy()
    rows = TwoGroups(asked.first, asked.second, value[over], later[over])
    if not all(rows.sizes):
        return f"{asked.first if not rows.sizes[0] else asked.second} has no row on which the {rate.words} is defined"
    at = pl.Series(np.flatnonzero(kept.to_numpy())[over])
    return rows, at


def disparity_causes(
    frame: pl.DataFrame, group: pl.Series, columns: Mapping[str, str], asked: GapQuestion
) -> DisparityCauses | str:
    """Divide a disparity by every column, and hold columns fixed.

    Args:
        frame: columns `prediction`, `outcome`, `score` as the rate reads them, and the named columns, shape (rows,).
        group: the group of each row, shape (rows,).
        columns: inputs and segments by name, with their declared types.
        asked: the rate, the groups and the declared columns.

    Returns:
        The parts; or in words why there are none.
    """
    found = two_groups(frame, group, asked)
    if isinstance(found, str):
        return found
    rows, at = found
    factors, left_out = list[Factor](), list[str]()
    for name, kind in columns.items():
        made = (words if kind in TEXTS else factor)(frame[name].gather(at))
        if len(made.levels) < 2:
            left_out.append(f"{name}: every row has the same value")
        else:
            factors.append(made)
    parts = [by_factor(rows, f, tests=len(factors)) for f in factors]
    order = sorted(range(len(parts)), key=lambda i: -abs(parts[i].composition.value or 0.0))
    left_out += [f"{factors[i].name}: among the columns with the smallest part" for i in order[MOST_COLUMNS:]]
    kept = order[:MOST_COLUMNS]
    given = [factor(frame[name].gather(at)) for name in asked.given]
    rate = ROW_RATES[asked.rate]
    return DisparityCauses(
        asked.rate, rate.words, not rate.number, asked.positive, (asked.first, asked.second), rows.sizes, rows.means,
        rows.crude, held_fixed(rows, given, min_group=asked.min_group) if given else None,
        tuple(parts[i] for i in kept), together(rows, [factors[i] for i in kept]) if kept else None,
        tuple(held_fixed(rows, [factors[i]], min_group=asked.min_group, tests=len(kept)) for i in kept),
        tuple(left_out),
    )  # fmt: skip
