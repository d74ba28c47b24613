"""A spec that changes while a run is under way: the stricter of its rules and those of the start decide."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.access.api_keys import declare_owner, revoke_key
from governance.access.roles import Role
from monitor import service as monitor
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from retrain import jobs, store
from retrain.errors import ApprovalError, NotGatedError
from retrain.registry.champion import champion_of
from retrain.registry.standing import standing_of
from retrain.runs.approve import approve_run
from retrain.runs.consider import start_if_due
from tests.databases import SQLITE_FIRST
from tests.retrain import lending, world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
FEW: dict[str, Any] = {"approval": "none", "gates": ["integrity"]}
FAIR = {"metric": "demographic_parity_difference", "by": ["region"], "max": 0.9, "min_group": 5}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return world.fake_adapter(tmp_path / "adapter")


def change(site: Site, spec: ModelSpec, **monitors: Any) -> None:
    document = spec.document
    document["monitors"] = document["monitors"] | monitors
    with site.database.write() as db:
        monitor.apply_spec(site, db, parse_spec(document), "tester")


def approve(site: Site, run_id: UUID, name: str, owner: str | None = "") -> None:
    caller = world.key(site, name, owner)
    with site.database.write() as db:
        approve_run(site, db, run_id, caller, "looked at the gates")


def champion(site: Site) -> str:
    with site.database.read() as db:
        return champion_of(site, db, world.NAME).version


def missing(site: Site, run_id: UUID) -> str:
    with site.database.read() as db:
        return "; ".join(standing_of(db, store.run(db, run_id)).missing)


def evaluated(site: Site, base: Path, adapter: Path, clock: ManualClock, **retrain: Any) -> UUID:
    world.declare(site, world.spec(base, **retrain))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(site)
    world.evaluated(site, run_id, adapter)
    return run_id


def test_a_spec_tightened_while_a_run_is_queued_holds_for_it_and_each_later_change_too(
    site: Site, clock: ManualClock
) -> None:
    train = TrainSettings(device="cpu", threads=1)
    small = replace(site, settings=site.settings.model_copy(update={"train": train}))
    run_id = lending.queued(small, clock, "lightgbm", **FEW)
    gates = ["integrity", "fairness"]
    change(small, lending.spec("lightgbm", approval="two", gates=gates), fairness=[FAIR])
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    assert run.error is None, run.error
    assert (run.state, champion(small)) == ("awaiting_approval", "v1")
    assert run.rules is not None
    assert (run.rules["gates"], run.rules["approvals"]) == (gates, 2)
    with small.database.read() as db:
        fair = next(g for g in store.gates(db, run_id) if g.gate == "fairness")
    assert fair.evidence["by_revision"]["1"]["verdict"] == "not_applicable"
    assert "limit 0.9" in fair.evidence["by_revision"]["2"]["reason"]
    approve(small, run_id, "bob")
    with pytest.raises(ApprovalError, match="a different person"):
        approve(small, run_id, "bob's other key", "BOB")
    # Tightened once more: what was judged and approved was so under other rules.
    floor = {"max_gpu_hours": 0.1, "kpi_floor": {"f1_macro": 1.0}}
    change(small, lending.spec("lightgbm", approval="one", gates=["no_regression"], envelope=floor), fairness=[FAIR])
    assert "0 of 1 approvals given" in missing(small, run_id)
    assert "judged again" in missing(small, run_id)
    approve(small, run_id, "bob")
    assert (world.read(small, run_id).state, champion(small)) == ("evaluating", "v1")
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    assert champion(small) == ("v2" if run.state == "promoted" else "v1")
    with small.database.read() as db:
        judged = {g.gate: g.verdict for g in store.gates(db, run_id)}
    assert run.state == ("promoted" if judged["no_regression"] == "pass" else "rejected")
    assert world.kinds(small).count("run.judged_again") == 1
    assert world.kinds(small).count("run.evaluated") == 2


@pytest.mark.parametrize("state", ["queued", "evaluating"])
def test_a_policy_taken_out_meanwhile_stops_the_run(
    site: Site, base: Path, adapter: Path, clock: ManualClock, state: str
) -> None:
    run_id = evaluated(site, base, adapter, clock)
    with site.database.write() as db:
        store.run(db, run_id).state = state
    bare = {k: v for k, v in world.spec(base).document.items() if k != "retrain"}
    with site.database.write() as db:
        monitor.apply_spec(site, db, parse_spec(bare), "tester")
    jobs.run(site, RunJob(run_id=run_id))
    run = world.read(site, run_id)
    assert run.state in ("failed", "rejected")
    assert "no retrain section" in (run.error or "")


def test_nobody_approves_once_the_policy_is_gone(site: Site, base: Path, adapter: Path, clock: ManualClock) -> None:
    run_id = evaluated(site, base, adapter, clock, approval="one")
    jobs.run(site, RunJob(run_id=run_id))
    bare = {k: v for k, v in world.spec(base).document.items() if k != "retrain"}
    with site.database.write() as db:
        monitor.apply_spec(site, db, parse_spec(bare), "tester")
    with pytest.raises(NotGatedError, match="no retrain section"):
        approve(site, run_id, "bob")


def test_a_key_without_an_owner_approves_nothing_until_one_is_declared(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = evaluated(site, base, adapter, clock, approval="one")
    jobs.run(site, RunJob(run_id=run_id))
    key = world.key(site, "old key", None)
    with pytest.raises(ApprovalError, match=f"assay keys own {key.prefix}"):
        approve(site, run_id, "old key")
    with site.database.write() as db:
        declare_owner(db, prefix=key.prefix, owner="Bob", actor="tester", now=clock.now())
    approve(site, run_id, "old key")
    assert champion(site) == "v2"


def test_the_person_who_started_a_run_does_not_approve_it_with_another_key(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    world.key(site, "ann", None)
    run_id = evaluated(site, base, adapter, clock, approval="one")  # started with the key ann
    jobs.run(site, RunJob(run_id=run_id))
    with pytest.raises(ApprovalError, match="key ann, which has no declared owner"):
        approve(site, run_id, "bob")  # who may be the one that started it
    assert f"assay keys own {world.key(site, 'ann').prefix} --owner NAME" in missing(site, run_id)
    starter = world.key(site, "ann", None)
    with site.database.write() as db:
        declare_owner(db, prefix=starter.prefix, owner="Ann Lee", actor="tester", now=clock.now())
    with pytest.raises(ApprovalError, match="started run"):
        approve(site, run_id, "ann at night", "ann  LEE")
    approve(site, run_id, "bob")
    assert champion(site) == "v2"


def test_the_owner_of_a_schedulers_key_does_not_approve_what_it_started(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base, when=["drift", {"new_outcomes": 100}], approval="one"))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    world.key(site, "nightly", "Ann Lee", Role.OPERATOR)
    with site.database.write() as db:
        run = start_if_due(site, db, world.NAME, "nightly", "cron").run
    assert run is not None
    world.evaluated(site, run.id, adapter)
    jobs.run(site, RunJob(run_id=run.id))
    with pytest.raises(ApprovalError, match="started run"):
        approve(site, run.id, "ann", "ann lee")
    approve(site, run.id, "bob")
    assert champion(site) == "v2"


def test_the_approval_of_a_revoked_key_does_not_count_and_its_person_may_approve_again(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = evaluated(site, base, adapter, clock, approval="two")
    jobs.run(site, RunJob(run_id=run_id))
    approve(site, run_id, "bob")
    with site.database.write() as db:
        revoke_key(db, prefix=world.key(site, "bob").prefix, actor="tester", now=clock.now())
    with pytest.raises(ApprovalError, match="revoked"):
        approve(site, run_id, "bob")
    approve(site, run_id, "carl")
    assert champion(site) == "v1"
    assert "1 of 2 approvals given; that of bob (key bob) does not count: key bob was revoked" in missing(site, run_id)
    approve(site, run_id, "bob's new key", "bob")
    assert champion(site) == "v2"
    # What happens later does not reach back to a run that has ended.
    with site.database.write() as db:
        revoke_key(db, prefix=world.key(site, "carl").prefix, actor="tester", now=clock.now() + timedelta(days=1))
    change(site, world.spec(base, approval="one", gates=["integrity"], envelope={"max_forgetting": 0.0}))
    with site.database.read() as db:
        found = standing_of(db, store.run(db, run_id))
    assert (found.rules.approvals, [s.actor for s in found.counted.by]) == (2, ["carl", "bob's new key"])
