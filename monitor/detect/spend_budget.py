"""Spend drift's share of the false-alarm budget: divide it among the window lengths, as an alpha for each."""

from collections.abc import Mapping
from itertools import combinations
from typing import Final

from monitor.detect.arrangement import WindowLayout, min_alpha
from monitor.detect.window_layout import window_layout
from monitor.profile.reference_profile import ReferenceProfile
from monitor.spec import false_alarm_budget
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import AlphaBudget

MAX_ALPHA: Final = 0.5  # upper bound of the false-alarm rate of one window, whatever the budget


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
    shares = {window_length: false_alarm_budget.alpha(spec, "drift", window_length) for window_length in window_lengths}
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
