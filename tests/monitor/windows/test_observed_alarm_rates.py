"""Alarms compared with their budget: intervals against scipy and published values, episodes and delays by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from monitor.windows.observed_alarm_rates import LABEL_SCALE, JudgedWindow, alarm_episodes, alarm_rates, detection_delay

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def days(signs: str, *, monitor: str = "drift", scale: str = "1d", alpha: float | None = 0.02) -> list[JudgedWindow]:
    """A judgement a day: `!` alarmed, `.` quiet, `?` not judged."""
    return [
        JudgedWindow(
            monitor, scale, START + n * DAY, START + (n + 1) * DAY, alarmed=sign == "!", alpha=alpha,
            reason="volume_changed" if sign == "?" else None, columns=("price",) if sign == "!" else (),
        )
        for n, sign in enumerate(signs)
    ]  # fmt: skip


def labels(alarms: int, judgements: int) -> list[JudgedWindow]:
    quiet = JudgedWindow("concept", LABEL_SCALE, START, START + 30 * DAY, alpha=0.001, count=judgements - alarms)
    end = START + 30 * DAY
    return [quiet, *[JudgedWindow("concept", LABEL_SCALE, end, end, alarmed=True, alpha=0.001)] * alarms]


@given(st.text("!.?", min_size=1, max_size=60))
def test_the_rate_of_windows_has_the_score_interval_of_scipy(signs: str) -> None:
    (found,) = alarm_rates(days(signs))
    judged = len(signs.replace("?", ""))
    assert (found.looks, found.alarms) == (judged, signs.count("!"))
    assert found.not_judged == ({"volume_changed": signs.count("?")} if "?" in signs else {})
    if not judged:
        assert {found.rate, found.low, found.high, found.per_30d, found.budget, found.judgement} == {None}
        return
    known = binomtest(signs.count("!"), judged).proportion_ci(0.95, method="wilson")
    assert found.low == pytest.approx(known.low, abs=1e-9)
    assert found.high == pytest.approx(known.high, abs=1e-9)
    assert found.per_30d == pytest.approx(30 * signs.count("!") / judged)
    assert found.budget_per_30d == pytest.approx(0.6)
    assert found.judgement == ("above" if known.low > 0.02 else "within")


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683)])
def test_the_rate_of_labels_has_the_exact_interval_of_a_poisson_mean(count: int, low: float, high: float) -> None:
    """Values of Pearson and Hartley (1966), table 40."""
    (found,) = alarm_rates(labels(count, 10_000))
    assert (found.looks, found.alarms, found.episodes) == (10_000, count, 1 if count else 0)
    assert found.low == pytest.approx(low / 10_000, abs=1e-8)
    assert found.high == pytest.approx(high / 10_000, abs=1e-8)
    assert found.budget_per_30d == pytest.approx(10.0)


def test_a_rule_without_a_false_alarm_rate_has_no_budget_and_no_judgement() -> None:
    (found,) = alarm_rates(days("!!!!.", alpha=None))
    assert {found.budget, found.budget_per_30d, found.judgement} == {None}
    assert found.per_30d == pytest.approx(24.0)


def test_an_episode_ends_with_a_quiet_window_and_not_with_one_that_was_not_judged() -> None:
    found = alarm_episodes([*days("!?!..!"), *days("..!...", monitor="quality")])
    assert [(e.monitor, (e.start - START).days, (e.end - START).days, e.alarms) for e in found] == [
        ("drift", 0, 3, 2), ("quality", 2, 3, 1), ("drift", 5, 6, 1),
    ]  # fmt: skip
    assert found[0].columns == ("price",)


def test_a_change_splits_false_alarms_from_the_delay_to_the_first_true_one() -> None:
    found = detection_delay(days("!...!..!!."), START + 5 * DAY)
    assert (found.before, found.windows_before) == (2, 5)
    assert (found.first_alarm, found.windows, found.days) == (START + 8 * DAY, 3, 3.0)
    inside = detection_delay(days(".....!"), START + 5.5 * DAY)
    assert (inside.before, inside.windows, inside.days) == (0, 1, 0.5)
    none = detection_delay(days("!...."), START + 2 * DAY)
    assert (none.before, none.first_alarm, none.windows, none.days) == (1, None, None, None)


def test_of_two_windows_that_end_together_the_shorter_is_first() -> None:
    week: dict[str, Any] = {"start": START, "end": START + 7 * DAY, "alarmed": True, "alpha": 0.1}
    found = detection_delay([JudgedWindow("drift", "7d", **week), *days("......!")], START + 6 * DAY)
    assert (found.scale, found.windows) == ("1d", 1)
