"""The verdict on one window, by the rule that its spec names and within the false-alarm budget."""

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

MAX_ALPHA: Final = 0.5  # upper bound of the false-alarm rate of one window, whatever the budget


def judge(
    spec: ModelSpec,
    profile: ReferenceProfile,
    window_length: str,
    blocks: Sequence[BlockProfile],
    scores: Sequence[Score],
    *,
    first: int,
    seed: int,
    volume: Volume | None = None,
) -> DriftDecision:
    """Judge one window by the rule of the spec.

    Args:
        spec: of the model.
        profile: of the reference.
        window_length: as the spec names it, such as `7d` or `500 rows`.
        blocks: profiles of the window's blocks.
        scores: statistics of the catalogue, for the rule `thresholds`.
        first: label of the first window block.
        seed: of the permutations.
        volume: for windows of time, the rows of the window beside those expected.
    """
    drift, alphas = spec.monitors.drift, alpha_by_window_length(spec, profile)
    alpha = alphas.get(window_length, budget.alpha(spec, "drift", window_length))
    min_effects = parse_changes(drift.floors)
    match drift.rule:
        case "row_tests":
            return row_tests(profile, blocks, alpha=alpha, min_effects=min_effects)
        case "thresholds":
            return thresholds(profile, blocks, scores, drift.thresholds, alpha=alpha)
    layout = window_layout(spec, window_length)
    plan = plan_blocks(profile, layout, alpha)
    if window_length not in alphas and plan.problem is None and _can_judge(profile, layout, alpha):
        problem = (
            f"the reference supports windows of {window_length} or of {', '.join(alphas)}, not both, and the "
            "false-alarm budget is spent on the latter"
        )
        plan = replace(plan, problem=problem)
    return decide(
        profile, blocks, alpha=alpha, plan=plan, first=first, min_effects=min_effects,
        min_detectable=parse_changes(drift.must_see), seed=seed, volume=volume,
        volume_alpha=budget.alpha(spec, "volume", window_length) if volume is not None else None,
    )  # fmt: skip


def alpha_by_window_length(spec: ModelSpec, profile: ReferenceProfile) -> dict[str, float]:
    """The false-alarm rate of one window of each length that is judged; empty where the reference supports none.

    The lengths share the drift part of the budget equally. A length that the reference cannot support at its share gets
    the smallest rate at which it can be judged, and the others share the rest. A length that cannot be judged even then
    leaves its share to the others. As many lengths as possible are judged; among sets of equal size, the shorter ones.

    Args:
        spec: of the model.
        profile: of the reference.
    """
    monitors = spec.monitors
    window_lengths = monitors.scales
    shares = {window_length: budget.alpha(spec, "drift", window_length) for window_length in window_lengths}
    if isinstance(monitors.false_alarms, AlphaBudget) or monitors.drift.rule != "blocks" or len(window_lengths) == 1:
        return shares
    layouts = {window_length: window_layout(spec, window_length) for window_length in window_lengths}
    ordered = sorted(window_lengths, key=duration)
    for count in range(len(window_lengths), 0, -1):
        for chosen in combinations(ordered, count):
            found = _divide_budget(
                profile, {s: layouts[s] for s in chosen}, {s: len(window_lengths) * shares[s] for s in chosen}
            )
            if found:
                return found
    return {}


def _divide_budget(
    profile: ReferenceProfile, layouts: Mapping[str, WindowLayout], whole: Mapping[str, float]
) -> dict[str, float]:
    """The rate of each length; empty where they cannot all be judged. `whole`: the rate if one length spent it all."""
    least: dict[str, float] = {}  # the rates of lengths that need more than an equal share
    while True:
        left = 1.0 - sum(least[s] / whole[s] for s in least)
        equal = [s for s in layouts if s not in least]
        if left < 0.0 or (equal and left <= 0.0):
            return {}
        alphas = {s: least.get(s, min(MAX_ALPHA, left / max(len(equal), 1) * whole[s])) for s in layouts}
        wanting = {s: min_alpha(profile, layouts[s], alpha) for s, alpha in alphas.items()}
        if any(rate is None for rate in wanting.values()):
            return {}
        more = {s: rate for s, rate in wanting.items() if rate is not None and rate > alphas[s] * (1 + 1e-9)}
        if not more:
            return alphas
        if not set(more) <= set(equal):
            return {}
        least |= more


def _can_judge(profile: ReferenceProfile, layout: WindowLayout, alpha: float) -> bool:
    rate = min_alpha(profile, layout, alpha)
    return rate is not None and rate <= alpha * (1 + 1e-9)


def window_layout(spec: ModelSpec, window_length: str) -> WindowLayout:
    """How windows of one length are divided into profile blocks."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return WindowLayout(BLOCKS_PER_WINDOW, f"{windows.rows // BLOCKS_PER_WINDOW} rows")
    length = block_length(windows)
    parts = profile_parts(windows)
    seconds = int(length.total_seconds()) // parts
    return WindowLayout(
        int(duration(window_length).total_seconds()) // seconds, _duration_words(int(length.total_seconds())), seconds,
        spec.monitors.phases, spec.monitors.drift.short_reference,
    )  # fmt: skip


def parse_changes(declared: Mapping[str, str]) -> dict[str, float]:
    """Changes as a spec declares them, as numbers: standard deviations for numbers and texts, shares for categories."""
    return {name: float(text.strip().removesuffix("std").strip()) for name, text in declared.items()}


def _duration_words(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return unit if seconds == size else f"{seconds // size} {unit}s"
    return f"{seconds} seconds"
