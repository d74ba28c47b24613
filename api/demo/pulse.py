"""Whether the demo's service goes on: a wait ends when nothing moves any more, however slow the machine is."""

from collections.abc import Hashable
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from core.db import Database
from core.jobs import EvaluateJob
from core.queue import Job
from core.settings import QueueSettings
from governance.ledger.read import ledger_size
from retrain.tables import Run

# Longer than any pause between two signs of life: a running job renews its lease every ten seconds.
STILL_S: Final = 300.0
LEASE: Final = timedelta(seconds=QueueSettings().lease_s)


def read_pulse(home: Path) -> Hashable:
    """What changes while work is done: jobs by state, leases renewed, steps of a run, entries of the ledger.

    The scheduler asks for an evaluation every half minute, whatever happens: one that found nothing is no sign.
    """
    database = Database(f"sqlite:///{home / 'assay.db'}")
    try:
        with database.read() as db:
            states = select(Job.name, Job.state, func.count(), func.sum(Job.attempts)).where(
                Job.name != EvaluateJob.name
            )
            jobs = sorted(tuple(row) for row in db.execute(states.group_by(Job.name, Job.state)))
            running = db.execute(select(Job.id, Job.name, Job.run_at, Job.lease_until).where(Job.state == "running"))
            renewed = sorted(
                (str(job.id), str(job.lease_until))
                for job in running
                if job.name != EvaluateJob.name or job.lease_until > job.run_at + LEASE
            )
            steps = [str(progress) for progress in db.scalars(select(Run.progress))]
            return (tuple(jobs), tuple(renewed), tuple(steps), ledger_size(db))
    finally:
        database.dispose()
