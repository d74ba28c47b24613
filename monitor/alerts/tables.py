"""Mapped class of serious incidents, which extend the incidents of `monitor.tables`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed

KINDS = ("death", "widespread", "other")
STATES = ("open", "reported", "closed")


class SeriousIncident(Keyed, Bound, Base):
    """An incident that must be reported to an authority, with the clock that runs from when somebody became aware."""

    __tablename__ = "serious_incident"
    __table_args__ = (
        CheckConstraint(f"kind in {KINDS}", name="kind"),
        CheckConstraint(f"state in {STATES}", name="state"),
        Index("ix_serious_incident_model_aware", "model_id", "aware_at"),
    )

    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incident.id"), unique=True)
    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    kind: Mapped[str] = mapped_column(String(16))  # decides how long the clock runs
    description: Mapped[str]
    aware_at: Mapped[datetime]
    deadline: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), default="open")
    reports: Mapped[list[Any]] = mapped_column(default=list)  # [{stage, authority, reference, at, by}]
    evidence: Mapped[dict[str, Any]]  # what was in force and known when it was declared
    declared_at: Mapped[datetime]
    declared_by: Mapped[str] = mapped_column(String(100))
    closed_at: Mapped[datetime | None]
