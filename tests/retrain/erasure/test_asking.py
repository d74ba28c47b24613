"""Asking for an erasure again, beside another one, during a run, and after a failure."""

from datetime import timedelta

import polars as pl
import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from api.processes.worker import drain
from core.clock import ManualClock
from core.queue import Job
from governance import erasure
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import ledger_entries
from monitor.site import Site
from retrain.errors import RunClosedError
from retrain.runs.consider import start_manual
from retrain.runs.record import show_progress
from retrain.runs.steps import begin, curate
from retrain.runs.workspace import Workspace
from retrain.tables import Run
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.erasure.person import HERS, MARKER, SUBJECT, ask, datasets, erase, left, proof_of, traffic


@SQLITE_FIRST
def test_asking_again_while_it_is_under_way_gives_the_same_erasure_and_afterwards_a_new_one_that_finds_nothing(
    lived_in: Site,
) -> None:
    first = ask(lived_in)
    assert ask(lived_in) == first
    drain(lived_in)
    second = erase(lived_in)
    assert second["id"] != str(first)
    (model,) = second["models"]
    assert [t["rows_removed"] for t in model["tables"]] == [0, 0, 0]
    assert [model["datasets"], model["explanations"], model["baselines"], second["adapters"]] == [[], [], [], []]


@SQLITE_FIRST
def test_an_unfinished_erasure_of_other_models_is_not_widened(lived_in: Site) -> None:
    asked = ask(lived_in)
    with pytest.raises(erasure.ErasureUnderWayError, match=str(asked)), lived_in.database.write() as db:
        digest = lived_in.events.subject_digest(SUBJECT)
        erasure.request(db, subject=digest, models=["other"], actor="dpo", now=lived_in.clock.now())


@SQLITE_FIRST
def test_a_run_that_holds_the_rows_is_ended_and_its_process_told(lived_in: Site, clock: ManualClock) -> None:
    more = traffic().with_columns(event_id=pl.format("later-{}", "event_id"), ts=pl.col("ts") + pl.duration(days=2))
    declared = world.current(lived_in)
    clock.move_to(clock.now() + timedelta(days=3))
    lived_in.events.append_events(declared, more.drop("intent_true"), now=clock.now())
    lived_in.events.append_outcomes(declared, more.select("event_id", "intent_true"), now=clock.now())
    with lived_in.database.write() as db:
        considered = start_manual(lived_in, db, world.NAME, "ann", "again")
    assert considered.run is not None, considered.decision.reason
    begin(lived_in, considered.run.id)
    curate(lived_in, considered.run.id)
    with lived_in.database.write() as db:
        for job in db.scalars(select(Job).where(Job.name == "retrain.run")):
            job.state = "done"
    proof = erase(lived_in)
    assert proof["models"][0]["runs_closed"] == [str(considered.run.id)]
    with lived_in.database.read() as db:
        assert db.get_one(Run, considered.run.id).state == "failed"
    work = Workspace.of(lived_in.settings, considered.run.id)
    work.progress.write_text('{"phase": "train"}\n')
    with pytest.raises(RunClosedError):
        show_progress(lived_in, work)
    assert left(lived_in, MARKER) == []


@SQLITE_FIRST
def test_a_failed_erasure_says_why_and_goes_on_when_it_is_asked_for_again(lived_in: Site) -> None:
    artifact = next(d.digest for d in datasets(lived_in) if d.name == "seed")
    place = lived_in.artifacts.path(artifact)
    whole = place.read_bytes()
    place.write_bytes(b"x" + whole[1:])
    asked = ask(lived_in)
    drain(lived_in)
    with lived_in.database.read() as db:
        row = erasure.erasure(db, asked)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error.startswith("integrity_failure: artifact")
    place.write_bytes(whole)
    assert ask(lived_in) == asked
    drain(lived_in)
    assert proof_of(lived_in, asked)["models"][0]["events"] == len(HERS)
    assert left(lived_in, MARKER) == []


@SQLITE_FIRST
def test_it_is_not_shown_as_done_before_a_checkpoint_covers_its_proof(lived_in: Site) -> None:
    shown: list[tuple[str, bool]] = []

    def look(_: Session) -> None:
        with lived_in.database.read() as db:
            row, head = erasure.erasure(db, asked), latest_checkpoint(db)
        covered = row.done_entry is not None and head is not None and head.size > row.done_entry
        shown.append((row.state, covered))

    asked = ask(lived_in)
    event.listen(lived_in.database.writers, "after_commit", look)
    drain(lived_in)
    assert shown[-1] == ("done", True)
    assert ("done", False) not in shown


@SQLITE_FIRST
def test_one_whose_checkpoint_could_not_be_written_goes_on_with_the_proof_it_has(lived_in: Site) -> None:
    anchor = lived_in.settings.anchor_dir
    aside = anchor.with_name("aside")
    if anchor.exists():
        anchor.rename(aside)
    anchor.write_text("a file where the folder should be")
    asked = ask(lived_in)
    drain(lived_in)
    with lived_in.database.read() as db:
        row = erasure.erasure(db, asked)
    assert (row.state, row.completed_at) == ("failed", None)
    anchor.unlink()
    if aside.exists():
        aside.rename(anchor)
    assert ask(lived_in) == asked
    drain(lived_in)
    proof_of(lived_in, asked)
    with lived_in.database.read() as db:
        assert len(ledger_entries(db, ("erasure.done",))) == 1
        row, head = erasure.erasure(db, asked), latest_checkpoint(db)
    assert row.done_entry is not None
    assert head is not None
    assert head.size > row.done_entry
