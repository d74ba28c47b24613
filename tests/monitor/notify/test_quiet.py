"""Messages of alerts that get worse, and the silence of a mute or a snooze until its end."""

from datetime import timedelta

from sqlalchemy import select

from core.clock import ManualClock
from monitor import store
from monitor.alerts import actions, by_clock
from monitor.alerts.announce import tell_held_back
from monitor.alerts.headlines import Alarm
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from monitor.tables import Alert
from tests.databases import SQLITE_FIRST
from tests.monitor.notify.conftest import Configured, declare, webhook

pytestmark = SQLITE_FIRST
HOUR = timedelta(hours=1)


def told(site: Site) -> list[tuple[str, str]]:
    """Occasion and severity of everything that was written into the outbox."""
    with site.database.read() as db:
        found = db.scalars(select(OutboxMessage).order_by(OutboxMessage.created_at)).all()
        return [(item["occasion"], item["severity"]) for message in found for item in message.items]


def opened(site: Site) -> Alert:
    alarm = Alarm("silence", "silence", "", 900.0, 600.0, "No rows have arrived.", "warning")
    with site.database.write() as db:
        return by_clock.open_alert(site, db, store.model(db, "loans").id, alarm, site.clock.now(), {})


def worsen(site: Site, alert: Alert) -> None:
    alarm = Alarm("silence", "silence", "", 9000.0, 600.0, "No rows have arrived.", "critical")
    with site.database.write() as db:
        by_clock.continue_alert(site, db, alert.id, alarm)


def ready(configured: Configured) -> Site:
    site = configured(channels__ops=webhook("127.0.0.1:9"))
    declare(site)
    return site


def test_what_gets_worse_is_told_again(configured: Configured) -> None:
    site = ready(configured)
    worsen(site, opened(site))
    assert told(site) == [("opened", "warning"), ("worse", "critical")]


def test_a_muted_alert_is_told_when_the_mute_ends_if_it_lasts(configured: Configured, clock: ManualClock) -> None:
    site = ready(configured)
    with site.database.write() as db:
        actions.mute(
            site, db, "anna", model="loans", monitor="silence", metric="", column="", reason="moving",
            until=clock.now() + HOUR,
        )  # fmt: skip
    worsen(site, opened(site))
    assert told(site) == []
    clock.move_to(clock.now() + HOUR)
    for _ in range(2):
        with site.database.write() as db:
            tell_held_back(site, db)
    assert told(site) == [("released", "critical")]


def test_a_snoozed_incident_is_told_again_after_its_time_and_not_once_it_is_over(
    configured: Configured, clock: ManualClock
) -> None:
    site = ready(configured)
    alert = opened(site)
    with site.database.write() as db:
        actions.snooze(site, db, alert.incident_id, "anna", clock.now() + HOUR, None)
    clock.move_to(clock.now() + HOUR)
    with site.database.write() as db:
        tell_held_back(site, db)
    assert told(site) == [("opened", "warning"), ("released", "warning")]
    with site.database.write() as db:
        actions.snooze(site, db, alert.incident_id, "anna", clock.now() + HOUR, None)
        by_clock.end_alert(site, db, alert.id, clock.now())
    clock.move_to(clock.now() + HOUR)
    with site.database.write() as db:
        tell_held_back(site, db)
    assert len(told(site)) == 2
