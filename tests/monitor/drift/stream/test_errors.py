"""Error streams: their run length without a change, their delay with one, and their state."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN, PageHinkley
from scipy.optimize import brentq
from scipy.stats import binomtest

from core.errors import IntegrityFailureError, InvalidError
from monitor.drift.stream import ErrorStream
from monitor.drift.stream import errors as module


def errors(random: np.random.Generator, rows: int, share: float) -> list[float]:
    return [float(wrong) for wrong in random.random(rows) < share]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("kind", ["yes or no", "graded"])
def test_without_a_change_the_mean_run_is_at_least_the_stated_one(share: float, kind: str) -> None:
    """Runs of 1,000 labels at a stated run length of 1,000: no more than 1 - 1/e of them may alarm."""
    alarmed, runs = 0, 40
    for seed in range(runs):
        random = np.random.default_rng(seed)
        draw = errors(random, 2000, share) if kind == "yes or no" else random.beta(2 * share, 2 - 2 * share, 2000)
        stream = ErrorStream(list(draw[:1000]), run_length=1000)
        alarmed += any(stream.update(float(e)) for e in draw[1000:])
    allowed = 1.0 - math.exp(-1.0)
    assert alarmed / runs <= allowed
    # The bound is an inequality; that alarms are far fewer is what it costs.
    assert alarmed / runs <= 0.35


@pytest.mark.parametrize(("rise", "within"), [(0.1, 800), (0.3, 200)])
def test_a_rise_is_found_soon_and_a_fall_never(rise: float, within: int) -> None:
    delays = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        stream = ErrorStream(errors(random, 1000, 0.1), run_length=100_000)
        found = [stream.labels for e in errors(random, 2000, 0.1 + rise) if stream.update(e)]
        delays.append(found[0] if found else 10_000)
        fallen = ErrorStream(errors(random, 1000, 0.4), run_length=1000)
        assert not any(fallen.update(e) for e in errors(random, 1500, 0.05))
    assert np.median(delays) <= within


def test_alarms_are_those_of_river_with_the_same_parameters() -> None:
    random = np.random.default_rng(4)
    reference, later = errors(random, 500, 0.1), errors(random, 1500, 0.3)
    stream = ErrorStream(reference, run_length=5000)
    found = {change.detector: change.at for e in later for change in reversed(stream.update(e))}
    hinkley: Any = PageHinkley(delta=0.02, threshold=stream.threshold, alpha=1.0, mode="up")
    adwin: Any = ADWIN  # untyped
    window = adwin(delta=1 / 10_000)
    expected: dict[str, int] = {}
    for at, e in enumerate([*reference, *later]):
        hinkley.update(e)
        window.update(e)
        if at >= 500 and hinkley.drift_detected:
            expected["page_hinkley"] = at - 499
        if at >= 500 and window.drift_detected:
            expected["adwin"] = at - 499
    assert found == expected
    assert set(found) == {"page_hinkley", "adwin"}


def test_an_alarm_tells_the_error_since_the_rise_and_not_what_the_whole_window_averages() -> None:
    random = np.random.default_rng(9)
    stream = ErrorStream(errors(random, 4000, 0.07), run_length=100_000)
    for e in errors(random, 3000, 0.07):
        assert not stream.update(e)
    alarms = {alarm.detector: alarm for e in errors(random, 600, 0.3) for alarm in reversed(stream.update(e))}
    assert set(alarms) == {"page_hinkley", "adwin"}
    first = min(alarms.values(), key=lambda alarm: alarm.at)
    assert first.now == pytest.approx(0.3, abs=0.08)
    assert first.rows == pytest.approx(first.at - 3000, abs=30)  # labels since the rise


def test_a_stream_that_is_stored_and_read_back_goes_on_as_if_nothing_had_happened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ERRORS", 1200)  # so that the detectors restart on the newest half
    random = np.random.default_rng(6)
    reference, later = errors(random, 600, 0.1), [*errors(random, 700, 0.1), *errors(random, 700, 0.35)]
    whole = ErrorStream(reference, run_length=2000)
    parts = ErrorStream(reference, run_length=2000)
    for at, e in enumerate(later):
        if at % 97 == 0:
            parts = ErrorStream.from_state(json.loads(json.dumps(parts.state())))
        assert parts.update(e) == whole.update(e)
        assert parts.statistic == whole.statistic
    assert parts.state() == whole.state()


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(InvalidError, match="at least 100"):
        ErrorStream([0.0], run_length=10)
    with pytest.raises(InvalidError, match="labelled reference rows"):
        ErrorStream([], run_length=1000)
    with pytest.raises(InvalidError, match=r"0\.\.1"):
        ErrorStream([2.0], run_length=1000)
    with pytest.raises(IntegrityFailureError):
        ErrorStream.from_state({"format": "other"})
    good = ErrorStream([0.0, 1.0], run_length=1000).state()
    with pytest.raises(IntegrityFailureError):
        ErrorStream.from_state(good | {"kept": "%%%"})


def test_a_reference_without_any_error_still_has_a_threshold() -> None:
    stream = ErrorStream([0.0] * 400, run_length=100_000)
    assert math.isfinite(stream.threshold)
    assert any(stream.update(1.0) for _ in range(400))


@given(st.integers(100, 20_000), st.floats(0.0, 1.0), st.floats(2.0, 6.0))
@settings(max_examples=80, deadline=None)
def test_the_threshold_is_that_of_scipy_s_root_and_interval(rows: int, mean: float, magnitude: float) -> None:
    high = float(binomtest(round(mean * rows), rows).proportion_ci(0.95, method="wilson").high)
    p = min(max(high, 1e-4), 1.0 - 2.0 * module.MIN_RISE)

    def excess(t: float) -> float:
        return p * math.exp(t * (1 - p - module.MIN_RISE)) + (1 - p) * math.exp(-t * (p + module.MIN_RISE)) - 1

    root = float(brentq(excess, 1e-6, (1.0 - math.log(p)) / (1.0 - p - module.MIN_RISE), xtol=1e-15))
    found = module._threshold(mean, rows, 10**magnitude)
    assert found == pytest.approx(math.log(2 * 10**magnitude) / root, rel=1e-12)
