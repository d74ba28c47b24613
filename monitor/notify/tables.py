"""Mapped classes of notifications: the outbox, maintenance windows and deploys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed
from monitor.tables import SEVERITIES

# waiting and retrying are due at `run_at`; held waits for the end of a maintenance window; the last three are final.
OUTBOX_STATES = ("waiting", "sending", "retrying", "held", "sent", "dead", "quiet")


class OutboxMessage(Keyed, Base):
    """One message to one channel. It is written in the transaction of what it tells, and sent by the worker.

    Everything about one thread that a channel is to be told goes into one message as long as it waits.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint(f"state in {OUTBOX_STATES}", name="state"),
        CheckConstraint(f"severity in {SEVERITIES}", name="severity"),
        Index(
            "uq_outbox_waiting",
            "channel",
            "thread",
            unique=True,
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_outbox_channel_state", "channel", "state", "run_at"),
        Index("ix_outbox_thread", "thread", "channel"),
    )

    channel: Mapped[str] = mapped_column(String(63))
    thread: Mapped[str] = mapped_column(String(100))  # what it is about: `incident:ID`, `digest`, `channel:NAME`
    severity: Mapped[str] = mapped_column(String(16))  # the highest of its items
    items: Mapped[list[Any]]  # monitor.notify.announcement.Announcement as JSON, oldest first
    follows: Mapped[UUID | None]  # an earlier message of the thread: this one is a follow-up
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    reason: Mapped[str | None]  # why the last try failed, or why it is held or quiet; never an address
    attempts: Mapped[int] = mapped_column(default=0)
    run_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Maintenance(Keyed, Bound, Base):
    """A time in which alarms of one model, or of all, are recorded and not announced."""

    __tablename__ = "maintenance"
    __table_args__ = (
        CheckConstraint("from_ts < to_ts", name="order"),
        Index("ix_maintenance_to_ts", "to_ts"),
    )

    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("model.id"))  # null: every model
    from_ts: Mapped[datetime]
    to_ts: Mapped[datetime]  # moved to now by who ends it early
    reason: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
    ended_by: Mapped[str | None] = mapped_column(String(100))


class Deploy(Keyed, Bound, Base):
    """A version that was put into service, as the pipeline that did it reports."""

    __tablename__ = "deploy"
    __table_args__ = (UniqueConstraint("model_id", "version", "at"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    version: Mapped[str] = mapped_column(String(256))
    at: Mapped[datetime]
    note: Mapped[str | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
