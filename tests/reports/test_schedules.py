"""Schedules of reports: what a tick covers in its time zone, and ticks that nobody kept."""

from datetime import UTC, datetime

import pytest

from core.clock import ManualClock
from core.errors import AppError
from governance.ledger.read import ledger_entries
from monitor.site import Site
from reports import schedules
from reports.schedules import Wanted
from reports.store import listed_reports
from reports.tables import ReportSchedule
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("every", "cron", "zone", "tick", "since", "until"),
    [
        ("month", "0 6 1 * *", "Europe/Berlin", "2026-04-01T04:00Z", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("month", "0 0 1 * *", "UTC", "2026-04-01T00:00Z", "2026-03-01T00:00Z", "2026-04-01T00:00Z"),
        ("quarter", "0 6 1 */3 *", "America/New_York", "2026-01-01T11:00Z", "2025-10-01T04:00Z", "2026-01-01T05:00Z"),
        ("month", "0 12 15 * *", "Asia/Tokyo", "2026-03-15T03:00Z", "2026-01-31T15:00Z", "2026-02-28T15:00Z"),
        ("cron", "0 6 * * 1", "Asia/Kolkata", "2026-03-30T00:30Z", "2026-03-23T00:30Z", "2026-03-30T00:30Z"),
    ],
)  # fmt: skip
def test_a_tick_covers_what_its_zone_calls_the_last_month_or_quarter(
    every: str, cron: str, zone: str, tick: str, since: str, until: str
) -> None:
    row = ReportSchedule(every=every, cron=cron, zone=zone)
    assert schedules.period_of(row, at(tick)) == (at(since), at(until))


@SQLITE_FIRST
def test_missed_ticks_are_made_up_for_once_and_the_ledger_says_how_many(site: Site, clock: ManualClock) -> None:
    clock.move_to(at("2026-04-20T00:00Z"))
    with site.database.write() as db:
        tell(site, db)
        wanted = Wanted(every="month", owner="ml-support@example.com", zone="Europe/Berlin", regimes=["nyc-ll144"])
        row = schedules.declare(site, db, wanted, "ann")
        assert schedules.next_due(row) == at("2026-05-01T04:00Z")
    for now, reports in (("2026-05-01T03:59Z", 0), ("2026-05-01T04:00Z", 1), ("2026-05-01T04:10Z", 1),
                         ("2026-08-02T00:00Z", 2), ("2026-08-02T00:01Z", 2)):  # fmt: skip
        clock.move_to(at(now))
        with site.database.write() as db:
            assert schedules.keep(site, db, clock.now()) == {}
            found = [one for one, _ in listed_reports(db, models=None, limit=10)]
            assert len(found) == reports, now
    newest = found[0]
    assert (newest.period_from, newest.period_to) == (at("2026-04-30T22:00Z"), at("2026-07-31T22:00Z"))
    assert (newest.missed, newest.due_at, newest.regimes) == (2, at("2026-08-01T04:00Z"), ["nyc-ll144"])
    assert (found[1].missed, found[1].requested_by, found[1].zone) == (None, "ann", "Europe/Berlin")
    with site.database.read() as db:
        [entry] = ledger_entries(db, ("report.ticks_missed",))
    assert (entry["body"]["ticks"], entry["subject"]) == (2, "reports")
    clock.move_to(at("2026-09-02T00:00Z"))
    with site.database.write() as db:  # a channel that was removed since is said, and the report built all the same
        db.get_one(ReportSchedule, row.id).deliver_to = ["mail"]
        assert (
            "mail: no channel of this name is set"
            in schedules.keep(site, db, clock.now())[f"reports {str(row.id)[:8]}"]
        )
        assert len(listed_reports(db, models=None, limit=10)) == 3
        schedules.end(site, db, row.id, "ann")
        assert schedules.active(db) == []


@SQLITE_FIRST
def test_a_schedule_that_cannot_be_kept_is_refused(site: Site, clock: ManualClock) -> None:
    clock.move_to(at("2026-04-20T00:00Z"))
    model = {"model": "support-intents"}
    refused = [
        ({"every": "day", **model}, "every"), ({"every": "cron", **model}, "cron"),
        ({"every": "cron", "cron": "0 0 30 2 *", **model}, "cron"), ({"every": "month"}, "model"),
        ({"every": "month", "owner": "nobody@example.com"}, "owner"),
        ({"every": "month", "zone": "Mars", **model}, "zone"),
        ({"every": "month", "regimes": ["x"], **model}, "regimes"), ({"every": "month", "kind": "x", **model}, "kind"),
    ]  # fmt: skip
    with site.database.write() as db:
        tell(site, db)
    for wanted, field in refused:
        with site.database.write() as db, pytest.raises(AppError) as error:
            schedules.declare(site, db, Wanted(**wanted), "ann")  # type: ignore[arg-type]
        assert error.value.facts.get("field") == field
