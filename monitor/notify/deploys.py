"""Deploy markers: when which version was put into service, as a pipeline reports it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db import insert_if_new
from core.errors import InvalidError
from governance.binding.session import bind_rows
from governance.ledger.append import append_entry
from monitor import store
from monitor.notify.tables import Deploy
from monitor.site import Site

AHEAD: Final = timedelta(hours=1)  # clocks differ; what lies further ahead is a mistake
LOOK_BACK: Final = timedelta(days=2)  # a deploy this long before a change may have caused it


def record(
    site: Site, db: Session, model: str, version: str, at: datetime | None, note: str | None, actor: str
) -> tuple[Deploy, bool]:
    """Record a deploy; returns it, and whether it is new. The same version at the same time is recorded once.

    Raises:
        ModelNotFoundError: no model has this name.
        InvalidError: the time lies ahead.
    """
    now = site.clock.now()
    at = at or now
    if at > now + AHEAD:
        raise InvalidError(
            f"at is {at.isoformat()}, which lies ahead; report a deploy when it has happened", field="at"
        )
    about = store.model(db, model)
    same = select(Deploy).where(Deploy.model_id == about.id, Deploy.version == version, Deploy.at == at)
    if (known := db.scalars(same).first()) is not None:
        return known, False
    values = {"model_id": about.id, "version": version, "at": at, "note": note, "created_at": now, "created_by": actor}
    insert_if_new(db, Deploy, values)
    row = db.scalars(same).one()
    bind_rows(db, [row])
    append_entry(
        db, kind="model.deployed", actor=actor, subject=f"model:{model}", at=now,
        body={"deploy": row.id, "version": version, "at": at},
    )  # fmt: skip
    return row, True


def listed(db: Session, model_id: UUID) -> Sequence[Deploy]:
    """Of one model, oldest first."""
    return db.scalars(select(Deploy).where(Deploy.model_id == model_id).order_by(Deploy.at, Deploy.created_at)).all()


def suspect(db: Session, model_id: UUID, since: datetime, until: datetime) -> Deploy | None:
    """The newest deploy shortly before a change or in the window that showed it."""
    query = select(Deploy).where(Deploy.model_id == model_id, Deploy.at >= since - LOOK_BACK, Deploy.at <= until)
    return db.scalars(query.order_by(Deploy.at.desc()).limit(1)).first()
