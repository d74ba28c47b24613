"""Mapped classes that extend the incidents of `monitor.tables`: serious ones, what is linked, and post-mortems."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed

KINDS = ("death", "widespread", "other")
STATES = ("open", "reported", "closed")
LINKS = ("run", "deploy", "incident")


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


class IncidentLink(Keyed, Bound, Base):
    """A run or a deploy that a person linked to an incident, or an incident that was merged into it."""

    __tablename__ = "incident_link"
    __table_args__ = (
        CheckConstraint(f"kind in {LINKS}", name="kind"),
        UniqueConstraint("incident_id", "kind", "target"),
        Index("ix_incident_link_target", "target"),
    )

    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incident.id"))
    kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[UUID]  # id of the run, the deploy or the incident
    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("model.id"))  # of the target; null: the installation's
    linked_at: Mapped[datetime]
    linked_by: Mapped[str] = mapped_column(String(100))
    removed_at: Mapped[datetime | None]
    removed_by: Mapped[str | None] = mapped_column(String(100))


class PostMortem(Keyed, Bound, Base):
    """One version of what people wrote about an incident afterwards; earlier versions stay."""

    __tablename__ = "post_mortem"
    __table_args__ = (UniqueConstraint("incident_id", "version"),)

    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incident.id"))
    version: Mapped[int]  # from 1
    happened: Mapped[str]
    impact: Mapped[str]
    cause: Mapped[str]
    done: Mapped[str]
    will_change: Mapped[str]
    author: Mapped[str] = mapped_column(String(100))
    written_at: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(80))  # of the texts; the ledger has it
