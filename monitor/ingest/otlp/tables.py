"""Mapped classes of what log records say about spans."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Keyed


class SpanText(Keyed, Base):
    """What log records say about one span, kept for the models that map its service until its event has it.

    The values are redacted as those of the event are. A row whose event has them is kept for a minute without
    them, so that a later record of the same span is told from an older one.
    """

    __tablename__ = "span_text"
    __table_args__ = (UniqueConstraint("model_id", "event_id"), Index("ix_span_text_received", "received_at"))

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    event_id: Mapped[str] = mapped_column(String(100))
    waits: Mapped[bool] = mapped_column(default=True)  # whether `columns` holds what the event lacks
    found: Mapped[bool] = mapped_column(default=False)  # whether a model has the span's event
    columns: Mapped[dict[str, Any]]  # column -> value that waits
    written: Mapped[list[Any]] = mapped_column(default=list)  # columns whose value the event got from here
    times: Mapped[dict[str, Any]]  # column -> time of its newest record, nanoseconds since 1970
    records: Mapped[int] = mapped_column(default=0)  # log records that wait
    size: Mapped[int] = mapped_column(default=0)  # characters of `columns` as JSON
    received_at: Mapped[datetime]


class LostText(Keyed, Base):
    """How many log records of a model's service were given up because their span never came."""

    __tablename__ = "lost_text"

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"), unique=True)
    records: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime]


class SpanCount(Keyed, Base):
    """How many spans of a service that a model maps came to one result, since the first of them."""

    __tablename__ = "span_count"
    __table_args__ = (UniqueConstraint("service", "result"),)

    service: Mapped[str] = mapped_column(String(300))
    result: Mapped[str] = mapped_column(String(32))  # one of monitor.ingest.otlp.verdict.RESULTS, or CUT
    spans: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime]


class TracePart(Keyed, Base):
    """The outlines of the spans of one trace that a service sent within two seconds; no texts (`span_trees`)."""

    __tablename__ = "trace_part"

    service: Mapped[str] = mapped_column(String(300))
    trace_id: Mapped[str] = mapped_column(String(64), index=True)
    received_at: Mapped[datetime] = mapped_column(index=True)
    spans: Mapped[list[Any]]
