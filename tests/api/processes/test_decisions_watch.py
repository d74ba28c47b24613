"""People are told of stopped models and of changes that wait, until that is over."""

from datetime import timedelta
from pathlib import Path

from api.processes.decisions_watch import watch_decisions
from core.clock import ManualClock
from governance.access.roles import Role
from monitor.alerts.acknowledge import resolve_alert
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert
from retrain.runs.changes import Waits, apply_or_ask, reject
from retrain.runs.stopped import lift_model, stop_model
from tests.databases import SQLITE_FIRST
from tests.retrain import world

pytestmark = SQLITE_FIRST


def told(site: Site, clock: ManualClock) -> list[tuple[str, str]]:
    with site.database.write() as db:
        watch_decisions(site, db, clock.now())
    with site.database.read() as db:
        return [(a.metric, a.state) for a in db.query(Alert).order_by(Alert.opened_at)]


def test_a_stop_is_told_until_it_is_lifted_and_again_when_it_is_set_again(
    site: Site, tmp_path: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(world.fake_base(tmp_path / "base")))
    ann = world.key(site, "ann")
    assert told(site, clock) == []
    with site.database.write() as db:
        stop_model(site, db, world.NAME, ann, "harm was seen")
    assert told(site, clock) == [("model_stopped", "open")]
    with site.database.write() as db:
        resolve_alert(site, db, db.query(Alert).one().id, "ann", "known")
    assert told(site, clock) == [("model_stopped", "resolved")]
    with site.database.write() as db:
        lift_model(site, db, world.NAME, ann, "over")
    clock.move_to(clock.now() + timedelta(hours=1))
    with site.database.write() as db:
        stop_model(site, db, world.NAME, ann, "again")
    assert told(site, clock) == [("model_stopped", "resolved"), ("model_stopped", "open")]
    with site.database.write() as db:
        lift_model(site, db, world.NAME, ann, "over")
    assert told(site, clock) == [("model_stopped", "resolved")] * 2


def test_a_change_that_waits_is_told_until_it_is_decided(site: Site, tmp_path: Path, clock: ManualClock) -> None:
    base = world.fake_base(tmp_path / "base")
    document = world.spec(base, approval="one").document | {"risk": "high"}
    world.declare(site, parse_spec(document))
    looser = parse_spec(document | {"risk": "limited"})
    ann, bob = world.key(site, "ann", role=Role.OPERATOR), world.key(site, "bob")
    with site.database.write() as db:
        waits = apply_or_ask(site, db, looser, ann)
        assert isinstance(waits, Waits)
        change = waits.request.id
    assert told(site, clock) == [("change_waits", "open")]
    with site.database.write() as db:
        reject(site, db, world.NAME, change, bob, "no")
    assert told(site, clock) == [("change_waits", "resolved")]
