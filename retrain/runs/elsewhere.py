"""Runs that other machines train: submit each once, watch it by its lease, submit it again when its machine is lost."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from core import engine
from core.db import insert_if_new
from core.errors import BusyError
from core.process import SETTINGS_PREFIX
from core.queue import Lease, Retry, end_lease
from core.settings import Settings
from monitor.site import Site
from retrain import store
from retrain.runs.hold import lease_name
from retrain.runs.hours import put_off
from retrain.runs.record import close_failed
from retrain.runs.steps import STEPS
from retrain.runs.stopped import pause_while_stopped

LOOK_S: Final = 5  # between two looks at a run that is elsewhere
AGAIN_S: Final = 60  # after a command that failed
SUBMIT_S: Final = 120  # that a command may take


class NotSubmittedError(BusyError):
    code = "not_submitted"


def look_after(site: Site, run_id: UUID) -> Retry | None:
    """Submit a run if nobody has it; None once it has ended or waits for a person.

    Raises:
        RunStoppedError: its model is stopped; whoever trains it stops by itself.
    """
    pause_while_stopped(site, run_id)
    if (opens := put_off(site, run_id)) is not None:
        return Retry(opens, "outside the allowed hours")
    now, settings = site.clock.now(), site.settings
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state not in STEPS:
            end_lease(db, _ticket(run_id))
            return None
        worked = db.get(Lease, lease_name(run_id), with_for_update=True)
        ticket = db.get(Lease, _ticket(run_id), with_for_update=True)
        if worked is not None and worked.until > now:
            return _later(now, LOOK_S, f"under way at {worked.holder.partition(':')[0]}")
        if worked is None and ticket is not None and ticket.until > now:
            return _later(now, LOOK_S, "submitted; it has not begun")
        if worked is not None:  # whoever had it is lost, and records nothing more
            db.delete(worked)
        times = int(ticket.holder) if ticket is not None else 0
        if times > settings.train.attempts:
            words = f"submitted {times} times, and not one of the jobs ended the run; look at the jobs of the queue"
            close_failed(site, db, run, "lost", words)
            end_lease(db, _ticket(run_id))
            return None
        _count(db, run_id, times + 1, now + timedelta(seconds=settings.train.wait_s))
    try:
        _submit(settings, run_id, times + 1)
    except BusyError as error:
        with site.database.write() as db:
            run = store.run(db, run_id, lock=True)
            if run.state in STEPS:  # a command that trains and then returns tells more by its code than we ask
                _count(db, run_id, times + 1, now + timedelta(seconds=AGAIN_S))
                if times >= settings.train.attempts:
                    close_failed(site, db, run, error.code, error.message)
        return _later(now, AGAIN_S, error.message)
    return _later(now, LOOK_S, "submitted; it has not begun")


def _ticket(run_id: UUID) -> str:
    return f"submitted:{run_id}"


def _count(db: Session, run_id: UUID, times: int, until: datetime) -> None:
    """Record that a run was submitted so many times; it is not submitted again until it was begun and lost, or then."""
    insert_if_new(db, Lease, {"name": _ticket(run_id), "holder": str(times), "until": until})
    row = db.get_one(Lease, _ticket(run_id), with_for_update=True, populate_existing=True)
    row.holder, row.until = str(times), until


def _later(now: datetime, seconds: int, reason: str) -> Retry:
    return Retry(now + timedelta(seconds=seconds), reason)


def _submit(settings: Settings, run_id: UUID, times: int) -> None:
    """Raises BusyError where nobody took the run."""
    if settings.train.runner == "ray":
        _to_ray(settings, run_id, times)
        return
    words = [word.replace("{run}", str(run_id)) for word in settings.train.command]
    # Settings hold secrets; the machine that trains has its own.
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(SETTINGS_PREFIX)}
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, no shell
            words, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SUBMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotSubmittedError(f"train.command: {error}", retry_after_s=AGAIN_S) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise NotSubmittedError(
            f"train.command: {words[0]} ended with {done.returncode}: {said}", retry_after_s=AGAIN_S
        )


def _to_ray(settings: Settings, run_id: UUID, times: int) -> None:
    """Start a detached actor that trains. It waits in the cluster until its resources are free, and ends itself."""
    where = settings.engine.model_copy(update={"kind": "ray"})
    with engine.connected(where):
        import ray

        asked = {"num_cpus": 1, "num_gpus": settings.train.num_gpus}
        actor = ray.remote(_OnCluster).options(
            name=f"assay-run-{run_id}-{times}", namespace="assay", lifetime="detached", max_restarts=0, **asked
        )
        actor.remote(str(run_id))


class _OnCluster:
    """Takes one run to its end in its own process and ends with it; the node has its own `ASSAY_*` settings.

    All is done at its creation: what else an actor is asked to do waits in the process that asks, which is gone.
    """

    def __init__(self, run_id: str) -> None:
        subprocess.run([sys.executable, "-P", "-m", "api.cli", "train", run_id], check=False)  # noqa: S603 - our own
        os._exit(0)
