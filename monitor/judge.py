"""The verdict on one window by the rule its spec names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from monitor import budget
from monitor.baseline import Baseline
from monitor.blocks import Scale, plan_blocks, supports
from monitor.decide import Decision, decide
from monitor.drift import Score
from monitor.house_rules import row_tests, thresholds
from monitor.profile import BlockProfile
from monitor.quality import Volume
from monitor.reference import BLOCKS_PER_WINDOW, block_length, profile_parts
from monitor.schema import AlphaBudget, ModelSpec, RowWindow, span


def judge(
    spec: ModelSpec,
    baseline: Baseline,
    scale: str,
    blocks: Sequence[BlockProfile],
    scores: Sequence[Score],
    *,
    first: int,
    seed: int,
    volume: Volume | None = None,
) -> Decision:
    """Judge a window of a scale, given as profile blocks from label `first` on, with the catalogue's statistics.

    `volume`: of a window of time.
    """
    drift, judging = spec.monitors.drift, rates(spec, baseline)
    alpha = judging.get(scale, budget.alpha(spec, "drift", scale))
    floors = changes(drift.floors)
    match drift.rule:
        case "row_tests":
            return row_tests(baseline, blocks, alpha=alpha, floors=floors)
        case "thresholds":
            return thresholds(baseline, blocks, scores, drift.thresholds, alpha=alpha)
    cut = scale_of(spec, scale)
    plan = plan_blocks(baseline, cut, alpha)
    if scale not in judging and plan.problem is None and supports(baseline, cut, alpha):
        spent = f"the reference supports windows of {scale} or of {', '.join(judging)}, not both; "
        plan = replace(plan, problem=f"{spent}the false-alarm budget is spent on the latter")
    return decide(
        baseline, blocks, alpha=alpha, plan=plan, first=first, floors=floors,
        must_see=changes(drift.must_see), seed=seed, volume=volume,
        volume_alpha=budget.alpha(spec, "volume", scale) if volume is not None else None,
    )  # fmt: skip


def rates(spec: ModelSpec, baseline: Baseline) -> dict[str, float]:
    """False-alarm rate of one window of each scale that is judged; empty where the reference supports none.

    A scale whose windows the reference cannot support leaves its share of the budget to the others: as many scales as
    can be are judged, of equally many the shorter ones. Twelve weeks are needed for the days and the weeks of one alarm
    a month, six for the days alone.
    """
    monitors = spec.monitors
    scales = monitors.scales
    shares = {scale: budget.alpha(spec, "drift", scale) for scale in scales}
    if isinstance(monitors.false_alarms, AlphaBudget) or monitors.drift.rule != "blocks" or len(scales) == 1:
        return shares

    def raised(chosen: Sequence[str]) -> dict[str, float]:
        return {s: min(0.5, len(scales) / len(chosen) * shares[s]) for s in chosen}

    ordered = sorted(scales, key=span)
    for count in range(len(scales), 0, -1):
        for chosen in combinations(ordered, count):
            alphas = raised(chosen)
            if all(supports(baseline, scale_of(spec, s), alpha) for s, alpha in alphas.items()):
                return alphas
    return {}


def scale_of(spec: ModelSpec, scale: str) -> Scale:
    """How windows of a scale are cut in profile blocks."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return Scale(BLOCKS_PER_WINDOW, f"{windows.rows // BLOCKS_PER_WINDOW} rows")
    length = block_length(windows)
    parts = profile_parts(windows)
    seconds = int(length.total_seconds()) // parts
    return Scale(
        int(span(scale).total_seconds()) // seconds, _words(int(length.total_seconds())), seconds,
        spec.monitors.phases, spec.monitors.drift.short_reference,
    )  # fmt: skip


def changes(declared: Mapping[str, str]) -> dict[str, float]:
    """Declared changes as numbers: standard deviations for numbers and text, shares for categories."""
    return {name: float(text.strip().removesuffix("std").strip()) for name, text in declared.items()}


def _words(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return unit if seconds == size else f"{seconds // size} {unit}s"
    return f"{seconds} seconds"
