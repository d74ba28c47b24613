"""Rows by protected group over any period, from the counts that were stored with each window."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.fairness.counts import GroupCounts
from monitor.fairness.counts_codec import decode_merged, encode
from monitor.tables import FairnessCounts, Window

AT_ONCE = 500  # variables of one statement


@dataclass(frozen=True, slots=True)
class CountedWindow:
    """A window that lies in a period or reaches into it; `counts` is null where it was recorded without counts."""

    id: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    rows: int
    spec_revision: int
    counts: UUID | None


@dataclass(frozen=True, eq=False, slots=True)
class PeriodCounts:
    """The rows of a period by protected group, and which rows of it are not among them.

    Attributes:
        counts: of all windows of one length that lie wholly in the period; None where none has counts.
        scale: the length of these windows; None without one.
        windows: these windows, oldest first.
        uncounted: windows of that length in the period that were recorded without counts, by an earlier release.
        reaching_out: windows of that length that lie in the period only in part: their rows are not among the counts.
    """

    start: datetime
    end: datetime
    counts: GroupCounts | None
    scale: str | None
    windows: tuple[CountedWindow, ...]
    uncounted: tuple[CountedWindow, ...]
    reaching_out: tuple[CountedWindow, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the counts say nothing about, in sentences."""
        found = []
        if self.uncounted:
            found.append(
                f"{len(self.uncounted)} windows ({_rows(self.uncounted)} rows) were recorded before rows were counted "
                "by group, and are left out."
            )
        if self.reaching_out:
            found.append(
                f"{len(self.reaching_out)} windows ({_rows(self.reaching_out)} rows) lie in the period only in part, "
                "and are left out whole."
            )
        if self.windows and self.windows[0].from_ts > self.start:
            found.append(f"The first window begins at {self.windows[0].from_ts:%Y-%m-%d %H:%M} UTC.")
        if self.windows and self.windows[-1].to_ts < self.end:
            found.append(f"The last window ends at {self.windows[-1].to_ts:%Y-%m-%d %H:%M} UTC.")
        return tuple(found)


def _rows(windows: Iterable[CountedWindow]) -> int:
    return sum(window.rows for window in windows)


def period_counts(db: Session, model_id: UUID, start: datetime, end: datetime) -> PeriodCounts:
    """Rows of a period by protected group.

    Windows of one length follow each other without overlap, so their counts add up. Of several lengths, that one is
    taken whose counted windows hold the most rows of the period; of equals, the longest.

    Args:
        start, end: the period, start included and end not; windows count that lie wholly in it.

    Raises:
        IntegrityFailureError: stored counts cannot be read.
    """
    found = _windows(db, model_id, start, end)
    inside = [w for w in found if w.from_ts >= start and w.to_ts <= end]
    by_scale: dict[str, list[CountedWindow]] = {}
    for window in inside:
        by_scale.setdefault(window.scale, []).append(window)

    def size(scale: str) -> tuple[int, int, int]:
        counted = [w for w in by_scale[scale] if w.counts is not None]
        return _rows(counted), -len(by_scale[scale]), _rows(by_scale[scale])

    scale = max(by_scale, key=size, default=None)
    mine = by_scale.get(scale, []) if scale is not None else []
    counted = tuple(w for w in mine if w.counts is not None)
    counts = decode_merged(_data(db, [w.counts for w in counted if w.counts])) if counted else None
    within = {w.id for w in inside}
    return PeriodCounts(
        start, end, counts, scale, counted, tuple(w for w in mine if w.counts is None),
        tuple(w for w in found if w.id not in within and w.scale == scale),
    )  # fmt: skip


def _windows(db: Session, model_id: UUID, start: datetime, end: datetime) -> list[CountedWindow]:
    columns: list[Any] = [
        Window.id, Window.scale, Window.from_ts, Window.to_ts, Window.rows, Window.spec_revision, FairnessCounts.id,
    ]  # fmt: skip
    query = (
        select(*columns)
        .join(FairnessCounts, FairnessCounts.window_id == Window.id, isouter=True)
        .where(Window.model_id == model_id, Window.from_ts < end, Window.to_ts > start)
        .order_by(Window.from_ts, Window.from_seq)
    )
    return [CountedWindow(*row) for row in db.execute(query)]


def _data(db: Session, ids: Sequence[UUID]) -> list[bytes]:
    found: list[bytes] = []
    for at in range(0, len(ids), AT_ONCE):
        found += db.scalars(select(FairnessCounts.data).where(FairnessCounts.id.in_(ids[at : at + AT_ONCE]))).all()
    return found


def store_counts(db: Session, window: Window, groups: GroupCounts, now: datetime) -> None:
    """Store the rows of a window by protected group, in place of earlier counts."""
    data = encode(groups)
    stored = db.scalars(select(FairnessCounts).where(FairnessCounts.window_id == window.id)).one_or_none()
    if stored is None:
        db.add(FairnessCounts(
            model_id=window.model_id, window_id=window.id, rows=groups.rows, labelled=groups.labelled, data=data,
            computed_at=now,
        ))  # fmt: skip
    elif stored.data != data:
        stored.rows, stored.labelled, stored.data, stored.computed_at = groups.rows, groups.labelled, data, now
