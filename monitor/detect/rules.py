"""The verdict on one window, by the rule that its spec names and within the false-alarm budget."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from monitor.detect.arrangement import WindowLayout, min_alpha, plan_blocks
from monitor.detect.decide import DriftDecision, decide
from monitor.detect.early_rule import early_rule
from monitor.detect.fixed_rules import row_tests, thresholds
from monitor.detect.spend_budget import alpha_by_window_length
from monitor.detect.window_layout import window_layout
from monitor.drift import Score
from monitor.profile.block import BlockProfile
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality import Volume
from monitor.spec import false_alarm_budget
from monitor.spec.forecast import time_needed_sentence
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import DAY, block_length, profile_parts


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
    early: Mapping[str, float] | None = None,
    instead: str | None = None,
) -> DriftDecision:
    """Judge one window by the rule of the spec, or by the early rule while the reference is short.

    Args:
        spec: of the model.
        profile: of the reference.
        window_length: as the spec names it, such as `7d` or `500 rows`.
        blocks: profiles of the window's blocks.
        scores: statistics of the catalogue, for the rule `thresholds`.
        first: label of the first window block.
        seed: of the permutations.
        volume: for time windows, the rows of the window and those expected.
        early: for the early rule, the design effects of the window's rows by column; None where it does not judge.
        instead: which reference to write where this one is too short; None for a longer one of the same kind.
    """
    drift = spec.monitors.drift
    alphas = {} if early is not None else alpha_by_window_length(spec, profile)
    alpha = alphas.get(window_length, false_alarm_budget.alpha(spec, "drift", window_length))
    min_effects = parse_changes(drift.floors)
    if early is not None:
        alpha = false_alarm_budget.alpha(spec, "drift", window_length)
        return early_rule(
            profile, blocks, alpha=alpha, effects=early, min_effects=min_effects,
            min_detectable=parse_changes(drift.must_see),
        )  # fmt: skip
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
    decision = decide(
        profile, blocks, alpha=alpha, plan=plan, first=first, min_effects=min_effects,
        min_detectable=parse_changes(drift.must_see), seed=seed, volume=volume,
        volume_alpha=false_alarm_budget.alpha(spec, "volume", window_length) if volume is not None else None,
    )  # fmt: skip
    if decision.verdict == "reference_too_short":
        return replace(
            decision, reason=f"{decision.reason}; {instead or _longer_reference(spec, profile, window_length)}"
        )
    return decision


def _longer_reference(spec: ModelSpec, profile: ReferenceProfile, window_length: str) -> str:
    """Which key to write, with the value, so that the reference supports windows of a length."""
    windows = spec.monitors.window_lengths
    if isinstance(windows, RowWindow):
        rows = max(2 * (profile.rows + profile.rows_for_encoders), 8 * windows.rows)
        return f"write `baseline: {{rows: first {rows}}}`"
    block = block_length(windows) / profile_parts(windows)
    lasted = (profile.labels[-1] - profile.labels[0] + 1) * block
    return time_needed_sentence(spec, window_length, profile.rows / (lasted / DAY))


def _can_judge(profile: ReferenceProfile, layout: WindowLayout, alpha: float) -> bool:
    rate = min_alpha(profile, layout, alpha)
    return rate is not None and rate <= alpha * (1 + 1e-9)


def parse_changes(declared: Mapping[str, str]) -> dict[str, float]:
    """Changes as a spec declares them, as numbers: standard deviations for numbers and texts, shares for categories."""
    return {name: float(text.strip().removesuffix("std").strip()) for name, text in declared.items()}
