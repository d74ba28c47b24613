"""Exactly one champion, signed; nothing is promoted that has not passed its gates and its people."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from core.clock import ManualClock
from core.jobs import RunJob
from governance.proof.note import claimed_signers, open_note
from governance.proof.vkey import SigningKey
from monitor import service as monitor
from monitor.site import Site
from monitor.store import newest_reference
from retrain import jobs, store
from retrain.errors import (
    ApprovalError,
    BaseModelError,
    ChampionMovedError,
    NoEarlierVersionError,
    NotGatedError,
    RunStateError,
)
from retrain.registry.again import sign_champions_again
from retrain.registry.champion import Champion, champion_of
from retrain.registry.promotion import promote_run, roll_back
from retrain.registry.standing import standing_of
from retrain.runs import steps
from retrain.runs.approve import approve_run, reject_run
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return world.fake_adapter(tmp_path / "adapter")


def champion(site: Site) -> Champion:
    with site.database.read() as db:
        return champion_of(site, db, world.NAME)


def stages(site: Site) -> dict[str, str]:
    with site.database.read() as db:
        return {v.version: v.stage for v in store.versions(db, world.model_id(db))}


def ready(site: Site, base: Path, adapter: Path, clock: ManualClock, *, verdicts: Any = None, **retrain: Any) -> UUID:
    """A run that has been evaluated, before anything was decided."""
    world.declare(site, world.spec(base, **retrain))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(site)
    world.evaluated(site, run_id, adapter, verdicts=verdicts)
    return run_id


def waiting(site: Site, base: Path, adapter: Path, clock: ManualClock, approval: str) -> UUID:
    run_id = ready(site, base, adapter, clock, approval=approval)
    with site.database.write() as db:
        store.run(db, run_id).state = "awaiting_approval"
    return run_id


def test_the_base_model_becomes_a_signed_first_champion_once(site: Site, base: Path) -> None:
    world.declare(site, world.spec(base))
    world.declare(site, world.spec(base, cooldown="1h"))
    found = champion(site)
    assert (found.version, found.adapter_digest, found.labels) == ("v1", None, tuple(sorted(tiny.OLD)))
    assert world.signed(site, found)["base_digest"] == found.base_digest
    assert stages(site) == {"v1": "champion"}
    assert world.kinds(site).count("version.promoted") == 1


@SQLITE_FIRST
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("missing", "is no folder with a model"),
        ("pickled", "only pickled weights"),
        ("no_tokenizer", "no tokenizer.json"),
    ],
)
def test_a_base_model_that_cannot_be_used_refuses_the_spec_as_a_whole(
    site: Site, base: Path, broken: str, words: str
) -> None:
    folder = base
    if broken == "missing":
        folder = base.parent / "elsewhere"
    elif broken == "pickled":
        (base / "model.safetensors").rename(base / "pytorch_model.bin")
    else:
        (base / "tokenizer.json").unlink()
    with pytest.raises(BaseModelError, match=words) as caught:
        world.declare(site, world.spec(folder))
    assert caught.value.facts["field"] == "retrain.recipe.base_model"
    assert not world.kinds(site)


def test_a_promotion_moves_the_one_champion_signs_it_and_opens_a_new_baseline(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = ready(site, base, adapter, clock)
    jobs.run(site, RunJob(run_id=run_id))
    assert world.read(site, run_id).state == "promoted"
    assert stages(site) == {"v1": "retired", "v2": "champion"}
    found = champion(site)
    assert world.signed(site, found)["run"] == str(run_id)
    assert found.adapter_uri is not None
    assert Path(found.adapter_uri.removeprefix("file://"), "adapter_model.safetensors").is_file()
    with site.database.read() as db:
        opened = newest_reference(db, world.model_id(db))
    assert opened is not None
    assert (opened.from_seq, opened.reason) == (200, "version v2 promoted")
    assert world.kinds(site)[-1] == "version.promoted"
    before = world.kinds(site)
    jobs.run(site, RunJob(run_id=run_id))  # the job once more: the run has ended
    assert world.kinds(site) == before


@pytest.mark.parametrize("verdict", ["fail", "unknown"])
@SQLITE_FIRST
def test_a_gate_that_is_not_passed_is_never_promoted(
    site: Site, base: Path, adapter: Path, clock: ManualClock, verdict: str
) -> None:
    run_id = ready(site, base, adapter, clock, verdicts={"forgetting": verdict})
    with site.database.write() as db, pytest.raises(NotGatedError, match="forgetting"):
        promote_run(site, db, run_id, "ann", "please")
    jobs.run(site, RunJob(run_id=run_id))
    run = world.read(site, run_id)
    assert run.state == "rejected"
    assert "forgetting" in (run.error or "")
    assert stages(site) == {"v1": "champion", "v2": "rejected"}


@SQLITE_FIRST
def test_a_gate_that_was_never_evaluated_blocks_too(site: Site, base: Path, adapter: Path, clock: ManualClock) -> None:
    run_id = ready(site, base, adapter, clock)
    with site.database.write() as db:
        db.delete(store.gates(db, run_id)[0])
    with site.database.write() as db, pytest.raises(NotGatedError, match="was not evaluated"):
        promote_run(site, db, run_id, "ann", "please")


@SQLITE_FIRST
def test_an_adapter_changed_on_disk_is_not_promoted(site: Site, base: Path, adapter: Path, clock: ManualClock) -> None:
    run_id = ready(site, base, adapter, clock)
    with site.database.read() as db:
        version = store.version_of_run(db, run_id)
    assert version is not None
    assert version.adapter is not None
    (site.artifacts.path(version.adapter) / "adapter_model.safetensors").write_bytes(b"other")
    jobs.run(site, RunJob(run_id=run_id))
    run = world.read(site, run_id)
    assert run.state == "rejected"
    assert "was changed on disk" in (run.error or "")
    assert champion(site).version == "v1"


@SQLITE_FIRST
def test_an_envelope_narrowed_meanwhile_holds_at_promotion(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = waiting(site, base, adapter, clock, "one")
    with site.database.write() as db:
        monitor.apply_spec(site, db, world.spec(base, approval="one", envelope={"max_rows": 99}), "tester")
    with site.database.write() as db:
        approve_run(site, db, run_id, world.key(site, "bob"), "looked at the gates")
    run = world.read(site, run_id)
    assert (run.state, run.waits_at, champion(site).version) == ("awaiting_approval", "evaluating", "v1")
    assert [(one["limit"], one["declared"], one["measured"]) for one in run.outside] == [("max_rows", 99, 100)]
    assert "max_rows is 99" in run.outside[0]["reason"]


def test_two_different_people_other_than_the_one_who_asked_must_approve(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = waiting(site, base, adapter, clock, "two")

    def approve(actor: str, reason: str = "gates look right") -> None:
        caller = world.key(site, actor)
        with site.database.write() as db:
            approve_run(site, db, run_id, caller, reason)

    with pytest.raises(ApprovalError, match=r"ann .* started run"):
        approve("ann")
    with pytest.raises(ApprovalError, match="reason"):
        approve("bob", " ")
    approve("bob")
    assert (world.read(site, run_id).state, champion(site).version) == ("awaiting_approval", "v1")
    with pytest.raises(ApprovalError, match=r"bob .* has approved"):
        approve("bob")
    with site.database.write() as db, pytest.raises(NotGatedError, match="1 of 2 approvals"):
        promote_run(site, db, run_id, "carl", "now")
    approve("carl")
    run = world.read(site, run_id)
    assert (run.state, champion(site).version) == ("promoted", "v2")
    assert [a["actor"] for a in run.approvals] == ["bob", "carl"]
    assert world.kinds(site).count("run.approved") == 2
    with pytest.raises(RunStateError):
        approve("dora")


@SQLITE_FIRST
def test_a_person_may_turn_a_candidate_down_with_a_reason(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = waiting(site, base, adapter, clock, "one")
    bob = world.key(site, "bob")
    with site.database.write() as db:
        reject_run(site, db, run_id, bob, "wrong period")
    run = world.read(site, run_id)
    assert (run.state, run.error) == ("rejected", "rejected by bob (key bob): wrong period")
    assert stages(site) == {"v1": "champion", "v2": "rejected"}


@SQLITE_FIRST
def test_a_run_that_passes_all_gates_waits_where_people_must_approve(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = ready(site, base, adapter, clock, approval="one")
    with site.database.read() as db:
        assert not standing_of(db, store.run(db, run_id)).missing_gates
    steps.evaluate(site, run_id)
    assert (world.read(site, run_id).state, champion(site).version) == ("awaiting_approval", "v1")


def test_a_rollback_puts_the_previous_champion_back_and_another_goes_no_further(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    jobs.run(site, RunJob(run_id=ready(site, base, adapter, clock)))
    with site.database.write() as db:
        roll_back(site, db, world.NAME, "ann", "complaints")
    assert stages(site) == {"v1": "champion", "v2": "rejected"}
    assert world.signed(site, champion(site))["version"] == "v1"
    assert world.kinds(site)[-1] == "version.rolled_back"
    with site.database.write() as db, pytest.raises(NoEarlierVersionError):
        roll_back(site, db, world.NAME, "ann", "more complaints")


@SQLITE_FIRST
def test_a_candidate_compared_with_an_older_champion_is_not_promoted(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    run_id = waiting(site, base, adapter, clock, "one")
    with site.database.write() as db:
        store.run(db, run_id).champion_version = "v0"
    bob = world.key(site, "bob")
    with site.database.write() as db, pytest.raises(ChampionMovedError):
        approve_run(site, db, run_id, bob, "looked at the gates")


def test_a_champion_is_signed_with_the_key_that_the_ledger_goes_on_to(site: Site, base: Path) -> None:
    world.declare(site, world.spec(base))
    old, (new, third) = site.keys.vkey, (SigningKey.generate("assay.local/ledger") for _ in range(2))
    with site.database.write() as db:
        assert sign_champions_again(db, new, alone=False, now=site.clock.now()) == ([world.NAME], [])
    both = champion(site).signature
    assert open_note(both, [old]).text == open_note(both, [new.vkey]).text == open_note(both, [old, new.vkey]).text
    with site.database.write() as db:  # the key before is compromised
        sign_champions_again(db, third, alone=True, now=site.clock.now())
    alone = champion(site).signature
    assert claimed_signers(alone) == (third.verifier.label,)
    with site.database.write() as db:
        db.execute(text("update model_version set base_digest = 'sha256:other'"))
    with site.database.write() as db:
        assert sign_champions_again(db, new, alone=False, now=site.clock.now()) == ([], [world.NAME])
    assert champion(site).signature == alone
