"""What else a model's work leaves of a row: explanations, unfinished runs, waiting jobs, files of killed processes."""

import shutil
from pathlib import Path
from typing import Any, Final

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.held_folder import is_abandoned
from core.jobs import JOBS, ConfirmJob, EvaluateJob, ExplainJob, ReasonsJob, ReportJob
from core.queue import Job
from governance import erasure
from governance.binding.session import because_of_erasure
from governance.erasure import Case
from monitor import store as monitored
from monitor.site import Site
from monitor.tables import Dataset, Explanation, ExplanationBlock
from retrain import store
from retrain.erasure.datasets import touched
from retrain.explain.blocks import erase_from_blocks
from retrain.runs.record import close_failed
from retrain.runs.workspace import Workspace
from retrain.tables import AttributionReference, DecisionReasons, ExplanationBatch, Run

# Jobs that read rows and write down what they made of them.
READERS: Final = (
    EvaluateJob.name, ConfirmJob.name, ReportJob.name,
    *(name for name, job in JOBS.items() if job.lane == ExplainJob.lane),
)  # fmt: skip


def closed_words(case: Case) -> str:
    return f"rows of its datasets were erased (erasure {case.id}); a new run learns without them"


def erase_explanations(site: Site, case: Case) -> None:
    """Delete the explanations and reasons of erased events: their words and numbers are the person's."""
    with site.database.write() as db:
        ids = set(erasure.remembered(db, case, "ids"))
        rows = [row for row in _explanations(db, case) if row.event_id in ids]
        blocks = erase_from_blocks(site, db, case, monitored.model(db, case.model), ids)
        erasure.remember(db, case, "explanations", {row.artifact: row.version for row in rows} | blocks)
    with site.database.read() as db:
        doomed = erasure.remembered(db, case, "explanations")
        going = {row.id for row in rows}
        kept = {row.artifact for row in _about_events(db) if row.id not in going}
        kept |= set(db.scalars(select(ExplanationBlock.artifact)))
    for artifact in doomed:
        if artifact not in kept:  # equal texts are explained by equal bytes; another person's stay
            site.artifacts.delete(artifact)
    with site.database.write() as db:
        because_of_erasure(db, case.id)
        for row in _explanations(db, case):
            if row.event_id in ids:
                db.delete(row)
        for flip in store.flips(db, monitored.model(db, case.model).id, limit=None):
            without = [{**t, "examples": [e for e in t["examples"] if e["event_id"] not in ids]}
                       for t in flip.document["tests"]]  # fmt: skip
            if without != flip.document["tests"]:
                flip.document = {**flip.document, "tests": without}


def _explanations(db: Session, case: Case) -> list[Explanation | DecisionReasons]:
    model = monitored.model(db, case.model)
    return [row for row in _about_events(db) if row.model_id == model.id]


def _about_events(db: Session) -> list[Explanation | DecisionReasons]:
    return [*db.scalars(select(Explanation)), *db.scalars(select(DecisionReasons))]


def erase_attributions(site: Site, case: Case) -> None:
    """Delete attributions of a reference, which may hold those of erased rows; they are computed again when needed."""
    with site.database.write() as db:
        because_of_erasure(db, case.id)
        model = monitored.model(db, case.model)
        rows = db.scalars(select(AttributionReference).where(AttributionReference.model_id == model.id)).all()
        erasure.remember(db, case, "attributions", {row.artifact: row.version for row in rows})
        for row in rows:
            db.delete(row)
    with site.database.read() as db:
        doomed = erasure.remembered(db, case, "attributions")
        kept = set(db.scalars(select(AttributionReference.artifact)))
    for artifact in doomed:
        if artifact not in kept:
            site.artifacts.delete(artifact)


def close_runs(site: Site, case: Case) -> None:
    """End unfinished runs whose datasets held erased rows, and runs that are just choosing their rows.

    Raises:
        RunLockedError: a worker is still at such a run; it stops at its next look, so try again.
    """
    with site.database.read() as db:
        model = monitored.model(db, case.model)
        ids = {row.run_id for row in touched(db, case)}
        unfinished = [r for r in store.runs(db, model.id) if r.state not in store.FINAL_STATES]
        doomed = [r.id for r in unfinished if r.id in ids or r.state == "curating"]
        closed = [r.id for r in store.runs(db, model.id) if r.error == closed_words(case)]
    for run_id in doomed:
        with site.database.write() as db:
            run = store.run(db, run_id, lock=True)
            if run.state not in store.FINAL_STATES:
                close_failed(site, db, run, "erased", closed_words(case))
    for run_id in (*doomed, *closed):
        work = Workspace.of(site.settings, run_id)
        with work.held():
            work.tidy()


def closed_runs(db: Session, case: Case) -> list[str]:
    model = monitored.model(db, case.model)
    return sorted(str(r.id) for r in store.runs(db, model.id) if r.error == closed_words(case))


def readers_under_way(site: Site, case: Case) -> int:
    """Jobs that may still hold rows they read before these went, and write them down: those running at first asking."""
    with site.database.write() as db:
        running = db.scalars(select(Job).where(Job.state == "running", Job.name.in_(READERS))).all()
        asked = erasure.remembered(db, case, "readers")
        now = {str(job.id): job.attempts for job in running}
        if not asked:
            asked = {**now, "": 0}  # never empty, so the question is asked only once
            erasure.remember(db, case, "readers", asked)
        return sum(now.get(job) == attempts for job, attempts in asked.items())


def scrub_jobs(site: Site, case: Case) -> None:
    """Take the event ids out of jobs that were to explain them, and the waiting ones out of the line."""
    with site.database.write() as db:
        ids = set(erasure.remembered(db, case, "ids"))
        for job in db.scalars(select(Job).where(Job.name.in_((ExplainJob.name, ReasonsJob.name)))):
            if job.payload.get("model") == case.model and job.payload.get("event_id") in ids:
                job.payload, job.dedupe_key = {"model": case.model, "erasure": str(case.id)}, None
                if job.state == "queued":
                    job.state, job.finished_at = "done", site.clock.now()
                elif job.state == "failed":
                    job.error = "the event was erased"
        model = monitored.model(db, case.model)
        for batch in db.scalars(select(ExplanationBatch).where(ExplanationBatch.model_id == model.id)):
            if ids & {*(batch.asked["event_ids"] or ())}:
                batch.asked = batch.asked | {"event_ids": [i for i in batch.asked["event_ids"] if i not in ids]}


def erase_leftovers(site: Site, case: Case) -> None:
    """Delete what killed processes left: explainers' folders, and artifacts of rows that no record names."""
    for folder in (site.settings.home_dir / "runs").glob("explain-*"):
        if is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    with site.database.read() as db:
        ids = list(erasure.remembered(db, case, "ids"))
        named = set(db.scalars(select(Dataset.digest)))
        named |= {str((run.evaluation or {}).get("predictions")) for run in db.scalars(select(Run))}
    for path in site.artifacts.root.glob("??/*"):
        digest = f"sha256:{path.name}"
        if digest not in named and path.is_file() and _holds_ids(path, ids):
            site.artifacts.delete(digest)


def _holds_ids(path: Path, ids: list[str]) -> bool:
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return False
    columns = [c for c in pl.read_parquet_schema(path) if c in ("row_id", "event_id")]
    if not columns:
        return False
    found = pl.any_horizontal(pl.col(c).cast(pl.String).is_in(ids) for c in columns)
    return bool(pl.scan_parquet(path, glob=False).select(found.any()).collect().item())


def traces_proof(site: Site, case: Case) -> dict[str, Any]:
    with site.database.read() as db:
        explained = erasure.remembered(db, case, "explanations")
        runs = closed_runs(db, case)
    return {
        "explanations": [{"version": explained[digest], "digest": digest} for digest in sorted(explained)],
        "runs_closed": runs,
    }
