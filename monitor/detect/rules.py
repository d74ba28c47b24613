"""The verdict on one window by the rule its spec names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

from monitor.detect.arrangement import WindowLayout, min_alpha, plan_blocks
from monitor.detect.decide import DriftDecision, decide
from monitor.detect.fixed_rules import row_tests, thresholds
from monitor.drift import Score
from monitor.profile.block import BlockProfile
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality import Volume
from monitor.spec import budget
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import AlphaBudget, RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW, block_length, profile_parts

MAX_ALPHA: Final = 0.5  # no window alarms more often than every second, however generous the budget


def judge(
    spec: ModelSpec,
    baseline: ReferenceProfile,
    scale: str,
    blocks: Sequence[BlockProfile],
    scores: Sequence[Score],
    *,
    first: int,
    seed: int,
    volume: Volume | None = None,
) -> DriftDecision:
    """Judge a window of a scale, given as profile blocks from label `first` on, with the catalogue's statistics.

    `volume`: of a window of time.
    """
    drift, judging = spec.monitors.drift, alpha_by_scale(spec, baseline)
    alpha = judging.get(scale, budget.alpha(spec, "drift", scale))
    floors = parse_changes(drift.floors)
    match drift.rule:
        case "row_tests":
            return row_tests(baseline, blocks, alpha=alpha, floors=floors)
        case "thresholds":
            return thresholds(baseline, blocks, scores, drift.thresholds, alpha=alpha)
    cut = window_layout(spec, scale)
    plan = plan_blocks(baseline, cut, alpha)
    if scale not in judging and plan.problem is None and _can_judge(baseline, cut, alpha):
        spent = f"the reference supports windows of {scale} or of {', '.join(judging)}, not both; "
        plan = replace(plan, problem=f"{spent}the false-alarm budget is spent on the latter")
    return decide(
        baseline, blocks, alpha=alpha, plan=plan, first=first, floors=floors,
        must_see=parse_changes(drift.must_see), seed=seed, volume=volume,
        volume_alpha=budget.alpha(spec, "volume", scale) if volume is not None else None,
    )  # fmt: skip


def alpha_by_scale(spec: ModelSpec, baseline: ReferenceProfile) -> dict[str, float]:
    """False-alarm rate of one window of each scale that is judged; empty where the reference supports none.

    The drift part of the budget is spent equally by the scales. A scale whose windows the reference cannot support at
    its share gets the least it can be judged at, and the others share what is left; one that cannot be judged so either
    leaves its share to the others. As many scales as can be are judged, of equally many the shorter ones.
    """
    monitors = spec.monitors
    scales = monitors.scales
    shares = {scale: budget.alpha(spec, "drift", scale) for scale in scales}
    if isinstance(monitors.false_alarms, AlphaBudget) or monitors.drift.rule != "blocks" or len(scales) == 1:
        return shares
    cuts = {scale: window_layout(spec, scale) for scale in scales}
    ordered = sorted(scales, key=duration)
    for count in range(len(scales), 0, -1):
        for chosen in combinations(ordered, count):
            found = _divide_budget(baseline, {s: cuts[s] for s in chosen}, {s: len(scales) * shares[s] for s in chosen})
            if found:
                return found
    return {}


def _divide_budget(
    baseline: ReferenceProfile, cuts: Mapping[str, WindowLayout], whole: Mapping[str, float]
) -> dict[str, float]:
    """The rate of each scale, none where they cannot all be judged; `whole`: its rate if it spent everything alone."""
    least: dict[str, float] = {}  # of scales that need more than an equal share
    while True:
        left = 1.0 - sum(least[s] / whole[s] for s in least)
        equal = [s for s in cuts if s not in least]
        if left < 0.0 or (equal and left <= 0.0):
            return {}
        alphas = {s: least.get(s, min(MAX_ALPHA, left / max(len(equal), 1) * whole[s])) for s in cuts}
        wanting = {s: min_alpha(baseline, cuts[s], alpha) for s, alpha in alphas.items()}
        if any(rate is None for rate in wanting.values()):
            return {}
        more = {s: rate for s, rate in wanting.items() if rate is not None and rate > alphas[s] * (1 + 1e-9)}
        if not more:
            return alphas
        if not set(more) <= set(equal):
            return {}
        least |= more


def _can_judge(baseline: ReferenceProfile, cut: WindowLayout, alpha: float) -> bool:
    rate = min_alpha(baseline, cut, alpha)
    return rate is not None and rate <= alpha * (1 + 1e-9)


def window_layout(spec: ModelSpec, scale: str) -> WindowLayout:
    """How windows of a scale are cut in profile blocks."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return WindowLayout(BLOCKS_PER_WINDOW, f"{windows.rows // BLOCKS_PER_WINDOW} rows")
    length = block_length(windows)
    parts = profile_parts(windows)
    seconds = int(length.total_seconds()) // parts
    return WindowLayout(
        int(duration(scale).total_seconds()) // seconds, _duration_words(int(length.total_seconds())), seconds,
        spec.monitors.phases, spec.monitors.drift.short_reference,
    )  # fmt: skip


def parse_changes(declared: Mapping[str, str]) -> dict[str, float]:
    """Declared changes as numbers: standard deviations for numbers and text, shares for categories."""
    return {name: float(text.strip().removesuffix("std").strip()) for name, text in declared.items()}


def _duration_words(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return unit if seconds == size else f"{seconds // size} {unit}s"
    return f"{seconds} seconds"
