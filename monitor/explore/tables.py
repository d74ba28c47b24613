"""Mapped classes of what people keep of their searches."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Keyed


class EventView(Keyed, Base):
    """A search that somebody keeps under a name. It holds no figure: opened, it is searched again."""

    __tablename__ = "event_view"
    __table_args__ = (UniqueConstraint("model_id", "owner", "name"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    owner: Mapped[str] = mapped_column(String(120))  # who keeps it: the subject of a caller
    kept_by: Mapped[str] = mapped_column(String(200))  # the name of that caller
    name: Mapped[str] = mapped_column(String(100))
    query: Mapped[str]  # the address after `?`, with texts as they are stored
    shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
