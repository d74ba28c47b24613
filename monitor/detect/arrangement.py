"""Which blocks a window is ranked among: chosen once per reference and scale, from how its blocks hang together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from monitor.detect.dependence import (
    MAX_P_CLEARLY_DEPENDENT,
    MAX_P_DEPENDENT,
    MIN_P_SINGLE_COLUMN,
    VarianceRatio,
    quarter_variance_ratio,
    variance_ratio,
)
from monitor.detect.permutation import Blocks, count_permutations
from monitor.detect.statistics import BlockSums, block_sums
from monitor.profile.coding import Floats, Ints
from monitor.profile.reference_profile import ReferenceProfile

Season = Literal["weekday_weekend", "day_of_week", "hour_of_day"]

MIN_REFERENCE_WINDOWS: Final = (
    8  # windows of reference from which its blocks are trusted, 4 where the user accepts the risk
)
MIN_SHORT_REFERENCE_WINDOWS: Final = 4
MIN_WINDOWS_FOR_RATIO: Final = 3  # below this growth says nothing
SINGLE_BLOCK_HORIZON: Final = 7  # blocks over which a window of a single block asks for growth: days over a week
MIN_DAYS_FOR_QUARTERS: Final = 30
MIN_ALPHA_FOR_QUARTERS: Final = 1 / 120  # least rate quarters were measured at
MAX_QUARTER_SIZE_RATIO: Final = 2.0
_WINDOW_OFFSET: Final = 1 << 40  # added to the numbers of the window's blocks


@dataclass(frozen=True)
class WindowLayout:
    """How windows of one scale are cut.

    `blocks`: profile blocks in one window. `block_s`: seconds of a profile block, None for blocks of rows. `unit`: a
    block of the rule in words. `short_reference`: the user accepts a reference of 4 windows where 8 are asked for.
    """

    blocks: int
    unit: str
    block_s: int | None = None
    season: Season | None = None
    short_reference: bool = False


@dataclass(frozen=True)
class BlockPlan:
    """`together`: profile blocks in one block of the test; `parts`: in one block of the rule, as in the baseline.

    `quarters`: parts of a day are blocks of their own; `matched`: blocks change places within their phase only.

    `refused`: columns this scale does not judge, with their growth: their blocks hang together, and there are too few
    longer blocks. `problem` is set where nothing can be judged, and says what is missing.
    """

    together: int = 1
    parts: int = 1
    quarters: bool = False
    season: Season | None = None
    block_s: int | None = None
    matched: bool = False
    unit: str = "block"
    p_dependence: float | None = None
    variance_ratio: float | None = None
    refused: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Blocks of the test, and the block each profile block belongs to (-1: to none)."""

    blocks: Blocks
    of: Ints

    def sums(self, sums: Floats) -> Floats:
        return _sum_groups(sums, self.of, len(self.blocks.rows))


@dataclass(frozen=True, eq=False)
class _Assessment:
    """What a reference answers about the blocks of one scale, whatever the rate: `base`, its plan by single blocks;
    how many `blocks` it has; whether they hang together; and, for windows of one block, the plan by quarters if they
    are honest."""

    base: BlockPlan
    blocks: int
    names: Sequence[str]
    variance_ratio: VarianceRatio | None
    quarters: BlockPlan | None


_ASSESSMENTS: Final[WeakKeyDictionary[ReferenceProfile, dict[WindowLayout, _Assessment]]] = WeakKeyDictionary()


def plan_blocks(baseline: ReferenceProfile, scale: WindowLayout, alpha: float) -> BlockPlan:
    """The blocks windows of a scale are judged by; the same for every window of a reference.

    Quarters of a day for windows of one day, where neighbouring quarters show no effect of their day; else blocks as
    the windows are cut, where neighbours show no memory (for windows of one block, no clear one: one block among others
    that resemble their neighbours still ranks as any); else blocks as long as the window, where the reference has
    1 / alpha of them; else the columns without memory alone.
    """
    known = _ASSESSMENTS.setdefault(baseline, {})
    asked = known.get(scale)
    if asked is None:
        asked = known[scale] = _assess(baseline, scale)
    return _choose_plan(asked, scale, _window_blocks(scale, baseline.parts), alpha)


def min_alpha(baseline: ReferenceProfile, scale: WindowLayout, alpha: float) -> float | None:
    """The smallest false-alarm rate windows of a scale can be judged at by the plan for `alpha`; None: at none."""
    plan = plan_blocks(baseline, scale, alpha)
    if plan.problem is not None:
        return None
    labels = np.array(baseline.labels, dtype=np.int64)
    rows = np.array([block.rows for block in baseline.blocks], dtype=np.float64)
    later = (int(labels[-1]) // plan.parts + 1) * plan.parts
    arranged = arrange(plan, labels, rows, later + np.arange(scale.blocks), np.ones(scale.blocks))
    return 1.0 / count_permutations(arranged.blocks.strata)


def arrange(plan: BlockPlan, reference: Ints, reference_rows: Floats, window: Ints, window_rows: Floats) -> Arrangement:
    """Put profile blocks together.

    Args:
        plan: of the scale.
        reference: labels of the reference's profile blocks, ascending; `reference_rows`: their rows.
        window: labels of the window's profile blocks, ascending and without gap; `window_rows`: their rows.
    """
    labels = np.concatenate([reference, window])
    rows = np.concatenate([reference_rows, window_rows])
    inside = np.repeat([False, True], [len(reference), len(window)])
    longer = plan.together > plan.parts
    begin = -(-int(reference[0]) // plan.parts) * plan.parts if longer else 0
    group = (labels - np.where(inside, window[0], begin)) // plan.together
    whole = rows > 0
    if plan.quarters:
        _, at, counts = np.unique(
            np.where(whole & ~inside, labels // plan.parts, -1), return_inverse=True, return_counts=True
        )
        whole &= inside | (counts[at] == plan.parts)
    elif longer:  # only whole ones, from the first whole day on
        whole &= inside | ((group >= 0) & (group < (int(reference[-1]) - begin + 1) // plan.together))
    group += np.where(inside, _WINDOW_OFFSET, 0)
    names, of = np.unique(group[whole], return_inverse=True)
    belongs = np.full(len(labels), -1, dtype=np.int64)
    belongs[whole] = of
    first = np.zeros(len(names), dtype=np.int64)
    first[of[::-1]] = labels[whole][::-1]
    total = np.bincount(of, weights=rows[whole], minlength=len(names)).astype(np.float64)
    blocks = Blocks(total, names >= _WINDOW_OFFSET, _phases(plan, first), plan.matched)
    return Arrangement(blocks, belongs)


def missing_blocks(blocks: Blocks, alpha: float) -> int:
    """Reference blocks to add until the smallest possible p is at most alpha."""
    strata = blocks.strata
    missing = 0
    while count_permutations([(np.arange(len(at) + missing), taken) for at, taken in strata]) * alpha < 1.0 - 1e-9:
        missing += 1
    return missing


def _window_blocks(scale: WindowLayout, parts: int) -> int:
    """Blocks of the rule in one window."""
    return max(scale.blocks // parts, 1)


def _assess(baseline: ReferenceProfile, scale: WindowLayout) -> _Assessment:
    parts = baseline.parts
    length = _window_blocks(scale, parts)
    sums = block_sums(baseline, ())
    base = BlockPlan(
        together=parts, parts=parts, season=scale.season, block_s=scale.block_s, unit=scale.unit,
        matched=scale.season is not None and length > 1,
    )  # fmt: skip
    whole = _arrange_reference(baseline, base)
    count = len(whole.blocks.rows)
    over = length if length > 1 else SINGLE_BLOCK_HORIZON
    found = None
    if count >= MIN_WINDOWS_FOR_RATIO * over:
        found = variance_ratio(
            whole.sums(sums.values), whole.blocks.rows, whole.blocks.phases, sums.starts, over, baseline.seed
        )
        base = replace(base, p_dependence=found.p, variance_ratio=found.median)
    quarters = None
    if length == 1 and parts > 1 and (found is None or found.exchangeable):
        quarters = _quarter_plan(baseline, base, sums)
    return _Assessment(base, count, sums.names, found, quarters)


def _choose_plan(asked: _Assessment, scale: WindowLayout, length: int, alpha: float) -> BlockPlan:
    base, found, count = asked.base, asked.variance_ratio, asked.blocks
    timed = scale.block_s is not None
    needed = (
        (MIN_SHORT_REFERENCE_WINDOWS if scale.short_reference else MIN_REFERENCE_WINDOWS) * length
        if timed and length > 1
        else 0
    )
    if count >= needed and (found is None or found.exchangeable):
        return asked.quarters if asked.quarters is not None and alpha >= MIN_ALPHA_FOR_QUARTERS else base
    if length == 1 and found is not None and found.p > MAX_P_CLEARLY_DEPENDENT:
        return base
    windows = count // length
    if length > 1 and (windows + 1) * alpha >= 1.0 - 1e-9:
        unit = f"{length} x {scale.unit}"
        return replace(base, together=base.parts * length, unit=unit, season=None, matched=False)
    lacking = math.ceil(1.0 / alpha - 1e-9) - 1 - windows
    if count < needed:
        missing = min(needed - count, lacking * length)
        said = f"{count} blocks of one {scale.unit} of reference; {missing} more are needed for windows of {length}"
        return _with_problem(base, said)
    assert found is not None  # only growth refuses what is long enough
    refused = _dependent_columns(asked.names, found, MAX_P_CLEARLY_DEPENDENT if length == 1 else MIN_P_SINGLE_COLUMN)
    if len(refused) < len(asked.names):
        return replace(base, refused=refused)
    more = f"; {lacking} more windows of reference are needed" if length > 1 else ""
    return _with_problem(base, f"neighbouring blocks of {scale.unit} hang together in every column{more}")


def _with_problem(base: BlockPlan, problem: str) -> BlockPlan:
    return replace(base, problem=problem)


def _dependent_columns(names: Sequence[str], found: VarianceRatio, level: float) -> dict[str, float]:
    return {names[c]: float(found.columns[c]) for c in np.flatnonzero(found.wandering(level)).tolist()}


def _quarter_plan(baseline: ReferenceProfile, base: BlockPlan, sums: BlockSums) -> BlockPlan | None:
    """The plan by quarters where they are honest: measured for even quarters and 30 days."""
    quarters = replace(base, together=1, quarters=True, matched=True)
    if base.season is not None:
        return None
    arranged = _arrange_reference(baseline, quarters)
    rows = arranged.blocks.rows
    if (
        len(rows) < MIN_DAYS_FOR_QUARTERS * baseline.parts
        or rows.max() > MAX_QUARTER_SIZE_RATIO * rows.mean()
        or rows.min() < rows.mean() / MAX_QUARTER_SIZE_RATIO
    ):
        return None
    found = quarter_variance_ratio(
        arranged.sums(sums.values), rows, arranged.blocks.phases, sums.starts, baseline.seed
    )  # fmt: skip
    if found.p <= MAX_P_DEPENDENT:
        return None
    return replace(quarters, unit=f"quarter of {base.unit}", p_dependence=found.p)


def _arrange_reference(baseline: ReferenceProfile, plan: BlockPlan) -> Arrangement:
    """The reference's blocks alone."""
    labels = np.array(baseline.labels, dtype=np.int64)
    rows = np.array([block.rows for block in baseline.blocks], dtype=np.float64)
    with_none = arrange(plan, labels, rows, labels[-1:] + 1, np.zeros(1))  # a window without rows
    return Arrangement(with_none.blocks, with_none.of[:-1])


def _phases(plan: BlockPlan, labels: Ints) -> Ints:
    if plan.quarters:
        return labels % plan.parts
    if plan.season is None or plan.block_s is None:
        return np.zeros(len(labels), dtype=np.int64)
    seconds = labels * plan.block_s
    weekday = (seconds // 86_400 + 3) % 7  # the epoch began on a Thursday; Monday is 0
    match plan.season:
        case "weekday_weekend":
            return (weekday >= 5).astype(np.int64)
        case "day_of_week":
            return weekday
        case "hour_of_day":
            return seconds // 3600 % 24


def _sum_groups(values: Floats, of: Ints, count: int) -> Floats:
    inside = np.flatnonzero(of >= 0)
    if len(inside) == count and np.all(np.diff(of[inside]) > 0):
        return values if count == len(of) else values[inside]
    order = inside[np.argsort(of[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    found: Floats = np.add.reduceat(values[order], starts, axis=0)
    return found
