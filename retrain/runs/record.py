"""Record the progress, the failure and the end of a run."""

from collections.abc import Mapping
from typing import Any, Final

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

SERIES: Final = 160  # points of the course of a training that its row keeps


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
    """Copy the newest progress line of a run's process to its row, with the course of its training so far.

    Raises:
        RunClosedError: the run has ended meanwhile; the caller that waits for the process must stop it.
    """
    line = last_line(work.progress)
    if line is None:
        return
    try:
        with site.database.write() as db:
            run = store.run(db, work.run_id)
            shown = with_series(line, run.progress)
            if run.progress != shown:
                run.progress = shown
            if run.state in store.FINAL_STATES:
                raise RunClosedError(run.id, run.state)
    except OperationalError:  # progress display must not fail hours of training; the next second tries again
        return


def with_series(line: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """A progress line with `series`, the points `[step, loss, bytes]` of this training that were seen so far.

    Of more than SERIES points every second one goes. A step that lies before the last begins another training, and its
    series anew. Once the training has ended, its record has the whole course.
    """
    if line.get("phase") != "train" or line.get("step") is None:
        return dict(line)
    seen = list((before or {}).get("series") or ())
    step = line["step"]
    if seen and step < seen[-1][0]:
        seen = []
    if not seen or step > seen[-1][0]:
        seen.append([step, line.get("loss"), line.get("bytes")])
    return {**line, "series": seen[::-2][::-1] if len(seen) > SERIES else seen}
