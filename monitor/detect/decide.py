"""Drift or no drift: a permutation test over blocks of rows.

When nothing changed, reference blocks and window blocks are exchangeable, so the window is ranked among all other
choices of as many blocks. One ranking covers every column: the false-alarm rate holds for the model as a whole, at any
window size and whatever the dependence of rows inside a block. It does not hold when the blocks of the reference are
serially dependent, as with seasons: `monitor.detect.arrangement` then chooses longer blocks or leaves such columns out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from core.errors import InvalidError
from monitor.detect.arrangement import Arrangement, BlockPlan, arrange, missing_blocks
from monitor.detect.block_test import BlockTestResult, p_at_changed_volume, run_block_test
from monitor.detect.findings import (
    ColumnFinding,
    DetectableChange,
    column_findings,
    detectable_changes,
    undetectable_changes,
)
from monitor.detect.permutation import Blocks, draw_permutations
from monitor.detect.permutation_statistics import block_sums, min_effects_of
from monitor.detect.verdicts import JUDGED_VERDICTS, DriftVerdict
from monitor.profile.block import BlockProfile
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality.volume import Volume

PERMUTATIONS: Final = 999
# Where a false-alarm rate needs more choices than this, or more numbers to hold them, a window is not judged by it.
MAX_CHOICES: Final = 1_000_000
MAX_CELLS: Final = 100_000_000


@dataclass(frozen=True)
class DriftDecision:
    """The verdict on one window, with the evidence for it. Its fields are stored and served as JSON.

    `p`: None where no test was made or the rule has no p. `reason`: why this verdict, and what would help. `visible`:
    the smallest changes that this window would have shown. `draws`: number of permutations. `block`: one block of the
    test in words. `p_growth`, `growth`: p and median of the reference's variance ratios. `unjudged`: columns left out
    because their blocks are serially dependent. `p_at_volume`: where the verdict is `volume_changed`, the p of a test
    that allows for the changed volume; for information. `rule`: which one judged. `design_effects`: by column, how many
    rows count as one under the early rule.
    """

    verdict: DriftVerdict
    p: float | None
    alpha: float
    columns: tuple[ColumnFinding, ...]
    visible: tuple[DetectableChange, ...]
    n_reference: int
    n_window: int
    reference_blocks: int
    window_blocks: int
    draws: int
    reason: str
    block: str = "block"
    p_growth: float | None = None
    growth: float | None = None
    unjudged: tuple[str, ...] = ()
    p_at_volume: float | None = None
    rule: str = "blocks"
    design_effects: Mapping[str, float] = field(default_factory=dict)

    @property
    def alarmed(self) -> bool:
        return self.verdict == "drift"

    @property
    def judged(self) -> bool:
        return self.verdict in JUDGED_VERDICTS


def decide(
    profile: ReferenceProfile,
    window_blocks: Sequence[BlockProfile],
    *,
    alpha: float,
    plan: BlockPlan | None = None,
    first: int = 0,
    min_effects: Mapping[str, float] | None = None,
    min_detectable: Mapping[str, float] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    volume: Volume | None = None,
    volume_alpha: float | None = None,
) -> DriftDecision:
    """Compare a window with the reference.

    Args:
        profile: of the reference, with R blocks.
        window_blocks: L profiles of the window, in blocks like the reference's (same length, or same number of rows).
        alpha: false-alarm rate of this one window, 0..1, over all columns together.
        plan: how profile blocks are combined, from `plan_blocks`; without it, each is a block of the test.
        first: label of the first window block, where the plan has seasons or quarters.
        min_effects: `floors` of the spec, by column: the smallest change that may alarm, in reference standard
            deviations for numbers (and for all columns derived from a text column, under its name), in share of rows
            for categories. Smaller changes are named but do not alarm. Default: 0.05 standard deviations, 0.02 of the
            rows, 0.005 of the rows for missing and unseen values; half of the first two for columns that are derived
            from a text or vector.
        min_detectable: `must_see` of the spec, by column and in the same units: a change that must not be missed. When
            this window could not show it and nothing else alarms, the verdict is not_enough_data, not no_evidence.
        permutations: number of random choices of L of the R + L blocks; where there are no more than that, every
            choice is used.
        seed: of the permutations; the same input and seed give the same decision.
        volume: for time windows, the rows of the window and those expected. With less than half or more than
            twice as many, no test of the distribution holds its level. The verdict is then volume_changed where the
            volume monitor alarms too, not_enough_data where that is not certain, and that of the test where the
            reference's own volume varies as much.
        volume_alpha: false-alarm rate of the volume monitor; `alpha` without it.

    Returns:
        The decision. Its p is at least 1 / (number of choices): with one window block and T blocks in all, no p below
        1 / T is possible. Where that is above alpha, the verdict is reference_too_short, because no test could alarm.

    Raises:
        InvalidError: alpha lies outside (0, 1), or a change is negative, not finite or names an unknown column.

    Source: permutation test over blocks with the maximum statistic of Westfall and Young (1993) for the columns.
    """
    check_alpha(alpha)
    _check_names(profile, min_effects or {}, "floors")
    _check_names(profile, min_detectable or {}, "must_see")
    plan = plan or BlockPlan()
    window = list(window_blocks)
    arranged = _arrange_window(profile, window, plan, first)
    sizes = _sizes(profile, window, arranged.blocks if arranged else None)
    answer = DriftDecision(
        "not_enough_data", None, alpha, (), (), *sizes, 0, "the window has no rows", block=plan.unit,
        p_growth=plan.p_dependence, growth=plan.variance_ratio, unjudged=tuple(plan.refused),
    )  # fmt: skip
    if arranged is None:
        return answer
    blocks = arranged.blocks
    if plan.problem:
        return replace(answer, verdict="reference_too_short", reason=plan.problem)
    missing = max(missing_blocks(blocks, alpha), 3 - len(blocks.rows))
    if missing > 0:
        return replace(
            answer,
            verdict="reference_too_short",
            reason=f"{_blocks(sizes[2], 'reference')} and {_blocks(sizes[3], 'window')} are too few for a false-alarm "
            f"rate of {alpha:.2g}; use {missing} more {_blocks(missing, 'reference').partition(' ')[2]}, or shorter "
            "blocks",
        )
    sums = block_sums(profile, window, tuple(plan.refused))
    if not sums.statistics:
        return replace(answer, reason="no column has enough values in the reference to be compared")
    wanted = max(permutations, math.ceil(1.0 / alpha))
    if wanted > MAX_CHOICES or wanted * len(blocks.rows) > MAX_CELLS:
        return replace(answer, reason=_too_rare(alpha, wanted, len(blocks.rows)))
    choices = draw_permutations(blocks, wanted, seed)
    result = run_block_test(sums, arranged, choices, min_effects_of(sums, min_effects or {}, profile.coding.encoded))
    changed = volume is not None and volume.changed(volume_alpha or alpha)
    columns = column_findings(profile, window, sums, result, None if changed else alpha)
    answer = replace(answer, columns=columns, visible=detectable_changes(columns), draws=len(choices))
    if volume is not None and changed:
        p_at_volume = max(result.p, p_at_changed_volume(sums, arranged, choices, result.variances))
        reason = f"the window has {volume.times} the expected rows (p of the distribution {p_at_volume:.2g})"
        return replace(answer, verdict="volume_changed", reason=reason, p_at_volume=p_at_volume)
    if volume is not None and volume.unclear(volume_alpha or alpha):
        return replace(answer, reason=_unclear_volume(volume))
    return _with_verdict(profile, answer, result, min_detectable or {})


def _too_rare(alpha: float, choices: int, blocks: int) -> str:
    return (
        f"a false-alarm rate of {alpha:.2g} in one window needs {choices:,} permutations of {blocks:,} blocks, more "
        "than are computed; allow more false alarms, or write longer windows"
    )


def _unclear_volume(volume: Volume) -> str:
    detail = f"p = {volume.p:.2g}" if volume.p is not None else volume.reason
    return (
        f"the window has {volume.times} the expected rows, too far from 1 to judge the distribution, and it "
        f"is not certain that the volume changed ({detail})"
    )


def check_alpha(alpha: float) -> None:
    """Refuse a false-alarm rate outside (0, 1).

    Raises:
        InvalidError: naming the rate.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidError(f"alpha is {alpha}; give a false-alarm rate between 0 and 1, such as 0.01", alpha=alpha)


def _with_verdict(
    profile: ReferenceProfile, answer: DriftDecision, result: BlockTestResult, min_detectable: Mapping[str, float]
) -> DriftDecision:
    """The decision with the verdict that the p of the test gives."""
    alpha, p, p_gated = answer.alpha, result.p, result.p_gated
    if p_gated <= alpha:
        named = [f.column for f in answer.columns if f.alarmed]
        which = ", ".join(named) if named else "many columns changed a little, none enough to alarm alone"
        return replace(answer, verdict="drift", p=p_gated, reason=f"p = {p_gated:.2g} <= {alpha:.3g}; {which}")
    if p <= alpha:
        reason = f"p = {p:.2g} <= {alpha:.3g}, but not without the changes below their floors"
        return replace(answer, verdict="changed_below_floor", p=p, reason=reason)
    unseen = undetectable_changes(profile, answer.columns, min_detectable)
    if unseen:
        reason = f"p = {p:.2g} > {alpha:.3g}; too few rows to detect {unseen}"
        return replace(answer, verdict="not_enough_data", p=p, reason=reason)
    return replace(answer, verdict="no_evidence", p=p, reason=f"p = {p:.2g} > {alpha:.3g}")


def _arrange_window(
    profile: ReferenceProfile, window: Sequence[BlockProfile], plan: BlockPlan, first: int
) -> Arrangement | None:
    """The blocks of the test; None where the window has no rows."""
    rows = np.array([block.rows for block in window], dtype=np.float64)
    if not rows.sum():
        return None
    labels = np.array(profile.labels, dtype=np.int64)
    own = np.array([block.rows for block in profile.blocks], dtype=np.float64)
    return arrange(plan, labels, own, first + np.arange(len(rows)), rows)


def _sizes(
    profile: ReferenceProfile, window: Sequence[BlockProfile], blocks: Blocks | None
) -> tuple[int, int, int, int]:
    """Rows of the reference and of the window, then blocks of the test on each side."""
    n_reference, n_window = profile.rows, sum(block.rows for block in window)
    if blocks is None:
        return n_reference, n_window, len(profile.blocks), 0
    count = int(blocks.window.sum())
    return n_reference, n_window, len(blocks.rows) - count, count


def _check_names(profile: ReferenceProfile, values: Mapping[str, float], argument: str) -> None:
    known = {*profile.columns, *profile.coding.numbers, *profile.coding.categories}
    for name, value in values.items():
        if name not in known:
            raise InvalidError(f"{argument} names {name!r}, which the reference does not watch", column=name)
        if not (math.isfinite(value) and value >= 0):
            raise InvalidError(f"{argument}[{name!r}] is {value}; give a number >= 0", column=name, value=str(value))


def _blocks(count: int, kind: str) -> str:
    return f"{count} {kind} block{'' if count == 1 else 's'}"
