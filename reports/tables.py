"""Audit reports."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String
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
    period_from: Mapped[datetime]
    period_to: Mapped[datetime]
    regimes: Mapped[list[Any]]
    state: Mapped[str] = mapped_column(String(16), default="queued")
    files: Mapped[dict[str, Any] | None]  # {"json": digest, "pdf": digest, "zip": digest}
    error: Mapped[str | None]
    requested_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
