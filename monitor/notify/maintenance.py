"""Maintenance windows: alarms within them are recorded, and announced only if they last."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from core.errors import ConflictError, InvalidError, NotFoundError
from governance.ledger.append import append_entry
from monitor import store
from monitor.notify.tables import Maintenance
from monitor.site import Site
from monitor.tables import Model

LONGEST: Final = timedelta(days=30)  # a longer silence is a decision about the monitor, which belongs into the spec


class MaintenanceNotFoundError(NotFoundError):
    code = "maintenance_not_found"


class MaintenanceOverError(ConflictError):
    code = "maintenance_over"


def declare(
    site: Site, db: Session, model: str | None, from_ts: datetime, to_ts: datetime, reason: str, actor: str
) -> Maintenance:
    """Declare a time in which alarms are not announced; None is for all models.

    Raises:
        ModelNotFoundError: no model has this name.
        InvalidError: it ends before it begins, lies in the past or is longer than 30 days.
    """
    now = site.clock.now()
    about = store.model(db, model) if model is not None else None
    if to_ts <= from_ts:
        raise InvalidError(f"to is {to_ts.isoformat()}, not after from {from_ts.isoformat()}", field="to")
    if to_ts <= now:
        raise InvalidError(f"to is {to_ts.isoformat()}, which is over; alarms of then were announced", field="to")
    if to_ts - max(from_ts, now) > LONGEST:
        raise InvalidError(
            f"to is {to_ts.isoformat()}: at most {LONGEST.days} days from now or from the beginning; declare the rest "
            "later, or change the spec",
            field="to",
        )
    row = Maintenance(
        model_id=about.id if about else None, from_ts=from_ts, to_ts=to_ts, reason=reason, created_at=now,
        created_by=actor,
    )  # fmt: skip
    db.add(row)
    db.flush()
    _record(site, db, "maintenance.declared", row, about, actor)
    return row


def end(site: Site, db: Session, maintenance_id: UUID, actor: str) -> Maintenance:
    """End one early, or cancel it before it begins.

    Raises:
        MaintenanceNotFoundError: none has this id.
        MaintenanceOverError: it is over.
    """
    row = db.get(Maintenance, maintenance_id, with_for_update=True)
    if row is None:
        raise MaintenanceNotFoundError(f"maintenance {maintenance_id} does not exist", maintenance=str(maintenance_id))
    now = site.clock.now()
    if row.to_ts <= now:
        raise MaintenanceOverError(f"maintenance {maintenance_id} ended {row.to_ts.isoformat()}")
    row.from_ts = min(row.from_ts, now - timedelta(microseconds=1))
    row.to_ts, row.ended_by = now, actor
    about = db.get_one(Model, row.model_id) if row.model_id else None
    _record(site, db, "maintenance.ended", row, about, actor)
    return row


def _record(site: Site, db: Session, kind: str, row: Maintenance, about: Model | None, actor: str) -> None:
    subject = f"model:{about.name}" if about else "installation"
    body = {"maintenance": row.id, "from": row.from_ts, "to": row.to_ts}
    append_entry(db, kind=kind, actor=actor, subject=subject, body=body, at=site.clock.now())


def listed(db: Session, *, since: datetime) -> Sequence[Maintenance]:
    """Those that end after a time, in order of their beginning."""
    return db.scalars(select(Maintenance).where(Maintenance.to_ts > since).order_by(Maintenance.from_ts)).all()


def at(db: Session, model_id: UUID | None, moment: datetime) -> Maintenance | None:
    """The one that a moment of a model lies in; of several, the one that lasts longest."""
    return _longest(db, model_id, moment, moment)


def around(db: Session, model_id: UUID | None, from_ts: datetime, to_ts: datetime) -> Maintenance | None:
    """One that a whole period lies in."""
    return _longest(db, model_id, from_ts, to_ts)


def within(db: Session, model_id: UUID | None, from_ts: datetime, to_ts: datetime) -> Sequence[Maintenance]:
    """Those that share some time with a period."""
    query = select(Maintenance).where(
        _concerns(model_id), Maintenance.from_ts < to_ts, Maintenance.to_ts > from_ts,
    )  # fmt: skip
    return db.scalars(query.order_by(Maintenance.from_ts)).all()


def _longest(db: Session, model_id: UUID | None, from_ts: datetime, to_ts: datetime) -> Maintenance | None:
    inside = Maintenance.to_ts > to_ts if from_ts == to_ts else Maintenance.to_ts >= to_ts
    query = select(Maintenance).where(_concerns(model_id), Maintenance.from_ts <= from_ts, inside)
    return db.scalars(query.order_by(Maintenance.to_ts.desc()).limit(1)).first()


def _concerns(model_id: UUID | None) -> ColumnElement[bool]:
    return or_(Maintenance.model_id.is_(None), Maintenance.model_id == model_id)
