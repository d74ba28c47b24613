"""Whether the demo's service goes on: a wait ends when nothing moves any more, however slow the machine is."""

from collections.abc import Hashable
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from core.db import Database
from core.queue import Job
from governance.ledger.read import ledger_size
from retrain.tables import Run

# Longer than any pause between two signs of life: a running job renews its lease every ten seconds.
STILL_S: Final = 300.0


def read_pulse(home: Path) -> Hashable:
    """What changes while work is done: jobs by state, leases renewed, steps of a run, entries of the ledger."""
    database = Database(f"sqlite:///{home / 'assay.db'}")
    try:
        with database.read() as db:
            jobs = db.execute(
                select(Job.name, Job.state, func.count(), func.sum(Job.attempts)).group_by(Job.name, Job.state)
            )
            renewed = db.scalar(select(func.max(Job.lease_until)).where(Job.state == "running"))
            steps = [str(progress) for progress in db.scalars(select(Run.progress))]
            return (tuple(sorted(tuple(row) for row in jobs)), renewed, tuple(steps), ledger_size(db))
    finally:
        database.dispose()
