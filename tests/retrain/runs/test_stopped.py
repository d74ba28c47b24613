"""A stopped model: nothing of it is promoted or trained, runs pause and go on, a rollback stays possible."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.access.api_keys import change_key
from governance.access.roles import Role
from governance.ledger.read import ledger_rows
from governance.policy.approvals import LASTS, ApprovalRefusedError
from governance.policy.stops import ModelStoppedError, NotStoppedError, stop_of
from governance.tables import LedgerEntry
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from retrain import jobs, store
from retrain.registry.champion import champion_of
from retrain.runs import steps
from retrain.runs.again import promote_again
from retrain.runs.approve import approve_run, reject_run
from retrain.runs.consider import consider_policy, start_manual
from retrain.runs.hold import held
from retrain.runs.promote import promote_by_hand, roll_back_listed, set_stage
from retrain.runs.stopped import RunStoppedError, drill_model, lift_model, stop_model
from retrain.runs.workspace import Workspace
from tests.databases import SQLITE_FIRST
from tests.retrain import lending, world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return world.fake_adapter(tmp_path / "adapter")


def stop(site: Site, actor: str = "ann", reason: str = "harm was seen") -> None:
    caller = world.key(site, actor)
    with site.database.write() as db:
        stop_model(site, db, world.NAME, caller, reason)


def lift(site: Site, actor: str = "bob", owner: str | None = "") -> bool:
    caller = world.key(site, actor, owner)
    with site.database.write() as db:
        return lift_model(site, db, world.NAME, caller, "looked into it") is None


def champion(site: Site) -> str:
    with site.database.read() as db:
        return champion_of(site, db, world.NAME).version


def evaluated(site: Site, base: Path, adapter: Path, clock: ManualClock, **retrain: Any) -> UUID:
    world.declare(site, world.spec(base, **retrain))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    world.send(site, world.traffic(150, (*tiny.OLD, *tiny.NEW), first=200), clock)
    world.baseline_ends(site, 200)
    run_id = world.start(site)
    world.evaluated(site, run_id, adapter)
    return run_id


def go(site: Site, run_id: UUID) -> object:
    return jobs.run(site, RunJob(run_id=run_id))


def test_nothing_is_promoted_while_stopped_and_the_run_goes_on_once_the_stop_is_lifted(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = evaluated(site, base, adapter, clock)
    stop(site)
    with site.database.write() as db, pytest.raises(ModelStoppedError, match="harm was seen"):
        promote_by_hand(site, db, run_id, world.key(site, "bob"), "now")
    assert go(site, run_id) is not None  # the job comes again
    run = world.read(site, run_id)
    assert (run.state, run.error, champion(site)) == ("evaluating", None, "v1")
    assert run.progress is not None
    assert "is stopped since" in run.progress["phase"]
    assert lift(site)
    assert go(site, run_id) is None
    assert (world.read(site, run_id).state, champion(site)) == ("promoted", "v2")


def test_an_approval_waits_for_the_lift_and_a_rejection_does_not(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = evaluated(site, base, adapter, clock, approval="one")
    assert go(site, run_id) is None
    stop(site)
    with site.database.write() as db, pytest.raises(ModelStoppedError):
        approve_run(site, db, run_id, world.key(site, "bob"), "fine")
    assert world.read(site, run_id).approvals == []
    with site.database.write() as db:
        reject_run(site, db, run_id, world.key(site, "bob"), "not now")
    assert world.read(site, run_id).state == "rejected"


def test_a_rollback_and_retiring_stay_possible_and_no_other_stage_is_given(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = evaluated(site, base, adapter, clock)
    assert go(site, run_id) is None
    stop(site)
    bob = world.key(site, "bob")
    assert roll_back_listed(site, world.NAME, bob, "back to what is known")[0].version == "v1"
    with site.database.write() as db:
        with pytest.raises(ModelStoppedError):
            promote_again(site, db, world.NAME, "v2", bob, "again")
        with pytest.raises(ModelStoppedError):
            promote_again(site, db, world.NAME, "v2", bob, "again", to_stage="canary", share=0.1)
    with site.database.write() as db:
        row = store.version(db, run_of(site, run_id), "v2", world.NAME)
        row.stage = "challenger"
    for stage in ("shadow", "challenger"):
        with site.database.write() as db, pytest.raises(ModelStoppedError):
            set_stage(site, db, world.NAME, "v2", bob, stage, "look")
    with site.database.write() as db:
        assert set_stage(site, db, world.NAME, "v2", bob, "retired", "gone").stage == "retired"


def run_of(site: Site, run_id: UUID) -> UUID:
    return world.read(site, run_id).model_id


@pytest.mark.parametrize("cause", ["window", "schedule", "hours", "request", "manual"])
def test_no_cause_starts_a_run_of_a_stopped_model(site: Site, base: Path, clock: ManualClock, cause: str) -> None:
    world.declare(site, world.spec(base, when=["drift", {"new_outcomes": 100}]))
    world.send(site, world.traffic(300, tiny.OLD), clock)
    world.baseline_ends(site, 100)
    stop(site)
    with site.database.write() as db:
        if cause == "manual":
            found = start_manual(site, db, world.NAME, "bob", "now")
        else:
            found = consider_policy(site, db, world.NAME, cause=cause)
        assert found.run is None
        assert found.decision.blocked_by[0]["name"] == "stopped"
        assert "ann (key ann)" in found.decision.blocked_by[0]["reason"]


def test_a_training_is_ended_keeps_its_attempts_and_goes_on(site: Site, clock: ManualClock) -> None:
    train = TrainSettings(device="cpu", threads=1, attempts=1, country="DEU")
    small = replace(site, settings=site.settings.model_copy(update={"train": train}))
    run_id = lending.queued(small, clock, "lightgbm")
    with held(small, Workspace.of(small.settings, run_id)) as own:
        steps.begin(own, run_id)
        steps.curate(own, run_id)
        stop(small)  # as its process begins
        with pytest.raises(RunStoppedError, match="harm was seen"):
            steps.train(own, run_id)
    run = world.read(small, run_id)
    assert (run.state, run.attempts, run.error) == ("training", 0, None)
    assert go(small, run_id) is not None  # and no other is started
    assert lift(small)
    assert go(small, run_id) is None
    assert world.read(small, run_id).state in ("promoted", "rejected")


def test_a_queued_run_waits(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base, when=["drift", {"new_outcomes": 100}]))
    world.send(site, world.traffic(300, tiny.OLD), clock)
    world.baseline_ends(site, 100)
    run_id = world.start(site, "carl")
    stop(site)
    assert go(site, run_id) is not None
    assert world.read(site, run_id).state == "queued"


def high(site: Site, base: Path, approval: str = "one") -> None:
    world.declare(site, high_spec(base, approval))


def high_spec(base: Path, approval: str) -> ModelSpec:
    return parse_spec(world.spec(base, approval=approval).document | {"risk": "high"})


def test_of_a_high_risk_model_another_person_lifts_the_stop(site: Site, base: Path, clock: ManualClock) -> None:
    high(site, base)
    with pytest.raises(NotStoppedError):
        lift(site)
    stop(site)
    with pytest.raises(ModelStoppedError):
        stop(site, "carl")
    for actor, owner, words in (
        ("ann", "", "stopped"), ("ann's other key", "Ann", "stopped"), ("nobody's", None, "no declared owner"),
    ):  # fmt: skip
        with pytest.raises(ApprovalRefusedError, match=words):
            lift(site, actor, owner)
    assert lift(site, "bob")
    with site.database.read() as db:
        assert stop_of(db, world.NAME) is None


def test_two_approvals_in_the_policy_ask_for_two_people(site: Site, base: Path, clock: ManualClock) -> None:
    high(site, base, "two")
    stop(site)
    assert not lift(site, "bob")
    with pytest.raises(ApprovalRefusedError, match="agreed already"):
        lift(site, "bob's other key", "BOB")
    assert lift(site, "carl")
    stop(site)  # what was agreed of an earlier stop does not count
    assert not lift(site, "bob")


def test_who_agreed_and_lost_the_right_or_agreed_long_ago_counts_no_more(
    site: Site, base: Path, clock: ManualClock
) -> None:
    high(site, base, "two")
    stop(site)
    assert not lift(site, "bob")
    prefix = world.key(site, "bob").prefix
    with site.database.write() as db:
        change_key(db, prefix=prefix, role=Role.OPERATOR, actor="boss", now=clock.now())
    assert not lift(site, "carl")  # alone: bob may not approve any more
    clock.move_to(clock.now() + LASTS)
    assert not lift(site, "carl")  # again, because what was agreed has run out
    assert lift(site, "dora")


def test_a_low_risk_model_is_released_by_whoever_stopped_it(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base))
    stop(site)
    assert lift(site, "ann")


def test_a_drill_finds_everything_refused_records_it_and_leaves_nothing_stopped(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base))
    before = world.kinds(site)
    with site.database.write() as db:
        found = drill_model(site, db, world.NAME, world.key(site, "vera", role=Role.VALIDATOR), "weekly drill")
    assert found["passed"]
    assert set(found["checks"]) == {
        "stage champion", "stage challenger", "stage shadow", "stage canary", "retraining",
    }  # fmt: skip
    assert found["milliseconds"] > 0
    assert [k for k in world.kinds(site) if k not in before] == ["person.created", "key.created", "stop.drilled"]
    with site.database.read() as db:
        assert stop_of(db, world.NAME) is None
        assert ledger_rows(db, kind="stop.set") == []
    stop(site)
    with site.database.write() as db, pytest.raises(ModelStoppedError):
        drill_model(site, db, world.NAME, world.key(site, "ann"), "again")


def test_the_stop_is_the_ledgers_so_that_no_row_of_a_table_lifts_it(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base))
    stop(site)
    with site.database.read() as db:
        tables = {name for name in LedgerEntry.metadata.tables if "stop" in name}
        assert tables == set()
        assert db.query(LedgerEntry).filter_by(kind="stop.set").count() == 1
