"""Saved views: keep a search under a name, for oneself or for everybody who may see the model."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from core.errors import ForbiddenError, InvalidError, NotFoundError
from governance.access.roles import Caller, Permission
from monitor.explore.tables import EventView
from monitor.tables import Model

MOST: Final = 100  # of one person about one model
MAX_CHARS: Final = 8_000  # of the address


def views_for(db: Session, model: Model, caller: Caller) -> Sequence[EventView]:
    """The caller's own views, and those that others share, by name."""
    query = select(EventView).where(
        EventView.model_id == model.id, or_(EventView.owner == caller.subject, EventView.shared)
    )
    return db.scalars(query.order_by(EventView.name, EventView.created_at).limit(5 * MOST)).all()


def keep_view(
    db: Session, model: Model, caller: Caller, *, name: str, query: str, shared: bool, now: datetime
) -> EventView:
    """Keep a search; one of the same person under the same name is replaced.

    Raises:
        InvalidError: there is no name, it is too long, or there are too many views.
    """
    name = " ".join(name.split())
    if not name or len(name) > 100:
        raise InvalidError("name: give the view a name of 1 to 100 characters", field="name", value=name[:200])
    if len(query) > MAX_CHARS:
        raise InvalidError(f"the search has more than {MAX_CHARS} characters; narrow it to fewer values", field="query")
    own = select(EventView).where(EventView.model_id == model.id, EventView.owner == caller.subject)
    found = db.scalars(own.where(EventView.name == name)).first()
    if found is None:
        if (db.scalar(select(func.count()).select_from(own.subquery())) or 0) >= MOST:
            raise InvalidError(f"you keep {MOST} views of this model; remove one first", field="name", value=name)
        found = EventView(model_id=model.id, owner=caller.subject, kept_by=caller.name, name=name, created_at=now)
        db.add(found)
    found.query, found.shared = query, shared
    return found


def remove_view(db: Session, model: Model, caller: Caller, view: UUID) -> None:
    """
    Raises:
        NotFoundError: the caller sees no such view of the model.
        ForbiddenError: somebody else keeps it.
    """
    found = db.get(EventView, view)
    if found is None or found.model_id != model.id or not (found.shared or found.owner == caller.subject):
        raise NotFoundError(f"there is no saved view {view} of this model", view=str(view))
    if found.owner != caller.subject and not caller.may(Permission.KEY_MANAGE):
        raise ForbiddenError(f"{found.kept_by} keeps this view; only they, or an admin, remove it")
    db.delete(found)
