"""Rows that arrive after the verdict: verdict, numbers and alerts are computed again, and a record says so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from core.clock import ManualClock
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Alert, Measurement, Window
from monitor.windows.evaluate import evaluate
from monitor.windows.late_rows import CORRECTION_INTERVAL
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, document, events_body, outcomes_body, rows, spec

pytestmark = SQLITE_FIRST
EVERY = timedelta(minutes=6)  # 240 rows a day
DAY = timedelta(days=1)
KPI = [{"metric": "accuracy", "min": 0.8}]


def declare(site: Site, **monitors: Any) -> None:
    watched = document()["monitors"] | {"windows": ["1d"], "false_alarms": {"alpha": 0.12}, "kpi": KPI, "fairness": []}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(monitors=watched | monitors, baseline={"rows": "first 2400"}), "tester")


def send(site: Site, clock: ManualClock, frame: pl.DataFrame, *, outcomes: bool = True) -> list[UUID]:
    newest = datetime.fromisoformat(frame["ts"].max()) + timedelta(minutes=2)  # type: ignore[arg-type]  # a text
    clock.move_to(max(clock.now(), newest))
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == frame.height
    if outcomes:
        receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    return evaluate(site, "loans")


def day(number: int, count: int = 240, **how: Any) -> pl.DataFrame:
    """Rows of one day, with ids of their own."""
    return rows(count, start=number * 240, every=EVERY, **how)


def late_rows(number: int, count: int, name: str, **how: Any) -> pl.DataFrame:
    frame = rows(count, start=number * 240, every=timedelta(seconds=86_000 // count), **how)
    begin = BEGIN + number * DAY
    times = [(begin + timedelta(seconds=i * (86_000 // count))).isoformat() for i in range(count)]
    return frame.with_columns(pl.concat_str(pl.lit(name), "event_id").alias("event_id"), pl.Series("ts", times))


def windows(site: Site) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, "loans").id)


def window_of(site: Site, number: int) -> Window:
    return next(w for w in windows(site) if w.from_ts == BEGIN + number * DAY)


def measured(site: Site, window: Window) -> dict[tuple[str, str], Measurement]:
    with site.database.read() as db:
        found = store.window_measurements(db, window.id)
    return {(m.metric, m.column): m for m in found if not m.segment}


def alerts_of(site: Site, monitor: str) -> list[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == monitor]


def entries(site: Site, kind: str) -> list[dict[str, Any]]:
    with site.database.read() as db:
        return [e["body"] for e in ledger_entries(db, (kind,), subject="model:loans")]


def quiet_days(site: Site, clock: ManualClock, last: int) -> None:
    declare(site)
    send(site, clock, rows(240 * last, every=EVERY))


def test_late_rows_correct_the_verdict_its_numbers_and_its_kpis_and_the_earlier_verdict_stays(
    site: Site, clock: ManualClock
) -> None:
    quiet_days(site, clock, 15)
    before = window_of(site, 12)
    known = measured(site, before)
    assert before.verdict == "ok"
    added = late_rows(12, 120, "late-", shift=3.0, right=0.3)
    assert send(site, clock, added) == [before.id]
    after = window_of(site, 12)
    assert (after.verdict, after.rows, after.corrections) == ("alarm", 360, 1)
    assert after.decision["n_window"] == 360
    (said,) = after.history
    assert (said["verdict"], said["rows"], said["sentence"]) == ("ok", 240, before.sentence)
    assert said["why"] == "120 rows arrived late"
    assert after.corrected_at == clock.now()
    numbers = measured(site, after)
    p = numbers["p_value", ""]
    assert (p.previous_value, p.previous_n, p.details["corrected_by"]) == (known["p_value", ""].value, 240, "late rows")
    assert p.value == after.decision["p"]
    accuracy = numbers["accuracy", ""]
    assert accuracy.n == 360
    assert known["accuracy", ""].value is not None
    assert accuracy.value == pytest.approx((known["accuracy", ""].value * 240 + right(added)) / 360)
    assert (accuracy.previous_value, accuracy.details["corrected_by"]) == (known["accuracy", ""].value, "late rows")
    (entry,) = entries(site, "window.corrected")
    assert entry["window"] == str(after.id)
    assert (entry["before"]["verdict"], entry["after"]["verdict"]) == ("ok", "alarm")
    assert "sentence" not in entry["before"]


def right(frame: pl.DataFrame) -> int:
    return int((frame["decision"] == frame["truth"]).sum())


def test_a_window_that_starts_to_alarm_opens_an_alert_and_one_that_stops_keeps_it_as_withdrawn(
    site: Site, clock: ManualClock
) -> None:
    quiet_days(site, clock, 13)
    send(site, clock, day(13, 40, right=0.2))  # only a few rows came in time, most of them wrong
    send(site, clock, day(14))
    (opened,) = alerts_of(site, "kpi")
    assert opened.windows == 1
    clock.move_to(clock.now() + timedelta(hours=1))
    send(site, clock, late_rows(13, 400, "late-", right=0.95))
    (alert,) = alerts_of(site, "kpi")
    assert (alert.id, alert.state, alert.windows) == (opened.id, "open", 0)
    assert (alert.withdrawn_windows, alert.withdrawn_at) == (1, clock.now())
    assert [e["withdrawn"] for e in alert.episodes] == [True]
    (entry,) = [e for e in entries(site, "alert.withdrawn") if e["alert"] == str(alert.id)]
    assert (entry["window"], entry["reason"]) == (str(window_of(site, 13).id), "late rows")
    assert measured(site, window_of(site, 13))["accuracy", ""].alarm is False


def test_only_the_windows_that_were_touched_are_judged_again_and_a_trickle_waits_its_turn(
    site: Site, clock: ManualClock
) -> None:
    quiet_days(site, clock, 15)
    one, two = window_of(site, 11), window_of(site, 12)
    assert send(site, clock, late_rows(11, 5, "a-")) == [one.id]
    for minute in range(4):
        clock.move_to(clock.now() + timedelta(minutes=1))
        assert send(site, clock, late_rows(11, 1, f"b{minute}-")) == []
    assert window_of(site, 11).rows == 245
    clock.move_to(clock.now() + CORRECTION_INTERVAL)
    assert send(site, clock, late_rows(12, 1, "c-")) == [one.id, two.id]
    assert (window_of(site, 11).rows, window_of(site, 11).corrections) == (249, 2)
    assert window_of(site, 11).history[-1]["why"] == "4 rows arrived late"
    assert evaluate(site, "loans") == []
    assert len(entries(site, "window.corrected")) == 3


def test_late_rows_that_change_nothing_but_the_number_of_rows_are_recorded_too(site: Site, clock: ManualClock) -> None:
    quiet_days(site, clock, 15)
    send(site, clock, late_rows(12, 1, "late-"))
    found = window_of(site, 12)
    assert (found.verdict, found.rows, found.history[0]["rows"]) == ("ok", 241, 240)


def test_a_corrected_window_is_judged_by_the_spec_it_was_judged_by_before(site: Site, clock: ManualClock) -> None:
    quiet_days(site, clock, 15)
    declare(site, kpi=[{"metric": "accuracy", "min": 0.99}])
    send(site, clock, late_rows(12, 30, "late-"), outcomes=False)
    found = window_of(site, 12)
    assert (found.spec_revision, found.rows) == (1, 270)
    assert measured(site, found)["accuracy", ""].limit == 0.8


def test_a_day_without_a_row_is_judged_when_its_rows_arrive(site: Site, clock: ManualClock) -> None:
    quiet_days(site, clock, 13)
    send(site, clock, day(14))
    send(site, clock, day(15))
    empty = window_of(site, 13)
    assert (empty.rows, empty.decision["verdict"]) == (0, "not_enough_data")
    assert empty.decision["reason"] == "the window has no rows"
    assert [a.windows for a in alerts_of(site, "volume")] == [1]
    send(site, clock, day(13))
    filled = window_of(site, 13)
    assert (filled.rows, filled.decision["judged"]) == (240, True)
    assert filled.history[0]["rows"] == 0
    assert not measured(site, filled)["volume", ""].alarm
    assert alerts_of(site, "volume")[0].windows == 0


def test_a_window_whose_rows_were_deleted_keeps_its_verdict_and_says_why(site: Site, clock: ManualClock) -> None:
    watched = document()["monitors"] | {"windows": ["1d"], "false_alarms": {"alpha": 0.2}, "kpi": [], "fairness": []}
    declared = spec(monitors=watched, baseline={"rows": "first 2400"}, retention="5d")
    with site.database.write() as db:
        service.apply_spec(site, db, declared, "tester")
    send(site, clock, rows(240 * 20, every=EVERY))
    assert send(site, clock, late_rows(12, 3, "late-")) == []
    found = window_of(site, 12)
    assert (found.rows, found.corrections) == (240, 0)
    assert "retention had deleted rows of this window" in found.history[0]["why"]
    assert entries(site, "window.not_corrected")[0]["rows"] == 3
    assert evaluate(site, "loans") == []


def test_windows_of_rows_have_no_late_rows(site: Site, clock: ManualClock) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "tester")
    send(site, clock, rows(1500))
    send(site, clock, late_rows(0, 250, "late-"))
    assert [w.corrections for w in windows(site)] == [0] * 7
