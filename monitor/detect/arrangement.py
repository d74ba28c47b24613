"""The blocks a window is ranked among, chosen once per reference and window length from their serial dependence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from core.arrays import Floats, Ints
from monitor.detect.dependence import (
    MAX_P_CLEARLY_DEPENDENT,
    MAX_P_DEPENDENT,
    MIN_P_SINGLE_COLUMN,
    VarianceRatio,
    quarter_variance_ratio,
    variance_ratio,
)
from monitor.detect.permutation import Blocks, log_permutations
from monitor.detect.permutation_statistics import BlockSums, block_sums
from monitor.profile.reference_profile import ReferenceProfile

Season = Literal["weekday_weekend", "day_of_week", "hour_of_day"]

MIN_REFERENCE_WINDOWS: Final = 8  # windows in a reference whose blocks are trusted
MIN_SHORT_REFERENCE_WINDOWS: Final = 4  # the same where the user accepts a short reference
MIN_WINDOWS_FOR_RATIO: Final = 3  # with fewer windows, the variance ratio says nothing
SINGLE_BLOCK_HORIZON: Final = 7  # blocks summed in the variance ratio where a window is one block: days in a week
MIN_DAYS_FOR_QUARTERS: Final = 30
MIN_ALPHA_FOR_QUARTERS: Final = 1 / 120  # the smallest false-alarm rate at which quarters were simulated
MAX_QUARTER_SIZE_RATIO: Final = 2.0  # largest quarter over the mean of all, and mean over the smallest
_WINDOW_OFFSET: Final = 1 << 40  # added to the numbers of the window's blocks, so that they follow the reference's


@dataclass(frozen=True)
class WindowLayout:
    """How windows of one length are divided into blocks.

    `blocks`: profile blocks in one window. `block_s`: length of a profile block in seconds, None for blocks of rows.
    `unit`: one block of the rule in words. `short_reference`: the user accepts a reference of 4 windows instead of 8.
    """

    blocks: int
    unit: str
    block_s: int | None = None
    season: Season | None = None
    short_reference: bool = False


@dataclass(frozen=True)
class BlockPlan:
    """How profile blocks are combined into the blocks of the permutation test.

    `profiles_per_test_block`: profile blocks in one block of the test. `parts`: profile blocks in one block of the
    rule, as in the reference profile. `quarters`: each quarter of a day is a block of its own. `within_phases`: blocks
    are exchanged within their phase only.

    `refused`: columns that windows of this length do not judge, with their variance ratios: their blocks are serially
    dependent, and the reference has too few longer blocks. `problem`: what is missing, where nothing can be judged.
    """

    profiles_per_test_block: int = 1
    parts: int = 1
    quarters: bool = False
    season: Season | None = None
    block_s: int | None = None
    within_phases: bool = False
    unit: str = "block"
    p_dependence: float | None = None
    variance_ratio: float | None = None
    refused: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, eq=False)
class Arrangement:
    """The blocks of the test, and the number of the block each profile block belongs to (-1 for none)."""

    blocks: Blocks
    block_of: Ints

    def sums(self, sums: Floats) -> Floats:
        """Sums over profile blocks, shape (profile blocks, ...), added up to sums over the blocks of the test."""
        return _sum_groups(sums, self.block_of, len(self.blocks.rows))


@dataclass(frozen=True, eq=False)
class _Assessment:
    """What a reference allows for windows of one length, whatever the false-alarm rate.

    `base`: the plan by single blocks. `blocks`: how many of them the reference has. `names`: of the columns.
    `variance_ratio`: None where the reference is too short for one. `quarters`: the plan by quarters of a day, where
    windows are one block and quarters hold the false-alarm rate.
    """

    base: BlockPlan
    blocks: int
    names: Sequence[str]
    variance_ratio: VarianceRatio | None
    quarters: BlockPlan | None


_ASSESSMENTS: Final[WeakKeyDictionary[ReferenceProfile, dict[WindowLayout, _Assessment]]] = WeakKeyDictionary()


def plan_blocks(profile: ReferenceProfile, layout: WindowLayout, alpha: float) -> BlockPlan:
    """Choose the blocks by which windows of one length are judged; the same for every window of a reference.

    The first of these that applies:

    1. Quarters of a day, for windows of one day whose quarters show no effect of their day.
    2. Single blocks, where neighbours are not serially dependent. For windows of one block, it is enough that they are
       not clearly dependent: one block among others that resemble their neighbours still has a uniform rank. For
       windows of several blocks of time, the reference must have at least 8 windows, or 4 if the user accepts that.
    3. Blocks as long as the window, where the reference and the window together have 1 / alpha of them.
    4. Single blocks, for the columns that are not serially dependent.

    Args:
        profile: of the reference.
        layout: of windows of this length.
        alpha: false-alarm rate of one window, 0..1.

    Returns:
        The plan; its `problem` says what is missing where no such window can be judged.
    """
    known = _ASSESSMENTS.setdefault(profile, {})
    assessment = known.get(layout)
    if assessment is None:
        assessment = known[layout] = _assess(profile, layout)
    return _choose_plan(assessment, layout, _window_blocks(layout, profile.parts), alpha)


def min_alpha(profile: ReferenceProfile, layout: WindowLayout, alpha: float) -> float | None:
    """The smallest false-alarm rate at which the plan for `alpha` can judge windows; None where it cannot judge any."""
    plan = plan_blocks(profile, layout, alpha)
    if plan.problem is not None:
        return None
    labels = np.array(profile.labels, dtype=np.int64)
    rows = np.array([block.rows for block in profile.blocks], dtype=np.float64)
    later = (int(labels[-1]) // plan.parts + 1) * plan.parts
    arranged = arrange(plan, labels, rows, later + np.arange(layout.blocks), np.ones(layout.blocks))
    return math.exp(-log_permutations([(len(at), taken) for at, taken in arranged.blocks.strata]))


def arrange(plan: BlockPlan, reference: Ints, reference_rows: Floats, window: Ints, window_rows: Floats) -> Arrangement:
    """Combine profile blocks into the blocks of the test.

    Args:
        plan: from `plan_blocks`.
        reference: labels of the reference's profile blocks, ascending, shape (reference profile blocks,).
        reference_rows: number of rows in each of them.
        window: labels of the window's profile blocks, ascending and without gaps, shape (window profile blocks,).
        window_rows: number of rows in each of them.

    Returns:
        Blocks that have rows. Of longer blocks and of days in quarters, the reference gives complete ones only.
    """
    labels = np.concatenate([reference, window])
    rows = np.concatenate([reference_rows, window_rows])
    inside = np.repeat([False, True], [len(reference), len(window)])
    longer = plan.profiles_per_test_block > plan.parts
    begin = -(-int(reference[0]) // plan.parts) * plan.parts if longer else 0
    group = (labels - np.where(inside, window[0], begin)) // plan.profiles_per_test_block
    usable = rows > 0
    if plan.quarters:
        _, at, counts = np.unique(
            np.where(usable & ~inside, labels // plan.parts, -1), return_inverse=True, return_counts=True
        )
        usable &= inside | (counts[at] == plan.parts)
    elif longer:  # complete ones only, from the first complete day on
        usable &= inside | ((group >= 0) & (group < (int(reference[-1]) - begin + 1) // plan.profiles_per_test_block))
    group += np.where(inside, _WINDOW_OFFSET, 0)
    names, of = np.unique(group[usable], return_inverse=True)
    block_of = np.full(len(labels), -1, dtype=np.int64)
    block_of[usable] = of
    first = np.zeros(len(names), dtype=np.int64)
    first[of[::-1]] = labels[usable][::-1]
    total = np.bincount(of, weights=rows[usable], minlength=len(names)).astype(np.float64)
    blocks = Blocks(total, names >= _WINDOW_OFFSET, _phases(plan, first), plan.within_phases)
    return Arrangement(blocks, block_of)


def missing_blocks(blocks: Blocks, alpha: float) -> int:
    """How many reference blocks must be added to each stratum until the smallest possible p is at most alpha.

    Needs as many steps as the answer has binary digits: a budget of one alarm in a century may need millions of blocks.
    """
    sizes = [(len(at), taken) for at, taken in blocks.strata]

    def enough(added: int) -> bool:
        return log_permutations([(size + added, taken) for size, taken in sizes]) + math.log(alpha) >= -1e-9

    if not any(taken for _, taken in sizes):
        return 0 if alpha >= 1.0 else len(blocks.rows)  # a window without blocks is never rare
    upper = 0
    while not enough(upper):
        upper = 2 * upper + 1
    lower = upper // 2  # too few, unless none are missing
    while lower < upper:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle + 1, upper)
    return upper


def _window_blocks(layout: WindowLayout, parts: int) -> int:
    """Number of blocks of the rule in one window."""
    return max(layout.blocks // parts, 1)


def _assess(profile: ReferenceProfile, layout: WindowLayout) -> _Assessment:
    parts = profile.parts
    length = _window_blocks(layout, parts)
    sums = block_sums(profile, ())
    base = BlockPlan(
        profiles_per_test_block=parts, parts=parts, season=layout.season, block_s=layout.block_s, unit=layout.unit,
        within_phases=layout.season is not None and length > 1,
    )  # fmt: skip
    arranged = _arrange_reference(profile, base)
    blocks = arranged.blocks
    count = len(blocks.rows)
    horizon = length if length > 1 else SINGLE_BLOCK_HORIZON
    found = None
    if count >= MIN_WINDOWS_FOR_RATIO * horizon:
        found = variance_ratio(
            arranged.sums(sums.values), blocks.rows, blocks.phases, sums.starts, horizon, profile.seed
        )
        base = replace(base, p_dependence=found.p, variance_ratio=found.median)
    quarters = None
    if length == 1 and parts > 1 and (found is None or found.exchangeable):
        quarters = _quarter_plan(profile, base, sums)
    return _Assessment(base, count, sums.names, found, quarters)


def _choose_plan(assessment: _Assessment, layout: WindowLayout, length: int, alpha: float) -> BlockPlan:
    base, found, count = assessment.base, assessment.variance_ratio, assessment.blocks
    needed = 0
    if layout.block_s is not None and length > 1:
        needed = (MIN_SHORT_REFERENCE_WINDOWS if layout.short_reference else MIN_REFERENCE_WINDOWS) * length
    if count >= needed and (found is None or found.exchangeable):
        by_quarters = assessment.quarters
        return by_quarters if by_quarters is not None and alpha >= MIN_ALPHA_FOR_QUARTERS else base
    if length == 1 and found is not None and found.p > MAX_P_CLEARLY_DEPENDENT:
        return base
    windows = count // length
    if length > 1 and (windows + 1) * alpha >= 1.0 - 1e-9:
        unit = f"{length} x {layout.unit}"
        return replace(base, profiles_per_test_block=base.parts * length, unit=unit, season=None, within_phases=False)
    lacking = math.ceil(1.0 / alpha - 1e-9) - 1 - windows
    if count < needed:
        missing = min(needed - count, lacking * length)
        problem = (
            f"the reference has {count} blocks of one {layout.unit}; windows of {length} blocks need {missing} more"
        )
        return replace(base, problem=problem)
    assert found is not None  # serial dependence alone refuses a reference that is long enough
    max_p = MAX_P_CLEARLY_DEPENDENT if length == 1 else MIN_P_SINGLE_COLUMN
    refused = _dependent_columns(assessment.names, found, max_p)
    if len(refused) < len(assessment.names):
        return replace(base, refused=refused)
    more = f"; the reference needs {lacking} more windows" if length > 1 else ""
    return replace(
        base, problem=f"neighbouring blocks of one {layout.unit} are serially dependent in every column{more}"
    )


def _dependent_columns(names: Sequence[str], found: VarianceRatio, max_p: float) -> dict[str, float]:
    return {names[c]: float(found.columns[c]) for c in np.flatnonzero(found.dependent(max_p)).tolist()}


def _quarter_plan(profile: ReferenceProfile, base: BlockPlan, sums: BlockSums) -> BlockPlan | None:
    """The plan by quarters where they hold the false-alarm rate: simulated for quarters of similar size and 30 days."""
    quarters = replace(base, profiles_per_test_block=1, quarters=True, within_phases=True)
    if base.season is not None:
        return None
    arranged = _arrange_reference(profile, quarters)
    rows = arranged.blocks.rows
    if (
        len(rows) < MIN_DAYS_FOR_QUARTERS * profile.parts
        or rows.max() > MAX_QUARTER_SIZE_RATIO * rows.mean()
        or rows.min() < rows.mean() / MAX_QUARTER_SIZE_RATIO
    ):
        return None
    found = quarter_variance_ratio(
        arranged.sums(sums.values), rows, arranged.blocks.phases, sums.starts, profile.seed
    )  # fmt: skip
    if found.p <= MAX_P_DEPENDENT:
        return None
    return replace(quarters, unit=f"quarter of {base.unit}", p_dependence=found.p)


def _arrange_reference(profile: ReferenceProfile, plan: BlockPlan) -> Arrangement:
    """The blocks of the reference, without a window."""
    labels = np.array(profile.labels, dtype=np.int64)
    rows = np.array([block.rows for block in profile.blocks], dtype=np.float64)
    with_none = arrange(plan, labels, rows, labels[-1:] + 1, np.zeros(1))  # a window without rows
    return Arrangement(with_none.blocks, with_none.block_of[:-1])


def _phases(plan: BlockPlan, labels: Ints) -> Ints:
    """The phase of each block, by the label of its first profile block."""
    if plan.quarters:
        return labels % plan.parts
    if plan.season is None or plan.block_s is None:
        return np.zeros(len(labels), dtype=np.int64)
    seconds = labels * plan.block_s
    weekday = (seconds // 86_400 + 3) % 7  # Monday is 0; the epoch began on a Thursday
    match plan.season:
        case "weekday_weekend":
            return (weekday >= 5).astype(np.int64)
        case "day_of_week":
            return weekday
        case "hour_of_day":
            return seconds // 3600 % 24


def _sum_groups(values: Floats, group_of: Ints, count: int) -> Floats:
    inside = np.flatnonzero(group_of >= 0)
    if len(inside) == count and np.all(np.diff(group_of[inside]) > 0):
        return values if count == len(group_of) else values[inside]
    order = inside[np.argsort(group_of[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(group_of[order], prepend=-1))
    found: Floats = np.add.reduceat(values[order], starts, axis=0)
    return found
