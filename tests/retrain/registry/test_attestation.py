"""Of the high tier a validator attests; approvals hold for one candidate, for a time, and while their rights last."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import update

from core.clock import ManualClock
from core.jobs import RunJob
from governance.access.roles import Role
from governance.policy.approvals import LASTS
from monitor import service as monitor
from monitor.site import Site
from monitor.spec.parse import parse_spec
from retrain import jobs, store
from retrain.errors import ApprovalError, NotGatedError
from retrain.registry.champion import champion_of
from retrain.registry.promotion import promote_run
from retrain.registry.standing import standing_of
from retrain.runs.approve import approve_run, attest_run
from retrain.tables import Run
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def run_id(site: Site, tmp_path: Path, clock: ManualClock) -> UUID:
    """A run of a high-risk model that waits for one approval and one attestation; ann started it."""
    base = world.fake_base(tmp_path / "base")
    world.declare(site, parse_spec(world.spec(base, approval="one").document | {"risk": "high"}))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    world.send(site, world.traffic(150, (*tiny.OLD, *tiny.NEW), first=200), clock)
    world.baseline_ends(site, 200)
    run_id = world.start(site)
    world.evaluated(site, run_id, world.fake_adapter(tmp_path / "adapter"))
    assert jobs.run(site, RunJob(run_id=run_id)) is None
    assert world.read(site, run_id).state == "awaiting_approval"
    return run_id


def approve(site: Site, run_id: UUID, name: str, owner: str | None = "") -> None:
    caller = world.key(site, name, owner)
    with site.database.write() as db:
        approve_run(site, db, run_id, caller, "looked at the gates")


def attest(site: Site, run_id: UUID, name: str, owner: str | None = "", evidence: str = "doc 17") -> None:
    caller = world.key(site, name, owner, Role.VALIDATOR)
    with site.database.write() as db:
        attest_run(site, db, run_id, caller, "validated on the hold-out of March", evidence)


def champion(site: Site) -> str:
    with site.database.read() as db:
        return champion_of(site, db, world.NAME).version


def missing(site: Site, run_id: UUID) -> str:
    with site.database.read() as db:
        return "; ".join(standing_of(db, store.run(db, run_id), site.clock.now()).missing)


def test_the_high_tier_asks_for_an_approval_and_an_attestation_in_either_order(site: Site, run_id: UUID) -> None:
    approve(site, run_id, "bob")
    assert champion(site) == "v1"
    assert missing(site, run_id) == "a validator attests that the candidate was validated, which the tier asks for"
    attest(site, run_id, "vera")
    assert champion(site) == "v2"
    assert "run.attested" in world.kinds(site)
    with site.database.read() as db:
        found = standing_of(db, store.run(db, run_id))
    assert [s.actor for s in found.attested.by] == ["vera"]


def test_an_attestation_first_leaves_the_approval_missing(site: Site, run_id: UUID) -> None:
    attest(site, run_id, "vera")
    assert missing(site, run_id) == "0 of 1 approvals given"
    approve(site, run_id, "bob")
    assert champion(site) == "v2"


@pytest.mark.parametrize(
    ("name", "owner", "words"),
    [("ann v", "Ann", "started"), ("bob v", "BOB", "approved"), ("nobody's", None, "no declared owner")],
)
def test_nobody_is_two_of_starter_approver_and_validator(
    site: Site, run_id: UUID, name: str, owner: str | None, words: str
) -> None:
    approve(site, run_id, "bob")
    with pytest.raises(ApprovalError, match=words):
        attest(site, run_id, name, owner)
    with pytest.raises(ApprovalError, match="evidence"):
        attest(site, run_id, "vera", evidence=" ")


def test_a_validator_does_not_approve_what_they_attested(site: Site, run_id: UUID) -> None:
    attest(site, run_id, "vera")
    with pytest.raises(ApprovalError, match="attested"):
        approve(site, run_id, "vera's other key", "vera")
    assert champion(site) == "v1"


def test_what_was_said_of_another_candidate_counts_no_more(site: Site, run_id: UUID, tmp_path: Path) -> None:
    approve(site, run_id, "bob")
    other = world.fake_adapter(tmp_path / "other")
    (other / "adapter_model.safetensors").write_bytes(b"other weights")
    digest = site.artifacts.put_folder(other)
    with site.database.write() as db:
        row = store.candidate(db, store.run(db, run_id))
        assert row is not None
        row.adapter = digest
    assert "was given for another candidate" in missing(site, run_id)
    attest(site, run_id, "vera")
    assert champion(site) == "v1"
    approve(site, run_id, "bob")  # and may be given again
    assert champion(site) == "v2"


def test_approval_and_attestation_expire(site: Site, run_id: UUID, clock: ManualClock) -> None:
    approve(site, run_id, "bob")
    clock.move_to(clock.now() + LASTS)
    assert f"an approval lasts {LASTS.days} days" in missing(site, run_id)
    attest(site, run_id, "vera")
    assert champion(site) == "v1"
    clock.move_to(clock.now() + LASTS - timedelta(seconds=1))
    approve(site, run_id, "bob")
    assert champion(site) == "v2"


def test_an_approval_that_only_the_table_holds_does_not_count(site: Site, run_id: UUID) -> None:
    attest(site, run_id, "vera")
    with site.database.read() as db:
        found = standing_of(db, store.run(db, run_id))
    forged = {"actor": "bob", "key": world.key(site, "bob").prefix, "owner": "bob", "at": site.clock.now().isoformat(),
              "reason": "fine", "terms": found.rules.terms, "covers": found.covers}  # fmt: skip
    with site.database.write() as db:
        db.execute(update(Run).where(Run.id == run_id).values(approvals=[forged]))
    assert "not in the ledger" in missing(site, run_id)
    with site.database.write() as db, pytest.raises(NotGatedError):
        promote_run(site, db, run_id, "carl", "now")


def test_a_lower_tier_in_force_does_not_spare_a_run_that_began_under_the_high_one(site: Site, run_id: UUID) -> None:
    with site.database.write() as db:
        spec = monitor.current_spec(site, db, world.NAME).spec
        lower = parse_spec(spec.document | {"risk": "minimal"})
        monitor.apply_spec(site, db, lower, "tester", agreed=True)
    approve(site, run_id, "bob")
    assert "a validator attests" in missing(site, run_id)
    assert champion(site) == "v1"
