"""Which blocks a window is ranked among: chosen once per reference and scale, from how its blocks hang together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from monitor.detect.dependence import ALONE, CLEAR, LEVEL, Growth, growth, quarter_growth
from monitor.detect.permutation import Blocks, possible
from monitor.detect.statistics import Sums, block_sums
from monitor.profile.coding import Floats, Ints
from monitor.profile.reference_profile import ReferenceProfile

Season = Literal["weekday_weekend", "day_of_week", "hour_of_day"]

TRUSTED_WINDOWS: Final = 8  # windows of reference from which its blocks are trusted, 4 where the user accepts the risk
RISKED_WINDOWS: Final = 4
FEWEST_WINDOWS: Final = 3  # below this growth says nothing
MEMORY: Final = 7  # blocks over which a window of a single block asks for growth: days over a week
QUARTER_DAYS: Final = 30
QUARTER_ALPHA: Final = 1 / 120  # least rate quarters were measured at
UNEVEN: Final = 2.0
_WINDOW: Final = 1 << 40  # added to the numbers of the window's blocks


@dataclass(frozen=True)
class Scale:
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
    p_growth: float | None = None
    growth: float | None = None
    refused: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Blocks of the test, and the block each profile block belongs to (-1: to none)."""

    blocks: Blocks
    of: Ints

    def sums(self, sums: Floats) -> Floats:
        return _grouped(sums, self.of, len(self.blocks.rows))


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a reference answers about the blocks of one scale, whatever the rate: `base`, its plan by single blocks;
    how many `blocks` it has; whether they hang together; and, for windows of one block, the plan by quarters if they
    are honest."""

    base: BlockPlan
    blocks: int
    names: Sequence[str]
    growth: Growth | None
    quarters: BlockPlan | None


_ASKED: Final[WeakKeyDictionary[ReferenceProfile, dict[Scale, _Asked]]] = WeakKeyDictionary()


def plan_blocks(baseline: ReferenceProfile, scale: Scale, alpha: float) -> BlockPlan:
    """The blocks windows of a scale are judged by; the same for every window of a reference.

    Quarters of a day for windows of one day, where neighbouring quarters show no effect of their day; else blocks as
    the windows are cut, where neighbours show no memory (for windows of one block, no clear one: one block among others
    that resemble their neighbours still ranks as any); else blocks as long as the window, where the reference has
    1 / alpha of them; else the columns without memory alone.
    """
    known = _ASKED.setdefault(baseline, {})
    asked = known.get(scale)
    if asked is None:
        asked = known[scale] = _ask(baseline, scale)
    return _planned(asked, scale, _length(scale, baseline.parts), alpha)


def least_rate(baseline: ReferenceProfile, scale: Scale, alpha: float) -> float | None:
    """The smallest false-alarm rate windows of a scale can be judged at by the plan for `alpha`; None: at none."""
    plan = plan_blocks(baseline, scale, alpha)
    if plan.problem is not None:
        return None
    labels = np.array(baseline.labels, dtype=np.int64)
    rows = np.array([block.rows for block in baseline.blocks], dtype=np.float64)
    later = (int(labels[-1]) // plan.parts + 1) * plan.parts
    arranged = arrange(plan, labels, rows, later + np.arange(scale.blocks), np.ones(scale.blocks))
    return 1.0 / possible(arranged.blocks.strata)


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
    group += np.where(inside, _WINDOW, 0)
    names, of = np.unique(group[whole], return_inverse=True)
    belongs = np.full(len(labels), -1, dtype=np.int64)
    belongs[whole] = of
    first = np.zeros(len(names), dtype=np.int64)
    first[of[::-1]] = labels[whole][::-1]
    total = np.bincount(of, weights=rows[whole], minlength=len(names)).astype(np.float64)
    blocks = Blocks(total, names >= _WINDOW, _phases(plan, first), plan.matched)
    return Arrangement(blocks, belongs)


def missing_blocks(blocks: Blocks, alpha: float) -> int:
    """Reference blocks to add until the smallest possible p is at most alpha."""
    strata = blocks.strata
    missing = 0
    while possible([(np.arange(len(at) + missing), taken) for at, taken in strata]) * alpha < 1.0 - 1e-9:
        missing += 1
    return missing


def _length(scale: Scale, parts: int) -> int:
    """Blocks of the rule in one window."""
    return max(scale.blocks // parts, 1)


def _ask(baseline: ReferenceProfile, scale: Scale) -> _Asked:
    parts = baseline.parts
    length = _length(scale, parts)
    sums = block_sums(baseline, ())
    base = BlockPlan(
        together=parts, parts=parts, season=scale.season, block_s=scale.block_s, unit=scale.unit,
        matched=scale.season is not None and length > 1,
    )  # fmt: skip
    whole = _reference(baseline, base)
    count = len(whole.blocks.rows)
    over = length if length > 1 else MEMORY
    found = None
    if count >= FEWEST_WINDOWS * over:
        found = growth(
            whole.sums(sums.values), whole.blocks.rows, whole.blocks.phases, sums.starts, over, baseline.seed
        )
        base = replace(base, p_growth=found.p, growth=found.median)
    quarters = None
    if length == 1 and parts > 1 and (found is None or found.exchangeable):
        quarters = _quarters(baseline, base, sums)
    return _Asked(base, count, sums.names, found, quarters)


def _planned(asked: _Asked, scale: Scale, length: int, alpha: float) -> BlockPlan:
    base, found, count = asked.base, asked.growth, asked.blocks
    timed = scale.block_s is not None
    needed = (RISKED_WINDOWS if scale.short_reference else TRUSTED_WINDOWS) * length if timed and length > 1 else 0
    if count >= needed and (found is None or found.exchangeable):
        return asked.quarters if asked.quarters is not None and alpha >= QUARTER_ALPHA else base
    if length == 1 and found is not None and found.p > CLEAR:
        return base
    windows = count // length
    if length > 1 and (windows + 1) * alpha >= 1.0 - 1e-9:
        unit = f"{length} x {scale.unit}"
        return replace(base, together=base.parts * length, unit=unit, season=None, matched=False)
    lacking = math.ceil(1.0 / alpha - 1e-9) - 1 - windows
    if count < needed:
        missing = min(needed - count, lacking * length)
        said = f"{count} blocks of one {scale.unit} of reference; {missing} more are needed for windows of {length}"
        return _refusing(base, said)
    assert found is not None  # only growth refuses what is long enough
    refused = _refused(asked.names, found, CLEAR if length == 1 else ALONE)
    if len(refused) < len(asked.names):
        return replace(base, refused=refused)
    more = f"; {lacking} more windows of reference are needed" if length > 1 else ""
    return _refusing(base, f"neighbouring blocks of {scale.unit} hang together in every column{more}")


def _refusing(base: BlockPlan, problem: str) -> BlockPlan:
    return replace(base, problem=problem)


def _refused(names: Sequence[str], found: Growth, level: float) -> dict[str, float]:
    return {names[c]: float(found.columns[c]) for c in np.flatnonzero(found.wandering(level)).tolist()}


def _quarters(baseline: ReferenceProfile, base: BlockPlan, sums: Sums) -> BlockPlan | None:
    """The plan by quarters where they are honest: measured for even quarters and 30 days."""
    quarters = replace(base, together=1, quarters=True, matched=True)
    if base.season is not None:
        return None
    arranged = _reference(baseline, quarters)
    rows = arranged.blocks.rows
    if (
        len(rows) < QUARTER_DAYS * baseline.parts
        or rows.max() > UNEVEN * rows.mean()
        or rows.min() < rows.mean() / UNEVEN
    ):
        return None
    found = quarter_growth(
        arranged.sums(sums.values), rows, arranged.blocks.phases, sums.starts, baseline.seed
    )  # fmt: skip
    if found.p <= LEVEL:
        return None
    return replace(quarters, unit=f"quarter of {base.unit}", p_growth=found.p)


def _reference(baseline: ReferenceProfile, plan: BlockPlan) -> Arrangement:
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


def _grouped(values: Floats, of: Ints, count: int) -> Floats:
    inside = np.flatnonzero(of >= 0)
    if len(inside) == count and np.all(np.diff(of[inside]) > 0):
        return values if count == len(of) else values[inside]
    order = inside[np.argsort(of[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    found: Floats = np.add.reduceat(values[order], starts, axis=0)
    return found
