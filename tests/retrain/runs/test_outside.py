"""A run outside its limits waits; a person other than its starter may allow it once, and then it goes on."""

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from core.canonical import digest
from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.access.api_keys import revoke_key
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import Places
from governance.proof.vkey import SigningKey
from monitor import service as monitor
from monitor.site import Site
from retrain import jobs, store
from retrain.errors import ApprovalError
from retrain.registry.champion import champion_of
from retrain.runs import evaluation
from retrain.runs.approve import approve_run, reject_run
from retrain.runs.change_check import as_markdown, check_document
from retrain.runs.change_document import change_document
from retrain.runs.datasets import record_dataset
from retrain.runs.waiting import wait
from retrain.runs.workspace import Workspace
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1, country="DEU")
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


def queued(site: Site, base: Path, clock: ManualClock, **retrain: Any) -> UUID:
    world.declare(site, world.spec(base, **retrain))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    return world.start(site)


def go(site: Site, run_id: UUID) -> None:
    assert jobs.run(site, RunJob(run_id=run_id)) is None


def approve(site: Site, run_id: UUID, actor: str = "bob", reason: str = "seen, fine once") -> None:
    caller = world.key(site, actor)
    with site.database.write() as db:
        approve_run(site, db, run_id, caller, reason)


def waits(site: Site, run_id: UUID, at: str) -> list[str]:
    run = world.read(site, run_id)
    assert (run.state, run.waits_at, run.error) == ("awaiting_approval", at, None)
    assert world.kinds(site)[-1] == "run.outside"
    return [one["limit"] for one in run.outside]


def test_too_many_cut_rows_wait_before_the_first_step_and_a_person_may_allow_them_once(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    run_id = queued(small, tiny_base, clock, recipe={"max_length": 6, "epochs": 1})
    go(small, run_id)
    assert set(waits(small, run_id, "training")) == {f"max_cut_share.{name}" for name in ("train", "eval", "holdout")}
    run = world.read(small, run_id)
    assert all("raise retrain.recipe.max_length, or retrain.envelope.max_cut_share" in o["reason"] for o in run.outside)
    assert (run.metrics, run.attempts) == (None, 0)
    with pytest.raises(ApprovalError, match=r"ann .* started run"):
        approve(small, run_id, "ann")
    with pytest.raises(ApprovalError, match="reason"):
        approve(small, run_id, reason=" ")
    approve(small, run_id)
    run = world.read(small, run_id)
    assert (run.state, run.outside, run.waits_at) == ("training", [], None)
    assert {e["limit"]: (e["owner"], e["why"]) for e in run.exceptions}["max_cut_share.train"] == (
        "bob", "seen, fine once",
    )  # fmt: skip
    assert world.kinds(small)[-1] == "run.allowed"
    go(small, run_id)
    run = world.read(small, run_id)
    assert run.state in ("promoted", "rejected"), run.error
    assert run.metrics is not None
    counts = run.metrics["counts"]["train"]
    assert counts["rows_learned"] + counts["rows_dropped"] == counts["rows"] == run.metrics["rows_train"]
    assert run.used is not None
    assert run.used["train"]["co2e_kg"] > 0
    assert sum(day["kwh"] for day in run.used["days"].values()) == pytest.approx(
        run.used["train"]["kwh"] + run.used["evaluate"]["kwh"]
    )
    proves_itself(small, run_id)


def test_what_was_allowed_with_a_key_that_is_revoked_counts_no_more(
    site: Site, tmp_path: Path, clock: ManualClock
) -> None:
    base = world.fake_base(tmp_path / "base")
    world.declare(site, world.spec(base))
    world.send(site, world.traffic(300, tiny.OLD), clock)
    run_id = world.start(site)
    passed = [{"limit": "max_rows", "declared": 10, "measured": 20, "unit": "rows", "inside": False, "reason": "more"}]
    bob = world.key(site, "bob")

    def waits_now() -> bool:
        with site.database.write() as db:
            return wait(site, db, store.run(db, run_id, lock=True), passed)

    assert waits_now()
    approve(site, run_id)
    assert not waits_now()
    with site.database.write() as db:
        revoke_key(db, prefix=str(bob.prefix), actor="admin", now=clock.now())
    assert waits_now()


def proves_itself(site: Site, run_id: UUID) -> None:
    """The change document says what was allowed, follows from the ledger, and shows every change of it."""
    with site.database.read() as db:
        unsigned = change_document(site, db, run_id)
    assert any("not covered by a signed checkpoint yet" in words for words in check_document(unsigned))
    with site.database.write() as db:
        issue_checkpoint(
            db, key=site.keys.signing, places=Places(site.settings.home_dir / "anchor"), now=site.clock.now()
        )
    with site.database.read() as db:
        document = json.loads(json.dumps(change_document(site, db, run_id)))
    assert check_document(document, [site.keys.vkey]) == []
    by_limit = {line["limit"]: line for line in document["limits"]}
    cut = by_limit["max_cut_share.train"]
    assert (cut["verdict"], cut["declared"], cut["allowed_by"][0]["owner"]) == ("exception", 0.01, "bob")
    assert (by_limit["max_rows"]["verdict"], by_limit["max_kwh"]["verdict"]) == ("inside", "no limit")
    text = as_markdown(document)
    assert "allowed once by bob: seen, fine once" in text
    assert "Article 43(4)" in text
    assert check_document(document, [SigningKey.generate("other").vkey]) != []
    for change in CHANGES:
        other = json.loads(json.dumps(document))
        change(other)
        assert check_document(other) != [], inspect.getsource(change)
        other["digest"] = digest({k: v for k, v in other.items() if k not in ("digest", "ledger")})
        assert check_document(other) != [], inspect.getsource(change)


def _inside(document: dict[str, Any]) -> None:
    line = next(one for one in document["limits"] if one["verdict"] == "exception")
    line["verdict"] = "inside"


def _wider(document: dict[str, Any]) -> None:
    document["evidence"]["specs"][0]["document"]["retrain"]["envelope"]["max_cut_share"] = 1.0


def _fewer_cut(document: dict[str, Any]) -> None:
    document["evidence"]["record"]["counts"]["train"]["rows_truncated"] = 0


def _somebody_else(document: dict[str, Any]) -> None:
    document["evidence"]["exceptions"][0]["actor"] = "carol"


def _gate(document: dict[str, Any]) -> None:
    document["evidence"]["gates"]["integrity"]["verdict"] = "fail"


def _rows(document: dict[str, Any]) -> None:
    document["evidence"]["datasets"]["train"]["provenance"]["synthetic_rows"] = 0
    document["evidence"]["datasets"]["train"]["provenance"]["seed"] = 7


def _entry(document: dict[str, Any]) -> None:
    one = next(e for e in document["ledger"]["entries"] if '"run.allowed"' in e["entry"])
    one["entry"] = one["entry"].replace("seen, fine once", "seen, fine twice")


CHANGES = (_inside, _wider, _fewer_cut, _somebody_else, _gate, _rows, _entry)


@pytest.mark.slow  # tests/retrain/train/test_limits.py stops a trainer at its hours, and lets it go on
def test_hours_that_run_out_stop_the_trainer_with_its_checkpoint_and_allow_as_much_again(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    hours = 1e-6
    run_id = queued(small, tiny_base, clock, envelope={"max_gpu_hours": hours})
    go(small, run_id)
    assert waits(small, run_id, "training") == ["max_gpu_hours"]
    work = Workspace.of(small.settings, run_id)
    assert list((work.trained / "checkpoints").glob("checkpoint-1/complete.json"))
    used = world.read(small, run_id).used
    assert used is not None
    approve(small, run_id)
    granted = world.read(small, run_id).exceptions[0]["granted"]
    assert hours < granted < 0.01
    go(small, run_id)  # which is not enough either: it waits again, further on
    assert waits(small, run_id, "training") == ["max_gpu_hours"]
    assert list((work.trained / "checkpoints").glob("checkpoint-2/complete.json"))
    again = world.read(small, run_id).used
    assert again is not None
    assert again["train"]["kwh"] > used["train"]["kwh"] > 0
    with small.database.write() as db:
        reject_run(small, db, run_id, world.key(small, "bob"), "too dear")
    run = world.read(small, run_id)
    assert run.state == "rejected"
    with small.database.read() as db:
        assert champion_of(small, db, world.NAME).version == "v1"


@pytest.mark.slow
def test_an_evaluation_that_takes_too_long_waits_with_its_candidate_and_is_allowed_as_much_again(
    small: Site, tiny_base: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queued(small, tiny_base, clock, envelope={"max_gpu_hours": 0.1})
    with monkeypatch.context() as short:
        short.setattr(evaluation, "GRACE_S", 1.0 - 360.0)
        go(small, run_id)
    assert waits(small, run_id, "evaluating") == ["max_gpu_hours"]
    approve(small, run_id)
    go(small, run_id)
    assert world.read(small, run_id).state == "promoted"
    assert world.kinds(small).count("run.trained") == 1


def synthetic(site: Site) -> None:
    rows = tiny.messages(tiny.OLD, 300, seed=9).with_columns(pl.col("text") + " made " + pl.int_range(300).cast(str))
    path = site.settings.home_dir / "made.parquet"
    rows.write_parquet(path)
    with site.database.write() as db:
        record_dataset(site, db, world.NAME, "made", "train", path, "a generator", "ann", synthetic=True)


def artifacts(site: Site) -> set[str]:
    folder = site.settings.home_dir / "artifacts"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


BEFORE: list[tuple[dict[str, Any], Callable[[Site], None] | None, str]] = [
    ({"min_rows": 5000}, None, "min_rows"),
    ({"sources": ["events"]}, synthetic, "sources"),
    ({"max_synthetic_share": 0.1}, synthetic, "max_synthetic_share"),
]


@pytest.mark.parametrize(("envelope", "before", "limit"), BEFORE, ids=[limit for _, _, limit in BEFORE])
def test_rows_outside_the_envelope_wait_before_training(
    envelope: dict[str, Any], before: Callable[[Site], None] | None, limit: str, small: Site, tmp_path: Path,
    clock: ManualClock,
) -> None:  # fmt: skip
    run_id = queued(small, world.fake_base(tmp_path / "base"), clock, envelope=envelope)
    if before is not None:
        before(small)
    before_it = artifacts(small)
    go(small, run_id)
    assert waits(small, run_id, "curating") == [limit]
    with small.database.read() as db:
        assert store.run_datasets(db, run_id) == {}
    assert artifacts(small) == before_it  # no row of anybody lies where an erasure would not look
    approve(small, run_id)
    assert world.read(small, run_id).state == "curating"


def test_a_limit_narrowed_while_a_run_waits_in_the_queue_holds_for_it(
    small: Site, tmp_path: Path, clock: ManualClock
) -> None:
    base = world.fake_base(tmp_path / "base")
    run_id = queued(small, base, clock)
    narrower = world.spec(base, envelope={"revisions": {str(base): ["sha256:" + "0" * 64]}})
    with small.database.write() as db:
        monitor.apply_spec(small, db, narrower, "tester")
    go(small, run_id)
    assert waits(small, run_id, "queued") == ["revisions"]


def test_events_older_than_the_window_are_left_out_and_counted(small: Site, tmp_path: Path, clock: ManualClock) -> None:
    run_id = queued(small, world.fake_base(tmp_path / "base"), clock, envelope={"data_window": "6h", "min_rows": 5000})
    go(small, run_id)
    run = world.read(small, run_id)
    # 600 events, one a minute: the last six hours are 360 of them, and one that is just old enough.
    measured = run.outside[0]["measured"]
    assert measured < 361
    with small.database.read() as db:
        assert store.run_datasets(db, run_id) == {}  # nothing is registered of a run that waits
