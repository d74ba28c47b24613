"""Rows between two references: those of a window that was still open when a new reference was opened."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor import store
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.monitors import RowWindow
from monitor.spec.parse import parse_spec
from monitor.tables import BaselineRow, Window


def left_over(site: Site, current: CurrentSpec, row: BaselineRow, scale: str) -> int:
    """How many rows that came before this reference was opened are in no window of a scale of the one before it."""
    with site.database.read() as db:
        before = _before(db, row)
        if before is None:
            return 0
        spec = parse_spec(store.spec_revision(db, current.model.id, before.spec_revision).document)
        query = select(Window.to_seq, Window.to_ts).where(Window.baseline_id == before.id, Window.scale == scale)
        last = db.execute(query.order_by(Window.number.desc()).limit(1)).first()
    if scale not in spec.monitors.scales:
        return 0
    if isinstance(spec.monitors.windows, RowWindow):
        return row.from_seq - (before.from_seq if last is None else last.to_seq)
    since = None if last is None else last.to_ts
    rows = site.events.scan(current.model.name, from_seq=before.from_seq, to_seq=row.from_seq, from_ts=since)
    return int(rows.select("seq").collect().height)


def _before(db: Session, row: BaselineRow) -> BaselineRow | None:
    query = select(BaselineRow).where(BaselineRow.model_id == row.model_id, BaselineRow.created_at < row.created_at)
    return db.scalars(query.order_by(BaselineRow.created_at.desc()).limit(1)).first()


def said(rows: int, row: BaselineRow) -> str:
    many = "1 row before it is" if rows == 1 else f"{rows:,} rows before it are"
    return f" {many} in no window of this length, for a new reference was opened ({row.reason})."
