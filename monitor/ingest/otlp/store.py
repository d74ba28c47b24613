"""Queries about what log records say about spans."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from monitor.ingest.otlp.tables import LostText, SpanText
from monitor.tables import Model


def models_waiting(db: Session) -> list[str]:
    """Models for whose events something waits, by name."""
    query = select(Model.name).where(Model.id.in_(select(SpanText.model_id).where(SpanText.waits)))
    return list(db.scalars(query.order_by(Model.name)))


def text_counts(db: Session) -> dict[str, tuple[int, int]]:
    """For each model how many log records wait for their span, and how many were given up."""
    waiting = select(Model.name, func.sum(SpanText.records)).join(SpanText, SpanText.model_id == Model.id)
    lost = select(Model.name, LostText.records).join(LostText, LostText.model_id == Model.id)
    waits = dict(db.execute(waiting.where(~SpanText.found).group_by(Model.name)).all())
    gone = dict(db.execute(lost).all())
    names = db.scalars(select(Model.name).order_by(Model.name))
    return {name: (int(waits.get(name, 0)), int(gone.get(name, 0))) for name in names}
