"""Windows of few rows, changed specs, clocks that jump and rows that come late, from request to answer."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from core.clock import ManualClock
from monitor.site import Site
from monitor.windows.close import CLOSE_AFTER_QUIET
from monitor.windows.late_rows import CORRECTION_INTERVAL
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, rows
from tests.monitor.windows.untidy import DAYS, EVERY, World, days, open_world

pytestmark = SQLITE_FIRST


@pytest.fixture
def world(site: Site, clock: ManualClock) -> World:
    return open_world(site, clock)


@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_few_rows_in_a_window_say_that_they_are_few(world: World, count: int) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 14))
    world.send(rows(count, start=14 * 240, every=EVERY))
    world.send(days(15, 17))
    few = next(w for w in world.get("windows") if w["rows"] == count)
    measured = world.measured(few)
    assert few["decision"]["p"] is None
    assert measured["drift", "p_value", ""]["reason"] == few["decision"]["reason"]
    assert measured["quality", "missing", "amount"]["details"]["not_tested"] == "fewer than 200 rows that count"
    assert few["decision"]["verdict"] == "volume_changed"
    assert measured["volume", "volume", ""]["alarm"]
    world.sound()


@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_model_that_got_a_few_rows_in_all_is_not_judged_and_says_why(world: World, count: int) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 100"})
    world.send(rows(count, every=EVERY))
    world.clock.move_to(world.clock.now() + timedelta(days=2))
    world.evaluate()
    (window,) = world.get("windows")
    assert (window["rows"], window["verdict"]) == (count, "unknown")
    measured = world.measured()
    assert "reference" in measured["drift", "p_value", ""]["reason"]
    assert "reference" in measured["drift", "mmd", ""]["reason"]
    world.sound()


def test_a_window_across_a_schema_change_begins_anew_and_counts_the_rows_that_fill_no_window(world: World) -> None:
    world.declare()
    world.send(rows(1600))
    world.clock.move_to(world.clock.now() + timedelta(minutes=1))
    world.declare(columns=world.base["columns"] | {"channel": {"role": "segment", "type": "category"}})
    world.send(rows(1500, start=1600).with_columns(pl.lit("web").alias("channel")))
    first = next(w for w in world.get("windows") if w["spec_revision"] == 2)
    assert first["number"] == 0
    assert first["decision"]["left_over"] == 100
    assert "100 earlier rows are in no window of this length" in first["sentence"]
    assert "spec revision 2 changed columns" in first["sentence"]
    assert world.newest()["verdict"] == "ok"
    world.sound()


def test_a_change_of_columns_in_the_middle_of_a_day_counts_the_rows_of_the_morning(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 12))
    world.send(days(12, 13)[:100])
    world.declare(columns=world.base["columns"] | {"channel": {"role": "segment", "type": "category"}})
    world.send(days(12, 13)[100:].with_columns(pl.lit("web").alias("channel")))
    world.send(days(13, 26).with_columns(pl.lit("web").alias("channel")))
    first = next(w for w in world.get("windows") if w["spec_revision"] == 2)
    assert (first["rows"], first["decision"]["left_over"]) == (140, 100)
    world.sound()


def test_a_change_of_limits_in_the_middle_of_a_window_holds_from_that_window_on(world: World) -> None:
    world.declare()
    world.send(rows(1400))
    strict = world.base["monitors"] | {"kpi": [{"metric": "accuracy", "min": 0.99}]}
    world.declare(monitors=strict)
    world.send(rows(350, start=1400))
    revisions = [w["spec_revision"] for w in world.get("windows")]
    assert revisions == [1, 1, 1, 1, 1, 2, 2]
    assert world.measured()["kpi", "accuracy", ""]["limit"] == 0.99
    world.sound()


def test_events_from_clocks_that_jump_are_refused_or_put_where_their_time_says(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 13))
    ahead = rows(3, start=90_000).with_columns(
        pl.lit((world.clock.now() + timedelta(days=400)).isoformat()).alias("ts")
    )
    found = world.post(ahead.drop("truth").write_ndjson().encode())
    assert {r["field"] for r in found["rejected"]} == {"ts"}
    soon = rows(3, start=91_000).with_columns(pl.lit((world.clock.now() + timedelta(hours=20)).isoformat()).alias("ts"))
    before = len(world.get("windows"))
    assert world.post(soon.drop("truth").write_ndjson().encode())["accepted"] == 3
    world.evaluate()
    assert len(world.get("windows")) == before  # a day does not end because a row says it is over
    past = rows(3, start=92_000).with_columns(pl.lit((BEGIN - timedelta(days=900)).isoformat()).alias("ts"))
    assert world.post(past.drop("truth").write_ndjson().encode())["accepted"] == 3
    world.send(days(13, 15))
    assert world.newest()["decision"]["judged"]
    world.sound()


def test_a_server_clock_that_jumps_back_or_ahead_closes_no_window_twice(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 13))
    before = [(w["id"], w["verdict"]) for w in world.get("windows")]
    world.evaluate(replace(world.site, clock=ManualClock(world.clock.now() - timedelta(days=5))))
    assert [(w["id"], w["verdict"]) for w in world.get("windows")] == before
    world.evaluate(replace(world.site, clock=ManualClock(world.clock.now() + timedelta(days=30))))
    ends = [w["to_ts"] for w in world.get("windows")]
    assert len(ends) == len(set(ends)) == len(before) + 1
    world.send(days(13, 15))
    assert world.newest()["decision"]["judged"]
    world.sound()


def test_days_that_arrive_in_another_order_are_windows_of_their_own_day(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.clock.move_to(BEGIN + timedelta(days=13))
    order = [1, 0, 2, 5, 4, 3, 6, 7, 9, 8, 10, 12, 11]
    for day in order:
        assert world.post(days(day, day + 1).drop("truth").write_ndjson().encode())["accepted"] == 240
        if day in (1, 0):
            continue
        world.evaluate()
    world.clock.move_to(BEGIN + timedelta(days=14))
    world.evaluate()
    found = [(w["from_ts"][:10], w["rows"]) for w in world.get("windows")]
    assert found == [((BEGIN + timedelta(days=d)).date().isoformat(), 240) for d in range(13)]
    world.sound()


def test_a_day_that_comes_before_the_first_one_counts_while_no_window_has_closed(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    for day in (1, 0):
        assert world.post(days(day, day + 1)[:60].drop("truth").write_ndjson().encode())["accepted"] == 60
        world.evaluate()
    world.clock.move_to(world.clock.now() + CLOSE_AFTER_QUIET)
    world.evaluate()
    assert [(w["from_ts"][:10], w["rows"]) for w in world.get("windows")] == [("2026-01-01", 60), ("2026-01-02", 60)]
    world.sound()


def test_late_rows_correct_the_answer_and_the_page_shows_the_earlier_verdict(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 14))
    world.clock.move_to(world.clock.now() + CORRECTION_INTERVAL)
    late = days(12, 13, shift=4.0, right=0.2).with_columns(("late-" + pl.col("event_id")).alias("event_id"))
    world.send(late)
    found = next(w for w in world.get("windows") if w["corrections"])
    assert (found["rows"], found["verdict"], found["history"][0]["rows"]) == (480, "alarm", 240)
    assert found["history"][0]["why"] == "240 rows arrived late"
    page = world.client.get(f"/windows/{found['id']}").text
    assert "Earlier verdicts" in page
    assert "240 rows arrived late" in page
    accuracy = world.measured(found)["kpi", "accuracy", ""]
    assert accuracy["previous_n"] == 240
    assert "by late rows, before" in page
    world.sound()


def test_a_reference_that_is_too_short_says_how_many_blocks_are_missing(world: World) -> None:
    monitors = world.base["monitors"] | {"windows": ["1d", "7d"], "false_alarms": "1 per 30d"}
    world.declare(monitors=monitors, baseline={"rows": "first 480"})
    world.send(days(0, 9))
    judged = [w for w in world.get("windows") if w["decision"]["verdict"] == "reference_too_short"]
    assert judged
    for window in judged:
        assert "more reference blocks" in window["decision"]["reason"]
        assert window["verdict"] == "unknown"
        assert world.measured(window)["drift", "p_value", ""]["reason"] == window["decision"]["reason"]
        assert world.measured(window)["drift", "ks", "amount"]["value"] is not None
    world.sound()


def test_pages_and_answers_show_what_a_later_spec_says_and_what_moved_within_the_reference(world: World) -> None:
    world.declare(baseline={"rows": "first 1100"}, monitors=world.base["monitors"] | {"fairness": []})
    frame = rows(1700).with_columns(region=pl.when(pl.int_range(1700) < 600).then(pl.lit("west")).otherwise("region"))
    world.send(frame)
    answer = world.client.put("/api/v1/models/loans", json=world.base | {
        "monitors": world.base["monitors"] | {"kpi": [{"metric": "accuracy", "min": 0.99}]},
    })  # fmt: skip
    assert answer.json()["judged_again"] == 6
    world.evaluate()
    newest = world.newest()
    assert newest["spec_revision"] == 1
    (later,) = newest["later"]
    assert (later["spec_revision"], later["verdict"], newest["verdict"] == "alarm") == (2, "alarm", False)
    reference = world.client.get("/api/v1/models/loans").json()["reference"]
    assert {n["kind"] for n in reference["notices"]} == {"moved", "rows_in_no_window"}
    assert (reference["rows_in_no_window"], reference["rows_waiting"]) == (100, 100)
    windows = world.client.get("/models/loans/windows").text
    assert "revision 2: alarm" in windows
    assert "6 of these windows were judged again" in windows
    assert "moved within the reference itself" in world.client.get("/models/loans/reference").text
    assert "Under later spec revisions" in world.client.get(f"/windows/{newest['id']}").text
