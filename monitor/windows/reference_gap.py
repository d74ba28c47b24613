"""Rows between two references: those of a window that was still open when the new reference began."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.service import CurrentSpec, spec_for
from monitor.site import Site
from monitor.spec.monitors import RowWindow
from monitor.tables import ReferenceRow, Window


def reference_gap(site: Site, current: CurrentSpec, row: ReferenceRow, scale: str) -> int:
    """Number of rows that arrived before this reference began and that no window of the previous one holds.

    Args:
        row: the new reference.
        scale: only windows of this scale are considered.
    """
    with site.database.read() as db:
        before = _reference_before(db, row)
        if before is None:
            return 0
        spec = spec_for(site, db, current.model, before.spec_revision, before).spec
        query = select(Window.to_seq, Window.to_ts).where(Window.baseline_id == before.id, Window.scale == scale)
        last = db.execute(query.order_by(Window.number.desc()).limit(1)).first()
    if scale not in spec.monitors.scales:
        return 0
    if isinstance(spec.monitors.window_lengths, RowWindow):
        return row.from_seq - (before.from_seq if last is None else last.to_seq)
    since = None if last is None else last.to_ts
    rows = site.events.scan(current.model.name, from_seq=before.from_seq, to_seq=row.from_seq, from_ts=since)
    return int(rows.select("seq").collect().height)


def _reference_before(db: Session, row: ReferenceRow) -> ReferenceRow | None:
    query = select(ReferenceRow).where(ReferenceRow.model_id == row.model_id, ReferenceRow.created_at < row.created_at)
    return db.scalars(query.order_by(ReferenceRow.created_at.desc()).limit(1)).first()


def gap_sentence(rows: int, row: ReferenceRow) -> str:
    counted = "1 earlier row is" if rows == 1 else f"{rows:,} earlier rows are"
    return f" {counted} in no window of this length, because a new reference began ({row.reason})."
