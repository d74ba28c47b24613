"""Who works at a run: one worker at a time, on whichever machine.

A worker holds a run by a lease in the database, under a name that is new each time. While it holds the run, each of
its transactions first makes sure that the lease is still its own, so that a worker that lost it records nothing more.
Its processes die by themselves before another worker can take the lease, even if this one is stopped or cut off from
the database. The clocks of the machines must agree within a quarter of `queue.lease_s`.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.db import Database
from core.process import write_until
from core.queue import end_lease, hold_lease, holds_lease, keep_lease
from monitor.site import Site
from retrain.errors import LeaseLostError, RunLockedError
from retrain.runs.workspace import Workspace

RENEWALS: Final = 6  # in the time of a lease
LIFE: Final = 0.75  # share of a lease that a process outlives its last renewal by


def lease_name(run_id: UUID) -> str:
    return f"run:{run_id}"


class _Owned(Database):
    """The database as the holder of a run uses it: a transaction that writes is the holder's, or is not begun."""

    def __init__(self, whole: Database, run_id: UUID, holder: str) -> None:
        self.__dict__.update(whole.__dict__)  # the same engine and sessions
        self._run_id, self.holder = run_id, holder

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as db:
            if not holds_lease(db, lease_name(self._run_id), self.holder):
                raise LeaseLostError(self._run_id)
            yield db


def until_of(site: Site, work: Workspace) -> Path:
    """The file that says how long processes of a run live, for the worker that holds it with this installation."""
    assert isinstance(site.database, _Owned), "only who holds a run may start its processes"
    return work.until(site.database.holder.rpartition(":")[2])


@contextmanager
def held(site: Site, work: Workspace) -> Iterator[Site]:
    """Hold a run; gives the installation as its holder uses it.

    Raises:
        RunLockedError: another worker holds it.
    """
    run_id, holder = work.run_id, f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex}"
    name, lease_s = lease_name(run_id), site.settings.queue.lease_s
    with work.held():
        begun = time.monotonic()
        with site.database.write() as db:
            if not hold_lease(db, name, holder=holder, now=site.clock.now(), seconds=lease_s):
                raise RunLockedError(run_id)
        own = replace(site, database=_Owned(site.database, run_id, holder))
        until = until_of(own, work)
        for left in work.folder.glob("until*"):  # of a holder that was lost: what it started ends with it
            left.unlink(missing_ok=True)
        write_until(until, begun + LIFE * lease_s)
        done = threading.Event()
        arguments = (site, name, holder, until, done)
        heart = threading.Thread(target=_keep, args=arguments, name="run-lease", daemon=True)
        heart.start()
        try:
            yield own
        finally:
            done.set()
            heart.join()
            until.unlink(missing_ok=True)
            with suppress(SQLAlchemyError), site.database.write() as db:  # else it ends by itself
                end_lease(db, name, holder)


def _keep(site: Site, name: str, holder: str, until: Path, done: threading.Event) -> None:
    """Renew the lease until the work is done. When it is lost, the processes of the run end at once."""
    lease_s = site.settings.queue.lease_s
    while not done.wait(lease_s / RENEWALS):
        begun = time.monotonic()
        with suppress(SQLAlchemyError, OSError):  # tried again soon; meanwhile the time runs
            with site.database.write() as db:
                kept = keep_lease(db, name, holder=holder, now=site.clock.now(), seconds=lease_s)
            write_until(until, begun + LIFE * lease_s if kept else 0.0)
            if not kept:
                return
