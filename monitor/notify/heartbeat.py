"""The heartbeat: an outside monitor is asked for as long as windows are really judged, and hears when that stops."""

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.bounded_http import UnreachableError, request
from core.jobs import EvaluateJob
from core.queue import SCHEDULER, Job, Lease
from monitor.tables import Model

# The scheduler requests an evaluation of each model every 30 s; a long one of a history may take minutes.
STUCK_AFTER: Final = timedelta(minutes=5)
LIMIT_S: Final = 10.0


def works(db: Session, now: datetime) -> bool:
    """Whether the scheduler ticks, and a worker has ended an evaluation lately if there is a model to evaluate."""
    lease = db.get(Lease, SCHEDULER)
    if lease is None or lease.last_at is None or now - lease.last_at > STUCK_AFTER:
        return False
    if db.scalar(select(func.min(Model.created_at)).where(Model.created_at < now - STUCK_AFTER)) is None:
        return True  # nothing to evaluate, or so new that none has ended yet
    query = select(func.max(Job.finished_at)).where(Job.name == EvaluateJob.name, Job.state == "done")
    ended = db.scalar(query)
    if ended is None:
        return lease.since is not None and now - lease.since < STUCK_AFTER  # it has just started
    return now - ended < STUCK_AFTER or (lease.since is not None and now - lease.since < STUCK_AFTER)


def beat(url: SecretStr) -> str | None:
    """Ask for the outside monitor; returns why it did not answer as it should, in words that show no address."""
    address = url.get_secret_value()
    host = urlsplit(address).netloc.rpartition("@")[2]
    try:
        answer = request(
            "GET", address, {"Host": host, "User-Agent": "Assay", "Connection": "close"}, b"", limit_s=LIMIT_S
        )
    except UnreachableError as error:
        return str(error)
    return None if 200 <= answer.status < 300 else f"answered {answer.status}"
