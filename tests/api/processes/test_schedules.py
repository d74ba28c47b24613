"""Schedules of policies: never for a tick before the declaration, once for each after it, whatever else happens."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from api.processes import scheduler
from core.clock import ManualClock
from core.jobs import ConsiderJob
from core.queue import Job
from monitor import service
from monitor.site import Site
from retrain import jobs, store
from retrain.tables import TriggerDecision
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST

DAY = datetime(2026, 1, 6, tzinfo=UTC)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


@pytest.fixture
def ticking(site: Site, clock: ManualClock) -> "Ticking":
    return Ticking(site, clock)


class Ticking:
    """A scheduler and a worker that do what is due, at times of the test."""

    def __init__(self, site: Site, clock: ManualClock) -> None:
        self.site, self.clock = site, clock

    def to(self, time: str, *, every_s: float = 45) -> None:
        """Let time pass until a time of the day, with ticks as on a machine that is on."""
        hours, minutes, seconds = (int(part) for part in time.split(":"))
        end = DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds)
        while self.clock.now() < end:
            self.clock.move_to(min(end, self.clock.now() + timedelta(seconds=every_s)))
            self.tick()

    def off_until(self, time: str) -> None:
        hours, minutes, seconds = (int(part) for part in time.split(":"))
        self.clock.move_to(DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds))

    def tick(self) -> None:
        scheduler.tick(self.site, "a")
        with self.site.database.write() as db:
            found = list(db.scalars(select(Job).where(Job.name == ConsiderJob.name, Job.state == "queued")))
            payloads = [ConsiderJob.model_validate(job.payload) for job in found]
            db.execute(delete(Job).where(Job.id.in_([job.id for job in found])))
        for payload in payloads:
            jobs.consider(self.site, payload)

    def declare(self, base: Path, *schedules: Any, **more: Any) -> None:
        given = {"when": list(schedules), "cooldown": "1s", **more}
        world.declare(self.site, world.spec(base, **given))

    def take_out(self, base: Path) -> None:
        with self.site.database.write() as db:
            document = world.spec(base).document | {"retrain": None}
            from monitor.spec.parse import parse_spec

            service.apply_spec(self.site, db, parse_spec(document), "tester")

    def decisions(self) -> list[TriggerDecision]:
        with self.site.database.read() as db:
            return list(store.decisions(db, world.model_id(db)))[::-1]

    def due(self) -> list[str]:
        """The reasons of the schedules that were found due."""
        found = [f for d in self.decisions() for f in d.triggers if f["name"] == "schedule" and f["fire"]]
        return [f["reason"] for f in found]


AT = {"cron": "16 3 * * *"}


def test_a_schedule_is_never_due_for_a_tick_before_it_was_declared(ticking: Ticking, base: Path) -> None:
    ticking.to("3:15:59", every_s=3600)
    ticking.off_until("3:16:20")  # nothing ticks when the clock passes 03:16:00
    ticking.declare(base, AT)
    ticking.to("3:30:0")
    assert ticking.due() == []
    ticking.off_until("27:12:0")
    ticking.to("27:20:0", every_s=40)
    assert len(ticking.due()) == 1
    assert "fell due at 2026-01-07T03:16:00+00:00" in ticking.due()[0]


@pytest.mark.parametrize("declared", ["3:16:0", "3:16:1", "3:16:59"])
def test_nor_at_the_second_of_the_declaration(ticking: Ticking, base: Path, declared: str) -> None:
    ticking.to("3:10:0", every_s=3600)
    ticking.declare(base, {"cron": "30 1 * * *"})  # an earlier schedule, and a decision after the new one's tick
    ticking.off_until(declared)
    ticking.declare(base, AT)
    for cause in ("window", "schedule", "hours"):
        jobs.consider(ticking.site, ConsiderJob(model=world.NAME, cause=cause))
    ticking.to("3:18:0")
    assert ticking.due() == []


def test_a_schedule_that_comes_beside_an_older_one_has_no_past(ticking: Ticking, base: Path) -> None:
    ticking.to("2:0:0", every_s=3600)
    ticking.declare(base, {"cron": "0 3 * * *"})
    ticking.to("3:16:20")
    assert len(ticking.due()) == 1
    ticking.declare(base, {"cron": "0 3 * * *"}, AT)
    ticking.to("3:20:0")
    assert len(ticking.due()) == 1


def test_a_tick_is_not_lost_when_other_keys_change_or_the_same_is_applied_again(ticking: Ticking, base: Path) -> None:
    ticking.to("3:0:0", every_s=3600)
    ticking.declare(base, AT)
    ticking.to("3:15:50")
    ticking.off_until("3:16:5")  # the tick has passed, and nobody has looked
    ticking.declare(base, AT)
    ticking.declare(base, AT, "drift", min_outcomes=150)
    ticking.to("3:20:0")
    assert len(ticking.due()) == 1


def test_a_policy_that_was_taken_out_and_put_back_begins_anew(ticking: Ticking, base: Path) -> None:
    ticking.to("3:0:0", every_s=3600)
    ticking.declare(base, AT)
    ticking.to("3:10:0")
    ticking.take_out(base)
    ticking.to("3:16:20")
    ticking.declare(base, AT)
    ticking.to("3:30:0")
    assert ticking.due() == []


def test_the_same_fields_in_another_zone_are_another_schedule(ticking: Ticking, base: Path) -> None:
    ticking.to("3:0:0", every_s=3600)
    ticking.declare(base, {"cron": "16 4 * * *"})
    ticking.off_until("3:16:20")
    ticking.declare(base, {"cron": "16 4 * * *", "timezone": "Europe/Berlin"})  # 03:16 UTC
    ticking.to("4:20:0")
    assert ticking.due() == []


def test_ticks_that_passed_while_the_service_was_down_fire_once_and_say_so(ticking: Ticking, base: Path) -> None:
    ticking.to("1:0:0", every_s=3600)
    ticking.declare(base, {"cron": "*/20 * * * *"})
    ticking.to("1:10:0")
    ticking.off_until("4:5:0")
    ticking.to("4:10:0")
    [reason] = ticking.due()
    assert "fell due at 2026-01-06T04:00:00+00:00, for the 9th time since 2026-01-06T01:20:00+00:00" in reason
    ticking.to("4:21:0")
    assert len(ticking.due()) == 2


def test_a_clock_that_was_set_back_fires_no_tick_twice(ticking: Ticking, base: Path) -> None:
    ticking.to("3:0:0", every_s=3600)
    ticking.declare(base, AT)
    ticking.to("3:16:10")
    assert len(ticking.due()) == 1
    site = ticking.site
    back = ManualClock(DAY + timedelta(hours=3, minutes=15))
    earlier = Ticking(Site(site.settings, site.database, site.artifacts, site.events, back, site.keys), back)
    earlier.to("3:20:0")
    assert len(ticking.due()) == 1


def test_a_worker_whose_clock_is_behind_the_schedulers_loses_no_tick(
    ticking: Ticking, base: Path, clock: ManualClock
) -> None:
    ticking.to("3:0:0", every_s=3600)
    ticking.declare(base, AT)
    clock.move_to(DAY + timedelta(hours=3, minutes=15, seconds=58))
    for _ in range(2):
        due = clock.now() + timedelta(seconds=3)
        jobs.consider(ticking.site, ConsiderJob(model=world.NAME, cause="schedule", due=due))
    assert len(ticking.due()) == 1


def test_allowed_hours_put_a_schedule_off_until_they_begin(ticking: Ticking, base: Path) -> None:
    hours = {"hours": "22:00-02:00", "timezone": "Europe/Berlin"}  # 21:00 to 01:00 UTC
    ticking.to("3:0:0", every_s=3600)
    ticking.declare(base, AT, allowed_hours=hours)
    world.send(ticking.site, world.traffic(200, tiny.OLD), ticking.clock)
    ticking.off_until("3:10:0")
    ticking.to("3:17:0")
    [closed] = [d for d in ticking.decisions() if d.blocked_by]
    assert [b["name"] for b in closed.blocked_by] == ["allowed_hours"]
    words = "runs may start 22:00-02:00 Europe/Berlin; the next time is 2026-01-06T21:00:00+00:00"
    assert closed.blocked_by[0]["reason"] == words
    ticking.to("20:59:0", every_s=1800)
    assert not any(d.fired for d in ticking.decisions())
    ticking.to("21:0:30")
    last = ticking.decisions()[-1]
    assert (last.fired, last.cause) == (True, "hours")
    assert "fell due at 2026-01-06T03:16:00+00:00 and is considered 17.7 h late" in last.reason
