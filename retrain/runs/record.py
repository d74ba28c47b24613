"""Record the progress, the failure and the end of a run."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.errors import RunClosedError
from retrain.registry.versions import reject_candidate
from retrain.runs.workspace import Workspace, last_line
from retrain.tables import Run


def close_failed(site: Site, db: Session, run: Run, code: str, words: str) -> None:
    run.state, run.error, run.finished_at = "failed", words, site.clock.now()
    reject_candidate(site, db, run)
    record_run(site, db, run, "run.failed", SYSTEM_ACTOR, {"code": code, "attempts": run.attempts})


def record_run(site: Site, db: Session, run: Run, kind: str, actor: str, body: Mapping[str, Any]) -> None:
    """Append a ledger entry about a run. `run.error` and trainer output may quote data, so they stay out of it."""
    model = db.get_one(Model, run.model_id)
    full = {"model": model.name, "candidate": run.candidate_version, "champion": run.champion_version, **body}
    append_entry(db, kind=kind, actor=actor, subject=f"run:{run.id}", body=full, at=site.clock.now())


def show_progress(site: Site, work: Workspace) -> None:
    """Copy the newest progress line of a run's process to its row.

    Raises:
        RunClosedError: the run has ended meanwhile; the caller that waits for the process must stop it.
    """
    line = last_line(work.progress)
    if line is None:
        return
    try:
        with site.database.write() as db:
            run = store.run(db, work.run_id)
            if run.progress != line:
                run.progress = line
            if run.state in store.FINAL_STATES:
                raise RunClosedError(run.id, run.state)
    except OperationalError:  # progress display must not fail hours of training; the next second tries again
        return
