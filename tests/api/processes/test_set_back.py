"""A schedule that cannot be read, and a clock that was set back, keep nobody waiting."""

from datetime import timedelta

from sqlalchemy import select

from api.processes import scheduler, system_alarms
from core.clock import ManualClock
from core.queue import Job, Lease
from monitor import service
from monitor.alerts import store as alerts
from monitor.notify import outbox
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, spec

RECIPE = {"base_model": "/models/none", "method": "qlora", "task": "sequence_classification"}


def declare(site: Site, model: str, cron: str) -> None:
    with site.database.write() as db:  # as an earlier release did, which did not look at the expression
        service.apply_spec(site, db, spec(model=model, retrain={"when": [{"cron": cron}], "recipe": RECIPE}), "tester")


def jobs(site: Site, name: str) -> list[str]:
    with site.database.read() as db:
        return sorted(job.payload["model"] for job in db.scalars(select(Job).where(Job.name == name)))


def tick(site: Site, clock: ManualClock, seconds: float, holder: str = "a") -> None:
    clock.move_to(clock.now() + timedelta(seconds=seconds))
    scheduler.tick(site, holder)


@SQLITE_FIRST
def test_a_stored_schedule_that_cannot_be_read_stops_only_itself_and_is_told(site: Site, clock: ManualClock) -> None:
    declare(site, "bad", "0 25 * * *")
    declare(site, "good", "* * * * *")
    scheduler.tick(site, "a")
    for _ in range(4):
        tick(site, clock, 20)
    assert jobs(site, "retrain.consider") == ["good"]
    assert jobs(site, "monitor.evaluate") == ["bad", "good"]
    with site.database.read() as db:
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, system_alarms.SCHEDULE)
        assert "Model bad is not retrained on its schedule: cron is '0 25 * * *': hour '25'" in alert.sentence
        assert system_alarms.problems(db, clock.now()) == [
            "a schedule of 1 model cannot be read; an alert of the installation names it"
        ]
    declare(site, "bad", "0 5 * * *")
    tick(site, clock, 20)
    with site.database.read() as db:
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, system_alarms.SCHEDULE)
        assert alert.state == "resolved"
        assert system_alarms.problems(db, clock.now()) == []


@SQLITE_FIRST
def test_after_the_clock_was_set_back_the_next_tick_comes_at_once(site: Site, clock: ManualClock) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(monitors=document()["monitors"]), "tester")
    ahead = ManualClock(clock.now() + timedelta(days=2))
    later = Site(site.settings, site.database, site.artifacts, site.events, ahead, site.keys)
    scheduler.tick(later, "before")
    tick(later, ahead, 31)
    assert jobs(site, "monitor.evaluate") == ["loans"]
    with site.database.write() as db:
        message = OutboxMessage(
            channel="ops", thread="t", severity="info", items=[], state="waiting", attempts=0,
            run_at=ahead.now() + timedelta(seconds=30), created_at=ahead.now(),
        )  # fmt: skip
        db.add(message)
    scheduler.tick(site, "after the restart")
    with site.database.read() as db:
        lease = db.get_one(Lease, scheduler.LEASE)
        assert lease.holder == "after the restart"
        assert lease.last_at == clock.now()
        assert all(job.run_at <= clock.now() for job in db.scalars(select(Job)))
        assert db.scalars(select(OutboxMessage)).one().run_at == clock.now() + timedelta(seconds=30)
        assert system_alarms.problems(db, clock.now()) == []


@SQLITE_FIRST
def test_a_scheduler_that_stands_still_is_told(site: Site, clock: ManualClock) -> None:
    scheduler.tick(site, "a")
    with site.database.write() as db:
        assert system_alarms.problems(db, clock.now() + timedelta(minutes=1)) == []
        (told,) = system_alarms.problems(db, clock.now() + timedelta(minutes=9))
        outbox.clock_set_back(db, clock.now(), clock.now() + timedelta(days=1))  # nothing waits
    assert "no scheduler has ticked for 9 min" in told
