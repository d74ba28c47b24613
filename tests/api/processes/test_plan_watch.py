"""Plan against execution: what was due and done, and the alert about what was missed."""

from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.processes.plan_watch import SETTLED, watch_plans
from core.clock import ManualClock
from governance.access.api_keys import first_admin
from governance.ledger.append import append_entry
from monitor.alerts.acknowledge import resolve_alert
from monitor.site import Site
from monitor.tables import Alert, Window
from retrain.runs.consider import consider_policy
from tests.databases import SQLITE_FIRST
from tests.retrain import world

pytestmark = SQLITE_FIRST
TICK = "consider a retrain at 0 3 * * * UTC"


@pytest.fixture
def declared(site: Site, tmp_path: Path) -> Site:
    world.declare(site, world.spec(world.fake_base(tmp_path / "base"), when=[{"cron": "0 3 * * *"}]))
    return site


def alerts(site: Site, clock: ManualClock) -> list[tuple[str, str]]:
    with site.database.write() as db:
        watch_plans(site, db, clock.now())
    with site.database.read() as db:
        return [(a.metric, a.state) for a in db.query(Alert).order_by(Alert.opened_at)]


def consider(site: Site) -> None:
    with site.database.write() as db:
        consider_policy(site, db, world.NAME, cause="schedule")


def lines(site: Site) -> dict[str, tuple[int | None, int, int | None]]:
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        answer = client.get(f"/api/v1/models/{world.NAME}/plan")
        assert answer.status_code == 200, answer.text
        return {line["planned"]: (line["due"], line["done"], line["missed"]) for line in answer.json()["lines"]}


def test_a_tick_without_a_decision_is_missed_and_alarms_until_a_day_without_one(
    declared: Site, clock: ManualClock
) -> None:
    clock.move_to(clock.now() + timedelta(hours=3) + SETTLED - timedelta(minutes=1))
    assert alerts(declared, clock) == []  # it may still be on its way
    clock.move_to(clock.now() + timedelta(minutes=2))
    assert alerts(declared, clock) == [("missed_checks", "open")]
    assert lines(declared)[TICK] == (1, 0, 1)
    clock.move_to(clock.now() + timedelta(hours=23, minutes=50))
    consider(declared)
    clock.move_to(clock.now() + timedelta(minutes=20))
    assert alerts(declared, clock) == [("missed_checks", "resolved")]


def test_a_tick_with_its_decision_is_done(declared: Site, clock: ManualClock) -> None:
    clock.move_to(clock.now() + timedelta(hours=3, minutes=1))
    consider(declared)
    clock.move_to(clock.now() + timedelta(hours=1))
    assert alerts(declared, clock) == []
    assert lines(declared)[TICK] == (1, 1, 0)


def test_what_a_person_resolved_is_not_told_again(declared: Site, clock: ManualClock) -> None:
    clock.move_to(clock.now() + timedelta(hours=4))
    assert alerts(declared, clock) == [("missed_checks", "open")]
    with declared.database.write() as db:
        resolve_alert(declared, db, db.query(Alert).one().id, "ann", "the worker was down")
    clock.move_to(clock.now() + timedelta(minutes=30))
    assert alerts(declared, clock) == [("missed_checks", "resolved")]


def test_a_window_without_a_record_and_a_time_without_a_scheduler_are_missed(
    declared: Site, clock: ManualClock
) -> None:
    baseline = world.baseline_ends(declared, 200)
    for number in (0, 1, 3):
        world.window(declared, baseline, number, "ok")
    with declared.database.write() as db:
        for window in db.query(Window):
            window.decision = {"judged": True, "verdict": "ok", "columns": []}
        start = clock.now() + timedelta(hours=1)
        body = {"from": start, "to": start + timedelta(minutes=30), "seconds": 1800}
        append_entry(db, kind="scheduler.missed", actor="assay", subject="scheduler", body=body, at=start)
    clock.move_to(clock.now() + timedelta(hours=11))
    consider(declared)
    found = lines(declared)
    assert found["close windows without a gap"] == (4, 3, 1)
    assert found["look every minute whether a check is due"] == (660, 630, 30)
    assert alerts(declared, clock) == [("missed_checks", "open")]
