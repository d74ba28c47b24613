"""Give up what log records said of spans that never came, and count them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.db import insert_if_new
from monitor.ingest.otlp.tables import LostText, SpanText
from monitor.site import Site
from monitor.tables import Model

WAIT: Final = timedelta(hours=1)  # a text whose span has not come by then is given up and counted
KEPT_FOUND: Final = timedelta(minutes=1)  # what was written, so that a later record of the span is told from an older
MAX_WAITING: Final = 20_000  # spans of one model; the oldest are given up and counted
MAX_WAITING_CHARS: Final = 64 << 20  # of all their values
_MAX_DROPPED: Final = 5_000  # rows given up at once for want of room
_Waiting = tuple[UUID, str, int, bool, int]
_WAITING: Final = select(SpanText.model_id, SpanText.event_id, SpanText.records, SpanText.found, SpanText.size)
_IDS_PER_QUERY: Final = 500


def give_up(site: Site, now: datetime) -> int:
    """Delete what has waited too long, and count the log records whose span no model has; returns how many."""
    late = SpanText.received_at < now - WAIT
    done = SpanText.found & ~SpanText.waits & (SpanText.received_at < now - KEPT_FOUND)
    with site.database.read() as db:
        if db.scalars(select(SpanText.id).where(late | done).limit(1)).first() is None:
            return 0
    with site.database.write() as db:
        lost = _count_lost(db, db.execute(_WAITING.where(late, ~SpanText.found)).all(), now)
        db.execute(delete(SpanText).where(late | done))
    return lost


def give_up_oldest(db: Session, model: Model, now: datetime, *, most: int = MAX_WAITING) -> None:
    """Hold a model to so many spans and MAX_WAITING_CHARS; what its events have already goes first."""
    mine = select(func.count(), func.sum(SpanText.size)).where(SpanText.model_id == model.id)
    count, chars = db.execute(mine).one()
    doomed: list[_Waiting] = []
    if count > most or (chars or 0) > MAX_WAITING_CHARS:
        oldest = _WAITING.where(SpanText.model_id == model.id).order_by(SpanText.waits, SpanText.received_at)
        for row in db.execute(oldest.limit(_MAX_DROPPED)):
            if count <= most and chars <= MAX_WAITING_CHARS:
                break
            doomed.append(row)
            count, chars = count - 1, chars - row[4]
    _count_lost(db, doomed, now)
    forget_texts(db, model, [row[1] for row in doomed])


def forget_texts(db: Session, model: Model, ids: Sequence[str]) -> None:
    """Delete what waits for these events."""
    for start in range(0, len(ids), _IDS_PER_QUERY):
        part = ids[start : start + _IDS_PER_QUERY]
        db.execute(delete(SpanText).where(SpanText.model_id == model.id, SpanText.event_id.in_(part)))


def _count_lost(db: Session, rows: Iterable[_Waiting], now: datetime) -> int:
    """Count each record whose span no model has, once, however many models it was kept for."""
    lost: dict[str, tuple[int, UUID]] = {}
    for model_id, event_id, records, found, _ in rows:
        if not found:
            lost[event_id] = max(lost.get(event_id, (0, model_id)), (records, model_id))
    by_model: dict[UUID, int] = defaultdict(int)
    for records, model_id in lost.values():
        by_model[model_id] += records
    for model_id, records in by_model.items():
        mine = {"model_id": model_id, "records": 0, "last_at": now}
        insert_if_new(db, LostText, mine)  # another process may count the first loss of the model at the same moment
        counted = db.scalars(select(LostText).where(LostText.model_id == model_id).with_for_update()).one()
        counted.records, counted.last_at = counted.records + records, now
    db.flush()
    return sum(by_model.values())
