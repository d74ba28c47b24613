"""Short forms of `bench.detection`: the whole default path on a few kinds of traffic, without drift and with it."""

import math

import numpy as np
import pytest

from bench.detect.shifts import new_level
from bench.detect.synthetic import synthetic_traffic
from bench.detect.trial import LENGTHS, Length, Outcome, judge_all

ALPHA = 1 / 10
TRAFFIC = {traffic.name: traffic for traffic in synthetic_traffic()}


def windows(name: str, window: str, references: int, rows: int = 120) -> list[Outcome]:
    found = []
    for i in range(references):
        rng = np.random.default_rng([20, i])
        found += [outcome for _, outcome in judge_all(TRAFFIC[name], rng, rows, LENGTHS[window], ALPHA)]
    return found


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("regimes", "1d"),
        ("sessions", "7d"),
        ("rare_x0.55", "1d"),
        ("zipf", "7d"),
        ("ids", "7d"),
        ("weekly_declared", "1d"),
    ],
)
def test_a_tenth_of_windows_at_most_alarms_without_drift_at_a_rate_of_a_tenth(name: str, window: str) -> None:
    found = windows(name, window, 15)
    # Windows share their reference: the error is counted as if half of them were independent.
    most = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / (len(found) / 2))
    assert np.mean([o.changed for o in found]) <= most


@pytest.mark.parametrize("name", ["day_effect_x5", "day_effect_x0.1", "rare_x5", "rare_x0.1"])
def test_a_window_of_another_volume_is_never_called_drift(name: str) -> None:
    assert {o.verdict for o in windows(name, "1d", 2)} == {"volume_changed"}


def test_where_nothing_varies_nothing_alarms() -> None:
    assert {o.verdict for o in windows("constant", "7d", 2)} == {"no_evidence"}


def test_an_effect_of_the_day_keeps_days_whole_and_none_allows_quarters() -> None:
    def quarters(name: str, rows: int) -> int:
        found = [
            judge_all(TRAFFIC[name], np.random.default_rng([21, i]), rows, Length(30, 1, 1), ALPHA) for i in range(10)
        ]
        return sum(windows[0][1].quarters for windows in found)

    assert quarters("day_effect_0.04", 1000) <= 1
    assert quarters("pareto", 200) >= 5


def test_a_new_level_in_one_row_of_a_hundred_is_found_among_forty() -> None:
    found = []
    for i in range(5):
        rng = np.random.default_rng([23, i])
        shifts = {"new": new_level("z0", 0.01)}
        found += [o for _, o in judge_all(TRAFFIC["zipf40"], rng, 1000, Length(30, 1, 4), 1 / 30, shifts=shifts)]
    assert np.mean([o.alarmed for o in found]) >= 0.85
