"""When a retrain is asked for, and what holds it back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from monitor.spec.retraining import Retrain
from monitor.spec.triggers import Cron, KpiBreach, NewClasses, NewOutcomes, NewRows
from retrain.triggers import TRIGGERS, decide
from retrain.triggers.base import (
    Labelled,
    ManualStart,
    NewClassesReading,
    ScheduleReading,
    TriggerInputs,
    TriggerReading,
    WholeReading,
    WindowReading,
)
from retrain.triggers.schedule import next_tick

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALARM = WindowReading("w1", "500 rows", "alarm", "text changed", NOW, {"text": 2.0})
QUIET = WindowReading("w2", "500 rows", "ok", "no change", NOW)
LOW = TriggerReading("m1", "accuracy", 0.7, 0.85, alarm=True, n=400)
FINE = TriggerReading("m2", "accuracy", 0.9, 0.85, alarm=False, n=400)


def policy(*when: Any, **more: Any) -> Retrain:
    return Retrain(when=when, recipe={"base_model": "./base"}, **more)


def inputs(**more: Any) -> TriggerInputs:
    return TriggerInputs(now=NOW, **{"labelled": Labelled(500, 500), **more})


def since(hours: float, cron: str = "0 3 * * 0", timezone: str = "UTC") -> ScheduleReading:
    return ScheduleReading(cron, timezone, NOW - timedelta(hours=hours), f"`{cron}` {timezone}")


EVERYTHING = policy(
    "drift",
    "kpi",
    "fairness",
    "whole",
    NewOutcomes(new_outcomes=1000),
    NewClasses(new_classes=NewRows()),
    Cron(cron="0 3 * * 0"),
)
TEACH = NewClassesReading(400, {"pin": 30, "visa": 10}, 0.01, old_rows=999)

FIRES = [
    ("drift", inputs(windows=(ALARM,)), True),
    ("drift", inputs(windows=(QUIET,)), False),
    ("drift", inputs(), False),
    ("drift", inputs(windows=(replace(ALARM, drifted={}),)), False),  # a KPI alarm alone is no drift
    ("kpi", inputs(kpis=(LOW,)), True),
    ("kpi", inputs(kpis=(FINE,)), False),
    ("kpi", inputs(kpis=(replace(LOW, limit=None),)), False),
    ("fairness", inputs(fairness=(replace(LOW, metric="demographic_parity_difference"),)), True),
    ("fairness", inputs(fairness=()), False),
    ("outcomes", inputs(labelled=Labelled(1000)), True),
    ("outcomes", inputs(labelled=Labelled(999)), False),
    ("schedule", inputs(schedules=(since(48),)), True),  # a Sunday lies between
    ("schedule", inputs(schedules=(since(1),)), False),
    ("new_classes", inputs(new_classes=TEACH), True),
    ("new_classes", inputs(new_classes=replace(TEACH, unknown={"pin": 19})), False),
    ("new_classes", inputs(new_classes=replace(TEACH, expected=0.09)), False),  # 36 of 400 are what chance gives
    ("new_classes", inputs(new_classes=replace(TEACH, expected=None, reason="no outcome has arrived")), False),
    ("new_classes", inputs(windows=(replace(ALARM, novel=("text",)),)), True),
    ("new_classes", inputs(windows=(ALARM,)), False),
    ("whole", inputs(whole=WholeReading("desk", "billing", ((LOW, ("billing",)),))), True),
    ("whole", inputs(whole=WholeReading("desk", "billing", ((LOW, ("delivery",)),))), False),
    ("whole", inputs(), False),
    ("manual", inputs(manual=ManualStart("ann", "new intents")), True),
    ("manual", inputs(), False),
]


@pytest.mark.parametrize(("name", "given_inputs", "fires"), FIRES)
def test_a_trigger_fires_exactly_when_it_should_and_says_why(
    name: str, given_inputs: TriggerInputs, fires: bool
) -> None:
    found = TRIGGERS[name].find(given_inputs, EVERYTHING)
    assert (found.name, found.fire) == (name, fires)
    assert found.reason


def test_every_trigger_has_a_row_in_this_table_that_fires_and_one_that_does_not() -> None:
    assert {(name, fires) for name, _, fires in FIRES} == {(name, f) for name in TRIGGERS for f in (True, False)}


def test_a_trigger_that_the_policy_does_not_name_is_not_looked_at() -> None:
    found = decide(inputs(windows=(ALARM,), kpis=(LOW,)), policy("kpi"))
    assert [f.name for f in found.findings] == ["kpi"]
    assert found.fire


BLOCKS = [
    ("run_in_progress", inputs(windows=(ALARM,), open_run="r1"), "r1"),
    ("cooldown", inputs(windows=(ALARM,), last_run_at=NOW - timedelta(hours=23)), "24h"),
    ("min_outcomes", inputs(windows=(ALARM,), labelled=Labelled(199, 199)), "199 labelled"),
    ("min_outcomes", inputs(windows=(ALARM,), labelled=Labelled(5000, 12)), "12 labelled events since the alarm"),
    ("envelope", inputs(windows=(ALARM,), outside_envelope=("base_model x is not allowed",)), "base_model x"),
    ("allowed_hours", inputs(windows=(ALARM,), closed="runs may start 22:00-06:00 UTC; the next time is"), "22:00"),
    ("budget", inputs(windows=(ALARM,), over_budget=("3 runs today, 3 allowed",)), "3 runs today"),
    ("resources", inputs(windows=(ALARM,), lacking=("memory: a run needs 40 GiB, and 12 GiB are free",)), "40 GiB"),
]


@pytest.mark.parametrize(("name", "given_inputs", "words"), BLOCKS)
def test_a_blocker_holds_a_firing_trigger_back_by_name_and_with_numbers(
    name: str, given_inputs: TriggerInputs, words: str
) -> None:
    found = decide(given_inputs, policy("drift"))
    assert not found.fire
    assert [b.name for b in found.blocked_by] == [name]
    assert words in found.blocked_by[0].reason
    assert words in found.reason


def test_drift_without_labels_waits_and_fires_once_the_labels_are_there() -> None:
    waiting = decide(inputs(windows=(ALARM,), labelled=Labelled(900, 150)), policy("drift"))
    ready = decide(inputs(windows=(ALARM,), labelled=Labelled(950, 200)), policy("drift"))
    assert (waiting.fire, ready.fire) == (False, True)
    assert "150 labelled events since the alarm began, 200 needed" in waiting.reason


def test_labels_from_before_the_alarm_are_enough_for_a_run_that_was_not_asked_for_by_the_alarm() -> None:
    both = decide(inputs(windows=(ALARM,), labelled=Labelled(1000, 0)), policy("drift", NewOutcomes(new_outcomes=1000)))
    assert both.fire


def test_a_person_need_not_wait_for_the_cooldown_but_for_everything_else() -> None:
    manual = ManualStart("ann", "new intents")
    assert decide(inputs(manual=manual, last_run_at=NOW), policy("drift")).fire
    assert not decide(inputs(manual=manual, open_run="r1"), policy("drift")).fire
    assert not decide(inputs(manual=manual, labelled=Labelled(3)), policy("drift")).fire


def test_the_cooldown_ends_exactly_after_its_span() -> None:
    assert decide(inputs(windows=(ALARM,), last_run_at=NOW - timedelta(hours=24)), policy("drift")).fire


def test_what_a_run_was_started_for_starts_no_other_until_it_clears_or_gets_worse_by_a_step() -> None:
    first = decide(inputs(kpis=(LOW,)), policy("kpi"))  # 0.15 below its limit
    assert first.fire
    assert {key: one.size for key, one in first.held["kpi"].items()} == {"accuracy": pytest.approx(0.15)}
    for value, fires in ((0.7, False), (0.64, False), (0.62, True), (0.8, False)):
        again = decide(inputs(kpis=(replace(LOW, value=value),), held=first.held), policy("kpi"))
        assert again.fire is fires, value
    assert "a run was started for this on 2026-03-02 12:00 UTC" in again.findings[0].reason
    assert "once it has cleared or is 50% further beyond its limit" in again.findings[0].reason
    cleared = decide(inputs(kpis=(FINE,), held=again.held), policy("kpi"))
    assert cleared.held == {}
    assert decide(inputs(kpis=(LOW,), held=cleared.held), policy("kpi")).fire


def test_a_window_that_could_not_be_judged_clears_nothing_and_a_new_reference_clears_all() -> None:
    first = decide(inputs(windows=(ALARM,), kpis=(LOW,)), policy("drift", "kpi"))
    unknown = (
        replace(QUIET, verdict="unknown"),
        replace(LOW, alarm=False, not_judged="n = 3 is below the minimum of 30"),
    )
    still = decide(inputs(windows=unknown[:1], kpis=unknown[1:], held=first.held), policy("drift", "kpi"))
    assert still.held == first.held
    assert not decide(inputs(windows=(ALARM,), kpis=(LOW,), held=still.held), policy("drift", "kpi")).fire
    assert decide(inputs(held=first.held), policy("drift", "kpi")).held == {}


def test_another_column_that_drifts_is_no_longer_what_the_run_was_started_for() -> None:
    held = decide(inputs(windows=(ALARM,)), policy("drift")).held
    longer = replace(ALARM, scale="7d", drifted={"text": 2.5})
    assert not decide(inputs(windows=(ALARM, longer), held=held), policy("drift")).fire
    assert decide(
        inputs(windows=(replace(ALARM, drifted={"text": 2.0, "channel": 1.1}),), held=held), policy("drift")
    ).fire
    assert decide(inputs(windows=(replace(ALARM, drifted={"text": 3.0}),), held=held), policy("drift")).fire


def test_a_decision_that_is_blocked_holds_nothing_so_it_fires_once_the_blocker_is_gone() -> None:
    waiting = decide(inputs(windows=(ALARM,), labelled=Labelled(3, 3)), policy("drift"))
    assert waiting.held == {}
    assert decide(inputs(windows=(ALARM,), held=waiting.held), policy("drift")).fire


ESTIMATE = TriggerReading("m3", "accuracy", 0.7, 0.85, alarm=True, n=400, low=0.66, high=0.74, estimated=True)


@pytest.mark.parametrize(
    ("named", "reading", "fires"),
    [
        ("kpi", ESTIMATE, True), ("kpi", LOW, True),
        (KpiBreach(kpi="estimated"), ESTIMATE, True), (KpiBreach(kpi="estimated"), LOW, False),
        (KpiBreach(kpi="realised"), ESTIMATE, False), (KpiBreach(kpi="realised"), LOW, True),
    ],
)  # fmt: skip
def test_a_kpi_counts_realised_or_estimated_as_the_policy_says(
    named: Any, reading: TriggerReading, fires: bool
) -> None:
    assert decide(inputs(kpis=(reading,)), policy(named)).fire is fires


def test_an_estimate_says_its_band_and_is_the_same_condition_as_the_value_that_confirms_it() -> None:
    found = decide(inputs(kpis=(ESTIMATE,)), policy("kpi"))
    assert "accuracy is estimated at 0.7 (0.66-0.74), limit 0.85, 400 rows" in found.reason
    assert not decide(inputs(kpis=(ESTIMATE, LOW), held=found.held), policy("kpi")).fire


def test_new_classes_are_named_with_what_was_to_be_expected_and_become_the_focus_of_the_run() -> None:
    found = decide(inputs(new_classes=TEACH), EVERYTHING)
    [finding] = [f for f in found.findings if f.name == "new_classes"]
    words = "40 of 400 labelled rows of the last 7d are of classes that the champion does not know: pin (30), visa (10)"
    assert words in finding.reason
    assert "4.0 were to be expected, p = " in finding.reason
    assert finding.recorded["focus"] == {"classes": ["pin", "visa"]}


def test_a_schedule_outside_the_allowed_hours_is_kept_until_they_begin() -> None:
    cron = policy(Cron(cron="0 3 * * 0"))
    closed = decide(inputs(schedules=(since(48),), closed="runs may start 22:00-06:00 UTC"), cron)
    assert closed.ticks == {}
    assert decide(inputs(schedules=(since(48),)), cron).ticks == {"`0 3 * * 0` UTC": "2026-03-01T03:00:00+00:00"}


def test_ticks_that_nobody_looked_at_fire_once_and_are_counted() -> None:
    hourly = policy(Cron(cron="0 * * * *"))
    found = decide(inputs(schedules=(since(5.5, "0 * * * *"),)), hourly)
    assert "fell due at 2026-03-02T12:00:00+00:00, for the 6th time since 2026-03-02T07:00:00+00:00" in found.reason
    assert "one run makes up for all of them" in found.reason
    late = decide(inputs(schedules=(since(48),)), policy(Cron(cron="0 3 * * 0")))
    assert "fell due at 2026-03-01T03:00:00+00:00 and is considered 33.0 h late" in late.reason


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("cron", "zone", "day", "ticks"),
    [
        ("30 2 * * *", BERLIN, (2026, 10, 25), ["00:30"]),  # 02:30 is shown twice; the first time counts
        ("30 2 * * *", BERLIN, (2026, 3, 29), ["01:00"]),  # 02:30 is not shown; the first minute after the gap
        ("0 2,3 * * *", BERLIN, (2026, 3, 29), ["01:00"]),  # and so two times may be one
        ("0 3 * * *", BERLIN, (2026, 7, 1), ["01:00"]), ("0 3 * * *", BERLIN, (2026, 1, 1), ["02:00"]),
        ("*/30 1-3 * * *", BERLIN, (2026, 3, 29), ["00:00", "00:30", "01:00", "01:30"]),
        ("30 1 * * *", NEW_YORK, (2026, 11, 1), ["05:30"]), ("30 2 * * *", NEW_YORK, (2026, 3, 8), ["07:00"]),
        ("45 1 * * *", LORD_HOWE, (2026, 4, 5), ["14:45"]), ("15 2 * * *", LORD_HOWE, (2026, 10, 4), ["15:30"]),
    ],
)  # fmt: skip
def test_a_time_of_day_comes_once_however_the_clocks_change(
    cron: str, zone: str, day: tuple[int, int, int], ticks: list[str]
) -> None:
    at = datetime(*day, tzinfo=ZoneInfo(zone)) - timedelta(minutes=1)
    end = datetime(*day, 23, 59, tzinfo=ZoneInfo(zone))
    found = []
    while (tick := next_tick(cron, at, zone)) is not None and tick <= end:
        found.append(f"{tick:%H:%M}")
        at = tick
    assert found == ticks


@given(st.integers(0, 3 * 365 * 24 * 60), st.sampled_from(["30 2 * * *", "0 3 * * 0", "15 1,14 1 * *"]))
def test_a_tick_lies_after_the_time_and_none_between(minutes: int, cron: str) -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    tick = next_tick(cron, after, BERLIN)
    assert tick is not None
    assert tick > after
    assert next_tick(cron, tick - timedelta(seconds=1), BERLIN) == tick
    assert next_tick(cron, after + (tick - after) / 2, BERLIN) == tick


def test_a_zone_that_is_not_installed_here_is_told_with_the_nearest_name() -> None:
    with pytest.raises(InvalidError, match="did you mean Europe/Berlin"):
        next_tick("0 3 * * 0", NOW, "Europe/Berln")


readings = st.builds(
    TriggerReading, id=st.just("m"), metric=st.just("accuracy"), value=st.none() | st.floats(0, 1), alarm=st.booleans(),
    limit=st.none() | st.floats(0, 1), n=st.integers(0, 1000),
)  # fmt: skip
situations = st.builds(
    TriggerInputs,
    now=st.just(NOW),
    schedules=st.floats(0, 1500).map(lambda hours: (since(hours),)),
    windows=st.lists(st.sampled_from([ALARM, QUIET]), max_size=2).map(tuple),
    kpis=st.lists(readings, max_size=2).map(tuple),
    fairness=st.lists(readings, max_size=2).map(tuple),
    labelled=st.builds(Labelled, st.integers(0, 2000), st.none() | st.integers(0, 2000)),
    last_run_at=st.none() | st.just(NOW - timedelta(hours=1)),
    open_run=st.none() | st.just("r1"),
    manual=st.none() | st.just(ManualStart("ann", "why not")),
    outside_envelope=st.sampled_from([(), ("too much",)]),
)


@given(situations)
def test_every_decision_carries_reasons_and_fires_only_with_a_trigger_and_without_a_blocker(
    situation: TriggerInputs,
) -> None:
    found = decide(situation, EVERYTHING)
    assert found.reason
    assert all(f.reason for f in found.findings)
    assert all(b.reason for b in found.blocked_by)
    assert found.fire == (any(f.fire for f in found.findings) and not found.blocked_by)
    assert [f.name for f in found.findings] == [n for n in TRIGGERS if n != "manual" or situation.manual]


@pytest.mark.parametrize(
    ("cron", "after", "tick"),
    [
        ("0 3 * * 0", datetime(2026, 3, 2), datetime(2026, 3, 8, 3)),  # cron's day 0 is Sunday
        ("0 3 * * 7", datetime(2026, 3, 2), datetime(2026, 3, 8, 3)),
        ("0 3 * * 1-5", datetime(2026, 3, 7), datetime(2026, 3, 9, 3)),
        ("0 3 * * sun", datetime(2026, 3, 2), datetime(2026, 3, 8, 3)),
        ("*/15 * * * *", datetime(2026, 3, 2, 3, 15), datetime(2026, 3, 2, 3, 30)),
        ("0 0 13 * 5", datetime(2026, 3, 2), datetime(2026, 3, 6)),  # either day field, once both are restricted
        ("0 0 29 2 *", datetime(2026, 3, 2), datetime(2028, 2, 29)),
    ],
)
def test_a_cron_expression_falls_due_as_crontab_says(cron: str, after: datetime, tick: datetime) -> None:
    assert next_tick(cron, after.replace(tzinfo=UTC)) == tick.replace(tzinfo=UTC)


def test_a_cron_expression_that_cannot_be_read_is_refused_with_its_text() -> None:
    with pytest.raises(InvalidError, match="61"):
        next_tick("61 3 * * *", NOW)
