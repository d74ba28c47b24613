"""Mapped class of what drove an alert."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed

FINDING_STATES = ("found", "nothing", "failed")


class AlertFinding(Keyed, Bound, Base):
    """What drove an alert in the window that an episode of it was told for. It holds shares, and no row's values.

    `found` names something; `nothing` says that nothing tells the rows apart, or too few rows are there; `failed` says
    why it could not be looked for.
    """

    __tablename__ = "alert_finding"
    __table_args__ = (
        UniqueConstraint("alert_id", "window_id"),
        CheckConstraint(f"state in {FINDING_STATES}", name="state"),
    )

    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alert.id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("window.id"))
    state: Mapped[str] = mapped_column(String(16))
    sentence: Mapped[str]
    figures: Mapped[dict[str, Any]]  # monitor.why.answer: figures behind the sentence
    examples: Mapped[list[Any]] = mapped_column(default=list)  # [{event_id, by}]: rows most typical of the change
    created_at: Mapped[datetime]
