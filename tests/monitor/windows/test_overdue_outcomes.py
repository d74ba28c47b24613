"""Outcomes that stay away open one alert, which ends when they arrive."""

from datetime import timedelta

from core.clock import ManualClock
from core.jobs import EvaluateJob
from monitor import service, store
from monitor.alerts.acknowledge import resolve_alert
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.jobs import evaluate
from monitor.site import Site
from monitor.tables import Alert
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec

pytestmark = SQLITE_FIRST
DAY = timedelta(days=1)


def alerts(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return list(store.alerts_of(db, store.model(db, "loans").id, "outcomes"))


def look(site: Site) -> list[Alert]:
    evaluate(site, EvaluateJob(model="loans"))
    return alerts(site)


def begin(site: Site, clock: ManualClock) -> None:
    """A reference whose labels arrive within five days, and a window without one."""
    with site.database.write() as db:
        monitors = document()["monitors"] | {"kpi": [], "fairness": []}
        service.apply_spec(site, db, spec(monitors=monitors), "tester")
    reference = rows(1000)
    receive(site, "loans", "events", Body(events_body(reference), NDJSON))
    clock.move_to(clock.now() + DAY)
    receive(site, "loans", "outcomes", Body(outcomes_body(reference), NDJSON))
    receive(site, "loans", "events", Body(events_body(rows(250, start=1000)), NDJSON))
    assert not look(site)


def test_outcomes_that_stay_away_are_told_once_and_the_alert_ends_when_they_arrive(
    site: Site, clock: ManualClock
) -> None:
    begin(site, clock)
    clock.move_to(clock.now() + 5 * DAY)
    assert not look(site), "twice the usual delay has not passed"
    clock.move_to(clock.now() + 5 * DAY)
    (alert,) = look(site)
    assert (alert.metric, alert.state, alert.severity, alert.value) == ("late_outcomes", "open", "critical", 1.0)
    assert alert.sentence == (
        "Outcomes stay away: 0 of the 250 rows of the window that ended 2026-01-01 20:49 UTC have one. They usually "
        "arrive within 5.0 days."
    )
    assert len(look(site)) == 1
    receive(site, "loans", "outcomes", Body(outcomes_body(rows(250, start=1000)), NDJSON))
    (alert,) = look(site)
    assert (alert.state, alert.resolved_by) == ("resolved", "assay")


def test_an_alert_that_a_person_resolved_is_not_opened_again_by_the_same_outcomes(
    site: Site, clock: ManualClock
) -> None:
    begin(site, clock)
    clock.move_to(clock.now() + 10 * DAY)
    (alert,) = look(site)
    with site.database.write() as db:
        resolve_alert(site, db, alert.id, "anna", "a holiday")
    assert [a.resolved_by for a in look(site)] == ["anna"]
