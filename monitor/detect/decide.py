"""Drift or no drift: a permutation test over blocks of rows.

Reference blocks and window blocks are exchangeable when nothing changed, so the window is ranked among all other
choices of as many blocks. One ranking covers every column, so the false-alarm rate holds for the model as a whole, at
any window size and however rows hang together inside a block. It does not hold when blocks of the reference
themselves wander (seasons): `monitor.detect.arrangement` then chooses longer ones, or leaves such columns out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from core.errors import InvalidError
from monitor.detect.arrangement import Arrangement, BlockPlan, arrange, missing_blocks
from monitor.detect.findings import (
    ColumnFinding,
    DetectableChange,
    PermutationResult,
    column_findings,
    detectable_changes,
    undetectable_changes,
)
from monitor.detect.permutation import Blocks, Permutations, draw_permutations, p_values
from monitor.detect.statistics import BlockSums, block_sums, min_effects_of
from monitor.detect.studentised import studentise, volume_weights
from monitor.profile.block import BlockProfile
from monitor.profile.coding import Floats
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality.volume import Volume

DriftVerdict = Literal[
    "drift", "changed_below_floor", "no_evidence", "not_enough_data", "reference_too_short", "volume_changed"
]
JUDGED_VERDICTS: Final = ("drift", "changed_below_floor", "no_evidence")

PERMUTATIONS: Final = 999


@dataclass(frozen=True)
class DriftDecision:
    """`p` is None where no test was made or the rule has none; `reason` says why and what would help.

    `block`: one block of the test in words. `p_growth`, `growth`: whether the reference's blocks hang together, asked
    once per reference. `unjudged`: columns left out for that reason. `p_at_volume`: with `volume_changed`, the p of a
    test that allows for the changed volume, as information.
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

    @property
    def alarmed(self) -> bool:
        return self.verdict == "drift"

    @property
    def judged(self) -> bool:
        return self.verdict in JUDGED_VERDICTS


def decide(
    baseline: ReferenceProfile,
    window_blocks: Sequence[BlockProfile],
    *,
    alpha: float,
    plan: BlockPlan | None = None,
    first: int = 0,
    floors: Mapping[str, float] | None = None,
    must_see: Mapping[str, float] | None = None,
    redraws: int = PERMUTATIONS,
    seed: int = 0,
    volume: Volume | None = None,
    volume_alpha: float | None = None,
) -> DriftDecision:
    """Compare a window with the baseline.

    Args:
        baseline: with R reference blocks.
        window_blocks: L profiles of the window, cut like the reference (same length, or same number of rows).
        alpha: false-alarm rate of this one window, 0..1, all columns together.
        plan: how blocks are put together, from `plan_blocks`; without it, blocks are taken as they come.
        first: label of the first window block, where the plan has seasons or quarters.
        floors: smallest change that may alarm, by column: in reference standard deviations for numbers (and for all
            columns derived from a text column, under its name), in share of rows for categories. Changes below are
            named but do not alarm. Default 0.05 standard deviations, 0.02 of the rows, 0.005 for missing and unseen;
            of what a text or vector is seen by, half of the first two.
        must_see: change that must not be missed, by column, in the same units. When this window could not show it and
            nothing else alarms, the verdict is not_enough_data instead of no_evidence.
        redraws: number of random choices of L of the R + L blocks; all choices are used when there are no more.
        seed: of the redraws; same input and seed, same decision.
        volume: of windows of time: the rows of the window beside those expected. With less than half or more than twice
            as many no test of the mix holds its error rate: the verdict is volume_changed where the volume monitor
            alarms too, not_enough_data where that is not certain, and the usual one where the reference's own volume
            varies as much.
        volume_alpha: false-alarm rate of the volume monitor; alpha without it.

    Returns:
        The decision. p >= 1 / (number of choices): with one window block and T blocks in all nothing below 1/T can be
        claimed; reference_too_short says so instead of an answer that could never alarm.

    Raises:
        InvalidError: alpha outside (0, 1), or a floor that is negative or names an unknown column.

    Source: permutation test over blocks with the maximum statistic of Westfall and Young (1993) for the columns.
    """
    check_alpha(alpha)
    _check_names(baseline, floors or {}, "floors")
    _check_names(baseline, must_see or {}, "must_see")
    plan = plan or BlockPlan()
    window = list(window_blocks)
    arranged = _arrange_window(baseline, window, plan, first)
    sizes = _sizes(baseline, window, arranged.blocks if arranged else None)
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
            reason=f"{sizes[2]} reference blocks and {sizes[3]} in the window cannot support a false-alarm rate of "
            f"{alpha:g}; {missing} more reference blocks are needed, or shorter blocks",
        )
    sums = block_sums(baseline, window, tuple(plan.refused))
    if not sums.functionals:
        return replace(answer, reason="no column of the baseline has enough reference values to be compared")
    choices = draw_permutations(blocks, max(redraws, math.ceil(1.0 / alpha)), seed)
    guarded = volume is not None and volume.changed(volume_alpha or alpha)
    found = _run_test(sums, arranged, choices, min_effects_of(sums, floors or {}, baseline.coding.encoded))
    p, p_gated, variances, tested = found
    named = alpha if p_gated <= alpha and not guarded else None
    columns = column_findings(baseline, window, sums, variances, replace(tested, alarm=named))
    answer = replace(answer, columns=columns, visible=detectable_changes(columns), draws=len(choices))
    if volume is not None and guarded:
        p_at_volume = max(p, _p_at_volume(sums, arranged, choices, variances))
        said = f"the window has {volume.ratio:.2g} times the rows expected (p of the mix {p_at_volume:.2g})"
        return replace(answer, verdict="volume_changed", reason=said, p_at_volume=p_at_volume)
    if volume is not None and volume.unclear(volume_alpha or alpha):
        return replace(answer, reason=_unclear_volume(volume))
    return _with_verdict(baseline, replace(answer, p=p), p_gated, must_see or {})


def _unclear_volume(volume: Volume) -> str:
    why = f"p = {volume.p:.2g}" if volume.p is not None else volume.reason
    return (
        f"the window has {volume.ratio:.2g} times the rows expected, too far from 1 to judge the mix, and whether the "
        f"volume changed is not certain ({why})"
    )


def check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidError(f"alpha is {alpha}; give a false-alarm rate between 0 and 1, such as 0.01", alpha=alpha)


def _with_verdict(
    baseline: ReferenceProfile, answer: DriftDecision, p_gated: float, must_see: Mapping[str, float]
) -> DriftDecision:
    alpha, p = answer.alpha, answer.p
    assert p is not None
    if p_gated <= alpha:
        named = [f.column for f in answer.columns if f.alarmed]
        which = ", ".join(named) if named else "many columns a little, none enough to be named alone"
        return replace(answer, verdict="drift", p=p_gated, reason=f"p = {p_gated:.2g} <= {alpha:.3g}; {which}")
    if p <= alpha:
        said = f"p = {p:.2g} <= {alpha:.3g}, but not without changes below the floors"
        return replace(answer, verdict="changed_below_floor", reason=said)
    unseen = undetectable_changes(baseline, answer.columns, must_see)
    if unseen:
        return replace(
            answer, verdict="not_enough_data", reason=f"p = {p:.2g} > {alpha:.3g}; too few rows to see {unseen}"
        )
    return replace(answer, verdict="no_evidence", reason=f"p = {p:.2g} > {alpha:.3g}")


def _arrange_window(
    baseline: ReferenceProfile, window: Sequence[BlockProfile], plan: BlockPlan, first: int
) -> Arrangement | None:
    """Blocks of the test, or None where the window has no row."""
    rows = np.array([block.rows for block in window], dtype=np.float64)
    if not rows.sum():
        return None
    labels = np.array(baseline.labels, dtype=np.int64)
    own = np.array([block.rows for block in baseline.blocks], dtype=np.float64)
    return arrange(plan, labels, own, first + np.arange(len(rows)), rows)


def _sizes(
    baseline: ReferenceProfile, window: Sequence[BlockProfile], blocks: Blocks | None
) -> tuple[int, int, int, int]:
    n_reference, n_window = baseline.rows, sum(block.rows for block in window)
    if blocks is None:
        return n_reference, n_window, len(baseline.blocks), 0
    count = int(blocks.window.sum())
    return n_reference, n_window, len(blocks.rows) - count, count


def _run_test(
    sums: BlockSums, arranged: Arrangement, choices: Permutations, floors: Floats
) -> tuple[float, float, Floats, PermutationResult]:
    """p with and without the changes below the floors, the variance of each functional, and t per functional."""
    blocks = arranged.blocks
    y = arranged.sums(sums.values)
    total = float(blocks.rows.sum())
    mean = y.sum(axis=0) / total
    squares = mean.copy()
    squares[sums.ranked] = sums.squares[arranged.of >= 0].sum(axis=0) / total
    variances = np.maximum(squares - mean**2, 0.0)
    starts = sums.starts
    found = studentise(y, blocks, choices, variances, starts)
    inside = blocks.window
    means = (
        y[~inside].sum(axis=0) / blocks.rows[~inside].sum(),
        y[inside].sum(axis=0) / blocks.rows[inside].sum(),
    )
    above = np.abs(means[1] - means[0]) >= floors
    gated = np.maximum.reduceat(np.where(above, found.t, np.float32(0.0))[None, :], starts, axis=1)
    p, p_gated = p_values(found.largest, gated)
    if above[int(np.argmax(found.t))]:
        # What stands out most is relevant. Leaving out the small changes of other columns would only lose what they
        # add to it: together they are as unlikely as p says.
        p_gated = p
    return (
        p,
        p_gated,
        variances,
        PermutationResult(means, found.t, above, found.errors, found.largest.max(axis=1), None),
    )


def _p_at_volume(sums: BlockSums, arranged: Arrangement, choices: Permutations, variances: Floats) -> float:
    """p with blocks weighted by what their rows tell when they hang together, one column's weights after another."""
    blocks = arranged.blocks
    y, starts = arranged.sums(sums.values), sums.starts
    weights, column = volume_weights(y, blocks, variances, starts)
    by_column = np.empty((len(choices), len(starts)), dtype=np.float32)
    for c in range(len(starts)):
        mine = column == c
        g = weights[:, c]
        weighted = y[:, mine] * (g / blocks.rows)[:, None]
        found = studentise(weighted, replace(blocks, rows=g), choices, variances[mine], np.zeros(1, dtype=np.int64))
        by_column[:, c] = found.largest[:, 0]
    return p_values(by_column, by_column[:1])[0]


def _check_names(baseline: ReferenceProfile, values: Mapping[str, float], argument: str) -> None:
    known = {*baseline.columns, *baseline.coding.numbers, *baseline.coding.categories}
    for name, value in values.items():
        if name not in known:
            raise InvalidError(f"{argument} names {name!r}, which the baseline does not watch", column=name)
        if not (math.isfinite(value) and value >= 0):
            raise InvalidError(f"{argument}[{name!r}] is {value}; give a number >= 0", column=name, value=str(value))
