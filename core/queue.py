"""The jobs table: the single source of truth about background work.

A job is enqueued in the transaction that makes it necessary, claimed under a lease, and safe to run twice. A worker
that dies stops renewing its lease, and another worker claims the job.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, get_args
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Index,
    Select,
    String,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.db import Base, Keyed, UtcDateTime, insert_if_new
from core.jobs import RECURRING, Lane, Payload

STATES = ("queued", "running", "done", "failed")
LANES: Final[tuple[str, ...]] = get_args(Lane)
MAX_LOST = 5  # a job that killed its worker this often fails; otherwise it would kill every worker in turn
FIRST_BACKOFF: Final = timedelta(minutes=1)  # after a job was stopped, four times as long with each stop
LONGEST_BACKOFF: Final = timedelta(hours=6)

_TRIES: Final = 3
MAX_CLOCK_SKEW: Final = timedelta(minutes=1)  # between the clocks of two processes

SCHEDULER: Final = "scheduler"  # the lease of the process that ticks


class Job(Keyed, Base):
    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"state in {STATES}", name="state"),
        CheckConstraint(f"lane in {LANES}", name="lane"),
        # At most one waiting job per key: enqueueing "evaluate model m" a hundred times leaves one.
        Index(
            "uq_job_waiting",
            "dedupe_key",
            unique=True,
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "uq_job_lock",
            "lock_key",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index("ix_job_state_run_at", "state", "lane", "run_at"),
    )

    name: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str] = mapped_column(String(16), default="default")
    payload: Mapped[dict[str, Any]]
    dedupe_key: Mapped[str | None] = mapped_column(String(200))
    lock_key: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16), default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    lost: Mapped[int] = mapped_column(default=0)  # attempts whose worker vanished
    run_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(100))
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Lease(Base):
    """A named right held by one process at a time (the scheduler's tick)."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    until: Mapped[datetime]
    last_at: Mapped[datetime | None]  # when the holder last did the leased work
    since: Mapped[datetime | None]  # start of the current unbroken period of that work, by any holder


@dataclass(frozen=True, slots=True)
class Retry:
    """A job returns this to run again."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this worker has claimed, with what it needs to run it."""

    id: UUID
    name: str
    payload: Mapping[str, Any]
    attempts: int
    created_at: datetime
    lost: int = 0

    @property
    def work(self) -> str:
        """What recurs under other ids: the same kind of job about the same model."""
        return f"{self.name} {self.payload.get('model') or ''}"


def enqueue(
    db: Session,
    payload: Payload,
    *,
    now: datetime,
    run_at: datetime | None = None,
    dedupe_key: str | None = None,
    lock_key: str | None = None,
) -> None:
    """Add a job in the caller's transaction. Does nothing if a job with the same `dedupe_key` is waiting.

    `lock_key`: at most one job with this key runs at a time.
    """
    row = Job(
        name=payload.name, payload=payload.model_dump(mode="json", exclude_none=True), lane=payload.lane,
        run_at=run_at or now, dedupe_key=dedupe_key, lock_key=lock_key, state="queued", created_at=now, attempts=0,
        lost=0,
    )  # fmt: skip
    if dedupe_key is None:
        db.add(row)
        return
    values = {c.key: getattr(row, c.key) for c in Job.__table__.columns if c.key != "id"}
    insert_if_new(db, Job, values)


# Built once and from tables, not mapped objects, because workers run this query many times a second.
_TABLE: Final = Base.metadata.tables["job"]
_OTHER: Final = _TABLE.alias()
_NOW: Final = bindparam("now", type_=UtcDateTime())
_RUNNABLE: Final = (
    select(_TABLE)
    .where(
        or_(
            and_(_TABLE.c.state == "queued", _TABLE.c.run_at <= _NOW),
            and_(_TABLE.c.state == "running", _TABLE.c.lease_until < _NOW),
        ),
        _TABLE.c.lane.in_(bindparam("lanes", expanding=True)),
        ~exists().where(
            _OTHER.c.lock_key == _TABLE.c.lock_key, _OTHER.c.id != _TABLE.c.id, _OTHER.c.state == "running"
        ),
    )
    .order_by(_TABLE.c.run_at, _TABLE.c.created_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)


_MODEL: Final = func.coalesce(_TABLE.c.payload["model"].as_string(), "")
_WORK: Final = _TABLE.c.name + " " + _MODEL


@dataclass(frozen=True, slots=True)
class Choice:
    """Which jobs a worker takes; all if nothing is said.

    Attributes:
        names, works: only jobs of these names, or of this work (`Claimed.work`).
        but: work that is left to others.
        busy: models whose jobs are left to others.
    """

    names: Collection[str] = ()
    works: Collection[str] = ()
    but: Collection[str] = ()
    busy: Collection[str] = ()


@lru_cache(maxsize=16)
def _runnable(chosen: bool, but: bool, busy: bool) -> Select[Any]:
    query = _RUNNABLE
    if chosen:
        of = _TABLE.c.name.in_(bindparam("names", expanding=True)), _WORK.in_(bindparam("works", expanding=True))
        query = query.where(or_(*of))
    if but:
        query = query.where(_WORK.not_in(bindparam("but", expanding=True)))
    if busy:
        query = query.where(_MODEL.not_in(bindparam("busy", expanding=True)))
    return query


def _asked(choice: Choice | None, now: datetime, lanes: Sequence[str]) -> tuple[Select[Any], dict[str, Any]]:
    choice = choice or Choice()
    query = _runnable(bool(choice.names or choice.works), bool(choice.but), bool(choice.busy))
    bounds: dict[str, Any] = {"now": now, "lanes": list(lanes)}
    if choice.names or choice.works:
        bounds |= {"names": list(choice.names), "works": list(choice.works)}
    bounds |= {"but": list(choice.but)} if choice.but else {}
    bounds |= {"busy": list(choice.busy)} if choice.busy else {}
    return query, bounds


def is_any_runnable(db: Session, *, now: datetime, lanes: Sequence[str], choice: Choice) -> bool:
    """Whether `claim` may find a job. A reader can ask without waiting for those who write."""
    query, bounds = _asked(choice, now, lanes)
    return db.execute(query, bounds).first() is not None


def under_way(db: Session, name: str, *, now: datetime) -> set[str]:
    """Models about which a job of this name runs or is due."""
    due = or_(_TABLE.c.state == "running", and_(_TABLE.c.state == "queued", _TABLE.c.run_at <= now))
    return set(db.scalars(select(_MODEL).where(_TABLE.c.name == name, due)))


def claim(
    db: Session, *, worker: str, now: datetime, lease_s: int, lanes: Sequence[str] = LANES, choice: Choice | None = None
) -> Claimed | None:
    """Take the oldest runnable job of the choice: queued and due, or running under an expired lease."""
    query, bounds = _asked(choice, now, lanes)
    while (job := db.execute(query, bounds).first()) is not None:
        lost = job.lost + (job.state == "running")
        if lost < MAX_LOST:
            break
        reason = f"its worker vanished {lost} times; the last was {job.worker}"
        db.execute(_of(job.id).values(lost=lost, **_ended(now, reason)))
    else:
        return None
    taken = _of(job.id).values(
        state="running", worker=worker, lease_until=now + timedelta(seconds=lease_s), attempts=job.attempts + 1,
        lost=lost,
    )  # fmt: skip
    try:
        with db.begin_nested():
            db.execute(taken)
    except IntegrityError:  # another worker claimed a job with the same lock key at the same moment
        return None
    return Claimed(job.id, job.name, job.payload, job.attempts + 1, job.created_at, lost)


def renew(db: Session, job_id: UUID, *, worker: str, now: datetime, lease_s: int) -> bool:
    """Extend the lease; False when the job was taken over by another worker."""
    return _changed(db, _of(job_id, worker).values(lease_until=now + timedelta(seconds=lease_s)))


def _of(job_id: UUID, worker: str | None = None) -> Update:
    """An UPDATE of one job; with `worker`, only while that worker holds the job."""
    held = () if worker is None else (_TABLE.c.worker == worker, _TABLE.c.state == "running")
    return update(_TABLE).where(_TABLE.c.id == job_id, *held)


def _ended(now: datetime, error: str | None) -> dict[str, Any]:
    return {"state": "failed" if error else "done", "error": error, "finished_at": now, "lease_until": None}


def _changed(db: Session, change: Update) -> bool:
    return bool(db.execute(change).rowcount)  # type: ignore[attr-defined]  # a CursorResult for an UPDATE


def finish(db: Session, job_id: UUID, *, now: datetime, worker: str | None = None, error: str | None = None) -> bool:
    """Record the end of a job. False, and no change, if `worker` is given and no longer holds the job."""
    return _changed(db, _of(job_id, worker).values(**_ended(now, error)))


def postpone(db: Session, job_id: UUID, retry: Retry, *, worker: str | None = None) -> bool:
    """Queue a job again. False, and no change, if `worker` is given and no longer holds the job."""
    # The job gives up its dedupe key, because a newer waiting job may hold it.
    waiting = {"state": "queued", "run_at": retry.at, "error": retry.reason, "lease_until": None, "dedupe_key": None}
    return _changed(db, _of(job_id, worker).values(**waiting))


def put_off(db: Session, job: Claimed, reason: str, *, worker: str, now: datetime) -> datetime | None:
    """Queue a job again whose process was stopped or died, later with each time; returns when it is due.

    A job that recurs keeps its place: until then no other is queued with its key. Any other fails the second time,
    and then the answer is None.
    """
    row = db.get_one(Job, job.id, with_for_update=True, populate_existing=True)
    if (row.worker, row.state) != (worker, "running"):
        return row.run_at  # another worker has it
    row.lost = min(job.lost + 1, MAX_LOST - 1)
    if job.lost and job.name not in RECURRING:
        db.execute(_of(job.id, worker).values(lost=row.lost, **_ended(now, reason)))
        return None
    key = row.dedupe_key or row.lock_key
    at = now + min(FIRST_BACKOFF * (1 << 2 * (row.lost - 1)), LONGEST_BACKOFF)
    waiting = {"state": "queued", "run_at": at, "error": reason, "lease_until": None, "dedupe_key": key}
    for _ in range(_TRIES):
        if key is not None:  # what was queued meanwhile asks for the same
            db.execute(delete(Job).where(Job.dedupe_key == key, Job.state == "queued"))
        with suppress(IntegrityError), db.begin_nested():  # the same was asked for at this moment
            db.execute(_of(job.id, worker).values(lost=row.lost, **waiting))
            return at
    postpone(db, job.id, Retry(at, reason), worker=worker)  # it is waiting already, with the key
    return at


def hurry(db: Session, key: str, now: datetime) -> None:
    """Let work that was put off run now, because what it depends on has changed."""
    db.execute(update(_TABLE).where(_TABLE.c.dedupe_key == key, _TABLE.c.state == "queued").values(run_at=now, lost=0))


def forget(db: Session, *, done_before: datetime, failed_before: datetime) -> int:
    """Delete jobs that ended before these times, and return how many. Evaluations alone can reach a million a day."""
    ended = or_(
        and_(Job.state == "done", Job.finished_at < done_before),
        and_(Job.state == "failed", Job.finished_at < failed_before),
    )
    gone = db.execute(delete(Job).where(ended))
    return int(gone.rowcount)  # type: ignore[attr-defined]  # a CursorResult for a DELETE


def hold_lease(db: Session, name: str, *, holder: str, now: datetime, seconds: float) -> bool:
    """Take or renew a named lease. False while another holder's lease has not expired.

    A lease that ends later than one taken now could is left over from a time before the clock was set back. It counts
    as expired.
    """
    lease = db.get(Lease, name, with_for_update=True)
    if lease is None:
        insert_if_new(db, Lease, {"name": name, "holder": holder, "until": now})
        lease = db.get_one(Lease, name, with_for_update=True, populate_existing=True)
    if lease.holder != holder and now < lease.until <= now + timedelta(seconds=seconds) + MAX_CLOCK_SKEW:
        return False
    lease.holder, lease.until = holder, now + timedelta(seconds=seconds)
    return True


def keep_lease(db: Session, name: str, *, holder: str, now: datetime, seconds: float) -> bool:
    """Extend a named lease. False if another holder has it, or nobody: who lost it does not get it back this way."""
    held = update(Lease).where(Lease.name == name, Lease.holder == holder)
    change = held.values(until=now + timedelta(seconds=seconds)).execution_options(synchronize_session=False)
    return _changed(db, change)


def holds_lease(db: Session, name: str, holder: str) -> bool:
    """Whether a named lease is still this holder's; nobody else can take it before the transaction ends."""
    of = select(Lease.holder).where(Lease.name == name).with_for_update()
    return db.scalar(of) == holder


def end_lease(db: Session, name: str, holder: str | None = None) -> None:
    """Give a named lease back, if it is still this holder's; without a holder whoever has it."""
    of = delete(Lease).where(Lease.name == name)
    db.execute(of if holder is None else of.where(Lease.holder == holder))


def clock_set_back(db: Session, now: datetime, before: datetime) -> None:
    """Let jobs that were queued or claimed before the clock was set back run when they would have.

    Args:
        now: by the clock as it is.
        before: the latest time by the clock as it was.
    """
    by = before - now
    for job in db.scalars(select(Job).where(Job.state == "queued", Job.run_at > now)):
        job.run_at = max(now, job.run_at - by)
    for job in db.scalars(select(Job).where(Job.state == "running", Job.lease_until > now)):
        assert job.lease_until is not None  # the query asked for it
        job.lease_until = max(now, job.lease_until - by)
