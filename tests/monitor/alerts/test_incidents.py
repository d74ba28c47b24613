"""Incidents: alerts of one cause, what people do about them, and what a snooze or a mute keeps silent until it ends."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core.clock import ManualClock
from core.errors import InvalidError
from governance.ledger.read import ledger_rows
from monitor import service
from monitor import store as monitor_store
from monitor.alerts import actions, by_clock, incidents, store
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.alerts.announce import tell_held_back
from monitor.alerts.headlines import Alarm
from monitor.alerts.quiet import quiet_reason
from monitor.errors import IncidentNotFoundError, IncidentStateError, MuteEndedError, MuteNotFoundError
from monitor.site import Site
from monitor.tables import Alert, Incident
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import spec

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOBODY = UUID(int=0)


@pytest.fixture
def model(site: Site) -> UUID:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "tester")
        return monitor_store.model(db, "loans").id


def alarm(metric: str = "accuracy", severity: Any = "warning", column: str = "") -> Alarm:
    columns = (column,) if column else ()
    return Alarm("kpi", metric, column, 0.7, 0.8, f"{metric} is 0.700 ({severity}).", severity, columns)


def opened(site: Site, model: UUID | None, found: Alarm, since: datetime | None = None) -> Alert:
    with site.database.write() as db:
        return by_clock.open_alert(site, db, model, found, since or site.clock.now(), {})


def incident_of(site: Site, alert: Alert) -> Incident:
    with site.database.read() as db:
        return store.incident(db, alert.incident_id)


def timeline(site: Site, alert: Alert) -> list[tuple[str, str, str]]:
    with site.database.read() as db:
        return [(n.kind, n.actor, n.text) for n in store.notes(db, alert.incident_id)]


def held_back(site: Site, alert: Alert) -> str | None:
    with site.database.read() as db:
        return monitor_store.alert(db, alert.id).held_back


def test_alerts_that_overlap_or_follow_within_a_day_are_one_incident(
    site: Site, clock: ManualClock, model: UUID
) -> None:
    first = opened(site, model, alarm())
    clock.move_to(clock.now() + incidents.FOLLOWS_WITHIN)
    second = opened(site, model, alarm("f1_macro", "critical"))
    assert second.incident_id == first.incident_id
    clock.move_to(clock.now() + incidents.FOLLOWS_WITHIN + HOUR)
    third = opened(site, model, alarm("latency_p50"))
    system = opened(site, None, alarm("worker_lag"))
    assert len({first.incident_id, third.incident_id, system.incident_id}) == 3
    found = incident_of(site, first)
    assert (found.severity, found.headline, found.state) == ("critical", second.sentence, "open")
    assert (found.from_ts, found.to_ts) == (first.opened_at, second.opened_at)
    assert incident_of(site, system).model_id is None


def test_an_incident_follows_its_alerts_and_a_resolved_one_takes_no_more(
    site: Site, clock: ManualClock, model: UUID
) -> None:
    first, second = opened(site, model, alarm()), opened(site, model, alarm("f1_macro", "critical"))
    with site.database.write() as db:
        acknowledge_alert(site, db, first.id, "anna", "looking")
    assert incident_of(site, first).state == "open"
    with site.database.write() as db:
        resolve_alert(site, db, second.id, "anna", "fixed")
    found = incident_of(site, first)
    assert (found.state, found.severity, found.headline) == ("acknowledged", "warning", first.sentence)
    with site.database.write() as db:
        resolve_alert(site, db, first.id, "ben", None)
    found = incident_of(site, first)
    assert (found.state, found.resolved_at) == ("resolved", clock.now())
    assert timeline(site, first) == [
        ("opened", "assay", first.sentence), ("opened", "assay", second.sentence), ("acknowledged", "anna", "looking"),
        ("resolved", "anna", "fixed"), ("resolved", "ben", "looking"),
    ]  # fmt: skip
    assert opened(site, model, alarm()).incident_id != first.incident_id


@SQLITE_FIRST
def test_people_acknowledge_assign_comment_and_resolve_an_incident_as_a_whole(site: Site, model: UUID) -> None:
    first, second = opened(site, model, alarm()), opened(site, model, alarm("f1_macro"))
    with site.database.write() as db:
        actions.acknowledge_incident(site, db, first.incident_id, "anna", "on it")
        actions.assign(site, db, first.incident_id, "anna", "ben@example.com")
        actions.comment(site, db, first.incident_id, "ben", "the form of Mr Smith is broken")
        assert {monitor_store.alert(db, a.id).state for a in (first, second)} == {"acknowledged"}
    assert incident_of(site, first).owner == "ben@example.com"
    with site.database.write() as db:
        with pytest.raises(IncidentStateError, match="acknowledged; it cannot be acknowledged"):
            actions.acknowledge_incident(site, db, first.incident_id, "anna", None)
        actions.assign(site, db, first.incident_id, "anna", None)
        actions.resolve_incident(site, db, first.incident_id, "ben", "rolled back")
        with pytest.raises(IncidentStateError, match="resolved; it cannot be resolved"):
            actions.resolve_incident(site, db, first.incident_id, "anna", None)
        with pytest.raises(IncidentNotFoundError):
            actions.comment(site, db, NOBODY, "anna", "?")
    assert incident_of(site, first).state == "resolved"
    assert ("assigned", "anna", "to nobody") in timeline(site, first)
    assert ("commented", "ben", "the form of Mr Smith is broken") in timeline(site, first)
    with site.database.read() as db:
        written = [row.entry for row in ledger_rows(db)]
    assert {"incident.assigned", "incident.commented"} <= {e.split('"kind":"')[1].split('"')[0] for e in written}
    assert not [e for e in written if "Smith" in e or "ben@example.com" in e or "rolled back" in e]


def test_a_snoozed_incident_is_silent_until_its_time_and_then_says_that_it_lasts(
    site: Site, clock: ManualClock, model: UUID
) -> None:
    alert = opened(site, model, alarm())
    with site.database.write() as db:
        actions.snooze(site, db, alert.incident_id, "anna", clock.now() + 2 * HOUR, "deploying")
    clock.move_to(clock.now() + HOUR)
    with site.database.write() as db:
        by_clock.continue_alert(site, db, alert.id, alarm(severity="critical"))
        tell_held_back(site, db)
        assert "snoozed until" in (quiet_reason(db, alert, clock.now()) or "")
    assert held_back(site, alert) == "worse"
    assert incident_of(site, alert).severity == "critical", "recorded all the same"
    clock.move_to(clock.now() + HOUR)
    with site.database.write() as db:
        assert quiet_reason(db, alert, clock.now()) is None
        tell_held_back(site, db)
    assert held_back(site, alert) is None
    assert [kind for kind, _, _ in timeline(site, alert)] == ["opened", "snoozed", "worse"]


@SQLITE_FIRST
def test_a_snooze_that_a_person_ends_and_an_alert_that_ended_in_it_say_nothing_late(
    site: Site, clock: ManualClock, model: UUID
) -> None:
    alert = opened(site, model, alarm())
    with site.database.write() as db:
        actions.snooze(site, db, alert.incident_id, "anna", clock.now() + DAY, None)
        actions.snooze(site, db, alert.incident_id, "anna", None, None)
        assert quiet_reason(db, alert, clock.now()) is None
        actions.snooze(site, db, alert.incident_id, "anna", clock.now() + DAY, None)
        resolve_alert(site, db, alert.id, "anna", None)
    assert held_back(site, alert) is None
    with site.database.write() as db, pytest.raises(IncidentStateError, match="resolved; it cannot be snoozed"):
        actions.snooze(site, db, alert.incident_id, "anna", clock.now() + DAY, None)


def mute(site: Site, until: datetime, **of: Any) -> UUID:
    scope = {"model": "loans", "monitor": "", "metric": "", "column": "", "reason": "known"} | of
    with site.database.write() as db:
        return actions.mute(site, db, "anna", until=until, **scope).id


def test_a_muted_alert_is_recorded_and_told_once_the_mute_has_ended(
    site: Site, clock: ManualClock, model: UUID
) -> None:
    mute(site, clock.now() + DAY, monitor="kpi", metric="accuracy", reason="labels of this week are wrong")
    alert, other = opened(site, model, alarm()), opened(site, model, alarm("f1_macro"))
    with site.database.write() as db:
        assert "labels of this week are wrong" in (quiet_reason(db, alert, clock.now()) or "")
        assert quiet_reason(db, other, clock.now()) is None
        assert [m.metric for m in store.active_mutes(db, clock.now())] == ["accuracy"]
    assert (held_back(site, alert), held_back(site, other)) == ("opened", None)
    clock.move_to(clock.now() + DAY)
    with site.database.write() as db:
        tell_held_back(site, db)
        assert store.active_mutes(db, clock.now()) == []
    assert held_back(site, alert) is None


@pytest.mark.parametrize(
    ("of", "column", "silent"),
    [({}, "", True), ({"monitor": "drift"}, "", False), ({"column": "amount"}, "amount", True),
     ({"column": "amount"}, "region", False), ({"column": "amount"}, "", False)],
)  # fmt: skip
@SQLITE_FIRST
def test_a_mute_covers_what_it_names(
    site: Site, clock: ManualClock, model: UUID, of: dict[str, Any], column: str, silent: bool
) -> None:
    mute(site, clock.now() + DAY, **of)
    alert = opened(site, model, alarm(column=column))
    with site.database.read() as db:
        assert (quiet_reason(db, alert, clock.now()) is not None) is silent


@pytest.mark.parametrize(
    ("of", "field"),
    [({"monitor": "weather"}, "monitor"), ({"column": "colour"}, "column"), ({"reason": "  "}, "reason"),
     ({"until": timedelta(0)}, "until"), ({"until": timedelta(days=400)}, "until")],
)  # fmt: skip
@SQLITE_FIRST
def test_a_mute_that_cannot_be_names_the_field(
    site: Site, clock: ManualClock, model: UUID, of: dict[str, Any], field: str
) -> None:
    until = clock.now() + of.pop("until", DAY)
    with pytest.raises(InvalidError) as refused:
        mute(site, until, **of)
    assert refused.value.facts["field"] == field


@SQLITE_FIRST
def test_a_mute_is_ended_once(site: Site, clock: ManualClock, model: UUID) -> None:
    found = mute(site, clock.now() + DAY)
    with site.database.write() as db:
        assert actions.end_mute(site, db, found, "ben").ended_by == "ben"
    with site.database.write() as db, pytest.raises(MuteEndedError):
        actions.end_mute(site, db, found, "ben")
    with site.database.write() as db, pytest.raises(MuteNotFoundError):
        actions.end_mute(site, db, NOBODY, "ben")
