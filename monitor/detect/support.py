"""Whether a reference supports the block rule for the windows of a spec."""

from monitor.detect.arrangement import min_alpha, plan_blocks
from monitor.detect.spend_budget import alpha_by_window_length
from monitor.detect.window_layout import window_layout
from monitor.profile.reference_profile import ReferenceProfile
from monitor.spec.model import ModelSpec

MAX_REFUSED_SHARE = 0.5  # of the columns, which windows of a day or more may leave out as serially dependent


def supports_block_rule(spec: ModelSpec, profile: ReferenceProfile, *, short: bool) -> bool:
    """Whether windows of every length of the spec can be judged by permuting blocks of the reference.

    Args:
        spec: with its window lengths.
        profile: of the reference.
        short: windows are shorter than a day. Their blocks must be independent in every column; of longer windows,
            up to half of the columns may be left out.
    """
    alphas = alpha_by_window_length(spec, profile)
    for window_length in spec.monitors.scales:
        if window_length not in alphas:
            return False
        layout, alpha = window_layout(spec, window_length), alphas[window_length]
        plan, least = plan_blocks(profile, layout, alpha), min_alpha(profile, layout, alpha)
        allowed = 0.0 if short else MAX_REFUSED_SHARE * (len(profile.coding.numbers) + len(profile.coding.categories))
        if plan.problem is not None or least is None or least > alpha * (1 + 1e-9) or len(plan.refused) > allowed:
            return False
    return True
