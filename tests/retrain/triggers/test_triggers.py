"""When a retrain is asked for, and what holds it back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from monitor.spec.retraining import Cron, NewOutcomes, Retrain
from retrain.triggers import TRIGGERS, decide
from retrain.triggers.base import Labelled, ManualStart, TriggerInputs, TriggerReading, WindowReading
from retrain.triggers.schedule import next_tick

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALARM = WindowReading("w1", "500 rows", "alarm", "text changed", NOW, ("text",))
QUIET = WindowReading("w2", "500 rows", "ok", "no change", NOW)
LOW = TriggerReading("m1", "accuracy", 0.7, 0.85, alarm=True, n=400)
FINE = TriggerReading("m2", "accuracy", 0.9, 0.85, alarm=False, n=400)


def policy(*when: Any, **more: Any) -> Retrain:
    return Retrain(when=when, recipe={"base_model": "./base"}, **more)


def inputs(**more: Any) -> TriggerInputs:
    return TriggerInputs(now=NOW, considered_at=NOW - timedelta(hours=1), **{"labelled": Labelled(500, 500), **more})


EVERYTHING = policy("drift", "kpi", "fairness", NewOutcomes(new_outcomes=1000), Cron(cron="0 3 * * 0"))

FIRES = [
    ("drift", inputs(windows=(ALARM,)), True),
    ("drift", inputs(windows=(QUIET,)), False),
    ("drift", inputs(), False),
    ("drift", inputs(windows=(replace(ALARM, drifted=()),)), False),  # a KPI alarm alone is no drift
    ("kpi", inputs(kpis=(LOW,)), True),
    ("kpi", inputs(kpis=(FINE,)), False),
    ("kpi", inputs(kpis=(replace(LOW, limit=None),)), False),
    ("fairness", inputs(fairness=(replace(LOW, metric="demographic_parity_difference"),)), True),
    ("fairness", inputs(fairness=()), False),
    ("outcomes", inputs(labelled=Labelled(1000)), True),
    ("outcomes", inputs(labelled=Labelled(999)), False),
    ("schedule", replace(inputs(), considered_at=NOW - timedelta(days=2)), True),  # a Sunday lies between
    ("schedule", inputs(), False),
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


readings = st.builds(
    TriggerReading, id=st.just("m"), metric=st.just("accuracy"), value=st.none() | st.floats(0, 1), alarm=st.booleans(),
    limit=st.none() | st.floats(0, 1), n=st.integers(0, 1000),
)  # fmt: skip
situations = st.builds(
    TriggerInputs,
    now=st.just(NOW),
    considered_at=st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 2)).map(lambda at: at.replace(tzinfo=UTC)),
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
