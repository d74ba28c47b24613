"""Reports that were asked for, and the schedules that ask for them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed


class Report(Keyed, Bound, Base):
    __tablename__ = "report"
    __table_args__ = (
        CheckConstraint("state in ('queued', 'ready', 'failed')", name="state"),
        Index("ix_report_model_created", "model_id", "created_at"),
    )

    model_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str | None] = mapped_column(String(256))  # id of the run, version, incident or erasure it is about
    period_from: Mapped[datetime]
    period_to: Mapped[datetime]
    regimes: Mapped[list[Any]]
    state: Mapped[str] = mapped_column(String(16), default="queued")
    files: Mapped[dict[str, Any] | None]  # {"json": digest, "pdf": digest, "zip": digest}
    error: Mapped[str | None]
    requested_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    zone: Mapped[str | None] = mapped_column(String(64))  # in which the days of the period begin; null: UTC
    deliver_to: Mapped[list[Any] | None]  # channels that are sent it once it is ready
    schedule_id: Mapped[UUID | None]  # that asked for it
    due_at: Mapped[datetime | None]  # the tick of the schedule
    missed: Mapped[int | None]  # ticks before that one which it makes up for


class ReportSchedule(Keyed, Bound, Base):
    """Reports of one model, or of all models of an owner, at the ticks of a calendar."""

    __tablename__ = "report_schedule"
    __table_args__ = (
        CheckConstraint("every in ('month', 'quarter', 'cron')", name="every"),
        CheckConstraint("(model_id is null) <> (owner is null)", name="model_or_owner"),
        Index("ix_report_schedule_ended_at", "ended_at"),
    )

    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("model.id"))
    owner: Mapped[str | None] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(32))
    every: Mapped[str] = mapped_column(String(16))  # month and quarter: the one before the tick; cron: since the last
    cron: Mapped[str] = mapped_column(String(200))  # when it ticks
    zone: Mapped[str] = mapped_column(String(64))
    regimes: Mapped[list[Any]]
    deliver_to: Mapped[list[Any]]
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    last_due: Mapped[datetime | None]  # the last tick that was kept
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(String(100))
