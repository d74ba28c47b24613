"""Silence in the service: announced once, over when rows arrive again, and never announced for a usual pause."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.processes.scheduler import tick
from core.clock import ManualClock
from core.jobs import EvaluateJob
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from governance.tables import LedgerEntry
from monitor import service, store
from monitor.events.store import EventStore
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.jobs import evaluate
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert
from monitor.windows import silence
from monitor.windows.silence import Outlook, outlook
from reports.facts.gather import gather
from reports.tables import Report
from tests.conftest import START
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, rows

pytestmark = SQLITE_FIRST

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def declare(site: Site, *, reference: int = 1000) -> None:
    monitors = {"windows": {"rows": 5000}, "false_alarms": {"alpha": 0.01}}
    with site.database.write() as db:
        spec = parse_spec(document(monitors=monitors, baseline={"rows": f"first {reference}"}))
        service.apply_spec(site, db, spec, "tester")


def send(site: Site, times: list[datetime], *, at_once: bool = False) -> None:
    """Rows of these times; received as they happened, which moves the clock, or all now."""
    assert isinstance(site.clock, ManualClock)
    if not at_once:
        site.clock.move_to(times[-1])
    start = site.events.extent("loans").next_seq
    frame = rows(len(times), start=start).with_columns(ts=pl.Series([t.isoformat() for t in times]))
    arrived = None if at_once else pl.Series("arrived", times)
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON), arrived=arrived).accepted == len(times)


def every(step: timedelta, days: int, keep: Callable[[datetime], bool] = lambda _: True) -> list[datetime]:
    return [t for i in range(int(days * DAY / step)) if keep(t := START + i * step)]


def at_work(time: datetime) -> bool:
    return time.weekday() < 5 and 9 <= time.hour < 18


def look(site: Site, clock: ManualClock, until: datetime, step: timedelta = 10 * MINUTE) -> list[datetime]:
    """Evaluate as the scheduler does up to a time; returns when a silence was announced."""
    told = []
    while clock.now() < until:
        clock.move_to(min(until, clock.now() + step))
        before = len(silences(site))
        evaluate(site, EvaluateJob(model="loans"))
        told += [clock.now()] * (len(silences(site)) - before)
    return told


def silences(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == "silence"]


def entries(site: Site) -> list[str]:
    with site.database.read() as db:
        kinds = [json.loads(e)["kind"] for e in db.scalars(select(LedgerEntry.entry).order_by(LedgerEntry.index))]
    return [kind for kind in kinds if kind.startswith("alert.")]


def now(site: Site) -> Outlook:
    with site.database.read() as db:
        current = service.current_spec(site, db, "loans")
        row = store.newest_reference(db, current.model.id)
    assert row is not None
    return outlook(site, current, row)


def test_a_steady_feed_that_stops_is_announced_once_and_resolved_when_rows_arrive_again(
    site: Site, clock: ManualClock
) -> None:
    declare(site)
    times = every(10 * MINUTE, 28)
    send(site, times)
    evaluate(site, EvaluateJob(model="loans"))
    assert not silences(site)
    (told,) = look(site, clock, times[-1] + 8 * HOUR)
    assert told <= times[-1] + 30 * MINUTE
    (alert,) = silences(site)
    assert (alert.state, alert.first_window_id, alert.windows) == ("open", None, 0)
    first, last = alert.episodes[0]["headlines"]
    assert (first["severity"], first["sentence"]) == ("warning", alert.sentence.replace("60 min", "20 min"))
    assert (alert.severity, last["sentence"]) == ("critical", alert.sentence)  # four times its limit
    assert alert.sentence == (
        "No rows have arrived since 2026-02-01 23:50 UTC, for 60 min. The longest pause in 28 days of arrivals was "
        "10 min. A pause that begins at this time of the week and lasts longer than 15 min is expected at most once in "
        "138,858 days."
    )
    assert alert.episodes[0]["ended"] is None
    send(site, [clock.now() + MINUTE])
    clock.move_to(clock.now() + MINUTE)
    evaluate(site, EvaluateJob(model="loans"))
    (alert,) = silences(site)
    assert (alert.state, alert.resolved_by) == ("resolved", "assay")
    assert datetime.fromisoformat(alert.episodes[0]["ended"]) == clock.now() - MINUTE
    assert entries(site) == ["alert.opened", "alert.worse", "alert.resolved"]
    assert len(look(site, clock, clock.now() + 4 * HOUR)) == 1  # another silence is another alert
    assert len(silences(site)) == 2


def test_an_alert_that_a_person_resolved_is_not_opened_again_by_the_same_silence(
    site: Site, clock: ManualClock
) -> None:
    from monitor.alerts.acknowledge import resolve_alert

    declare(site)
    send(site, every(10 * MINUTE, 14))
    assert look(site, clock, START + 15 * DAY, DAY)
    with site.database.write() as db:
        resolve_alert(site, db, silences(site)[0].id, "ann", "known")
    assert not look(site, clock, START + 17 * DAY, 3 * HOUR)
    send(site, [clock.now()])
    evaluate(site, EvaluateJob(model="loans"))
    (alert,) = silences(site)
    assert alert.resolved_by == "ann"
    assert alert.episodes[0]["ended"] is not None


def test_a_feed_that_drops_once_a_day_is_quiet_between_drops_and_announced_when_one_is_missed(
    site: Site, clock: ManualClock
) -> None:
    declare(site, reference=500)
    drops = [START + day * DAY + 2 * HOUR for day in range(28)]
    for drop in drops:
        send(site, [drop] * 50)
    for day in range(3):
        assert not look(site, clock, drops[-1] + (day + 1) * DAY, HOUR)
        send(site, [clock.now()] * 50)
    (told,) = look(site, clock, clock.now() + 3 * DAY, HOUR)
    assert DAY < told - (drops[-1] + 3 * DAY) <= 2 * DAY


def test_a_feed_of_working_hours_may_be_silent_at_night_and_not_on_monday_at_noon(
    site: Site, clock: ManualClock
) -> None:
    declare(site)
    times = every(5 * MINUTE, 28, at_work)
    send(site, times)
    monday = START + 28 * DAY
    assert not look(site, clock, monday + 9 * HOUR, HOUR)
    send(site, [monday + 9 * HOUR + i * 5 * MINUTE for i in range(36)])
    (told,) = look(site, clock, monday + 20 * HOUR)
    assert told <= monday + 13 * HOUR


def test_a_history_sent_at_once_is_no_silence_and_says_when_live_rows_stop(site: Site, clock: ManualClock) -> None:
    declare(site)
    clock.move_to(START + 28 * DAY)
    send(site, every(10 * MINUTE, 28), at_once=True)
    assert not look(site, clock, clock.now() + 3 * DAY, HOUR)
    assert now(site).reason == "the reference was sent at once, and no row has arrived since"
    send(site, [clock.now() + i * 10 * MINUTE for i in range(36)])
    assert len(look(site, clock, clock.now() + 6 * HOUR)) == 1


@pytest.mark.slow
def test_a_history_before_a_daily_drop_does_not_alarm_between_drops(site: Site, clock: ManualClock) -> None:
    """The times of events say nothing about when they are sent."""
    declare(site)
    clock.move_to(START + 28 * DAY)
    send(site, every(10 * MINUTE, 28), at_once=True)
    for _ in range(8):
        begin = clock.now()
        assert not look(site, clock, begin + DAY, HOUR)
        send(site, [begin + i * 10 * MINUTE for i in range(144)], at_once=True)
    assert not silences(site)
    assert look(site, clock, clock.now() + 4 * DAY, HOUR)


def test_what_is_not_judged_says_why(site: Site, clock: ManualClock) -> None:
    declare(site)
    assert (now(site).due, now(site).reason) == (None, "no row has arrived")
    send(site, every(10 * MINUTE, 2))
    look(site, clock, START + 3 * DAY, DAY)
    assert (now(site).due, now(site).reason) == (None, "the reference is still being collected")
    send(site, [START + 3 * DAY + i * MINUTE for i in range(1000)])
    assert not look(site, clock, START + 6 * DAY, HOUR)
    assert now(site).reason == "reference too short: arrivals of 7 days are needed"
    send(site, [START + 6 * DAY + i * 10 * MINUTE for i in range(300)])
    evaluate(site, EvaluateJob(model="loans"))  # more is to be known by now
    assert now(site).reason is None
    assert now(site).due is not None


def test_a_clock_that_was_set_back_announces_no_silence(site: Site, clock: ManualClock) -> None:
    declare(site)
    times = every(10 * MINUTE, 28)
    send(site, times)
    evaluate(site, EvaluateJob(model="loans"))
    back = replace(site, clock=ManualClock(times[-1] - 5 * DAY))
    assert isinstance(back.clock, ManualClock)
    assert not look(back, back.clock, times[-1] - DAY, 3 * HOUR)
    assert "set back" in (now(back).reason or "")
    assert look(back, back.clock, times[-1] + DAY, HOUR)


def test_senders_have_time_to_return_after_the_service_was_down(site: Site, clock: ManualClock) -> None:
    declare(site)
    times = every(10 * MINUTE, 28)
    send(site, times)
    evaluate(site, EvaluateJob(model="loans"))
    tick(site, "one")
    clock.move_to(clock.now() + 5 * HOUR)  # away
    tick(site, "one")
    evaluate(site, EvaluateJob(model="loans"))
    assert not silences(site)
    back = clock.now()
    while clock.now() < back + HOUR and not silences(site):
        clock.move_to(clock.now() + MINUTE)
        tick(site, "one")
        evaluate(site, EvaluateJob(model="loans"))
    assert clock.now() - back == 15 * MINUTE


def test_a_new_reference_keeps_what_is_known_of_arrivals(site: Site, clock: ManualClock) -> None:
    declare(site)
    times = every(10 * MINUTE, 28)
    send(site, times)
    send(site, [times[0] - 20 * DAY], at_once=True)  # one row that is weeks late is no history
    evaluate(site, EvaluateJob(model="loans"))
    with site.database.write() as db:
        service.open_reference(site, db, store.model(db, "loans").id, reason="v2 promoted")
    assert look(site, clock, times[-1] + HOUR)


class Headers(EventStore):
    """Only how far the tables reach; no row."""

    def scan(self, *_: Any, **__: Any) -> pl.LazyFrame:
        raise AssertionError("a table was opened")


def test_no_row_is_read_while_a_silence_is_plausible(site: Site, clock: ManualClock) -> None:
    declare(site)
    send(site, every(10 * MINUTE, 28))
    evaluate(site, EvaluateJob(model="loans"))
    headers = Headers(site.settings.lake_uri, site.settings.home_dir, site.keys.subject)
    clock.move_to(clock.now() + 12 * MINUTE)
    silence.watch(replace(site, events=headers), "loans")
    assert now(replace(site, events=headers)).due == clock.now() + 3 * MINUTE


def test_silence_is_shown_by_the_interface_the_pages_and_the_metrics(site: Site, clock: ManualClock) -> None:
    declare(site)
    send(site, every(10 * MINUTE, 14))
    first_admin(site)
    with site.database.write() as db:
        key = create_key(db, name="ops", role=Role.ADMIN, actor="admin", now=clock.now())[1]
    browser = TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"})
    evaluate(site, EvaluateJob(model="loans"))
    quiet = browser.get("/api/v1/models/loans/silence").json()
    assert (quiet["limit_s"], quiet["reason"], quiet["told"]) == (15 * 60, None, False)
    assert look(site, clock, clock.now() + DAY, HOUR)
    assert browser.get("/api/v1/models/loans/silence").json()["told"]
    (alert,) = browser.get("/api/v1/models/loans/alerts").json()["items"]
    assert (alert["monitor"], alert["first_window_id"], alert["state"]) == ("silence", None, "open")
    for page in ("/", "/models/loans", f"/alerts/{alert['id']}"):
        answer = browser.get(page)
        assert answer.status_code == 200
        assert "No rows have arrived since" in answer.text
    assert 'assay_alerts{model="loans",state="open"} 1' in browser.get("/metrics").text
    with site.database.read() as db:
        asked = Report(
            model_id=store.model(db, "loans").id, kind="audit", period_from=START, period_to=clock.now(), regimes=[],
            requested_by="ann", created_at=clock.now(),
        )  # fmt: skip
        report = gather(site, db, asked)
    assert [(a.monitor, a.windows) for a in report.alerts] == [("silence", 0)]
