"""Rows that arrive after their window was judged: which windows they belong to, and what those windows hold now.

Row windows are counted in order of arrival and have no late rows.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import polars as pl

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.service import CurrentSpec, kept_since, spec_for
from monitor.site import Site
from monitor.spec.monitors import RowWindow
from monitor.tables import ReferenceRow, Window

# Least time between two corrections of one window; rows that arrive meanwhile are judged together.
CORRECTION_INTERVAL: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class LateWindow:
    """A closed window, and the number of rows that arrived for it since it was judged."""

    window: Window
    rows: int

    @property
    def reason(self) -> str:
        return "1 row arrived late" if self.rows == 1 else f"{self.rows:,} rows arrived late"


def windows_with_late_rows(site: Site, current: CurrentSpec, row: ReferenceRow, reached: int) -> list[LateWindow]:
    """Windows of this reference to judge again, oldest first; those corrected a moment ago are left for later.

    Args:
        reached: one past the last event that the stored profiles hold.
    """
    since = row.from_seq if row.settled_seq is None else row.settled_seq
    if isinstance(current.spec.monitors.window_lengths, RowWindow) or reached <= since:
        return []
    fresh = site.events.events(current.model.name, from_seq=since, to_seq=reached, columns=["seq", "ts"])
    earliest: Any = fresh["ts"].min()
    with site.database.read() as db:
        closed = store.windows_judged_before(db, row.id, reached, earliest) if earliest is not None else []
    found, settled, now = list[LateWindow](), reached, site.clock.now()
    for window in closed:
        late = fresh.filter(
            (pl.col("seq") >= window.judged_seq) & (pl.col("ts") >= window.from_ts) & (pl.col("ts") < window.to_ts)
        )
        if late.is_empty():
            continue
        if window.corrected_at is not None and now < window.corrected_at + CORRECTION_INTERVAL:
            settled = min(settled, int(late["seq"].min()))  # type: ignore[arg-type]  # not null
        else:
            found.append(LateWindow(window, late.height))
    if not found and settled > since:
        with site.database.write() as db:
            db.get_one(ReferenceRow, row.id, with_for_update=True).settled_seq = settled
    return found


def spec_at_judgement(site: Site, current: CurrentSpec, row: ReferenceRow, window: Window) -> CurrentSpec:
    """The spec under which a window was judged: a new threshold never applies to the past."""
    if window.spec_revision == current.revision:
        return current
    with site.database.read() as db:
        return spec_for(site, db, current.model, window.spec_revision, row)


def current_rows(site: Site, current: CurrentSpec, row: ReferenceRow, window: Window, reached: int) -> pl.DataFrame:
    """The rows that a time window holds now, in order of arrival."""
    found = site.events.scan(
        current.model.name, from_seq=row.from_seq, to_seq=reached, from_ts=window.from_ts, to_ts=window.to_ts
    )
    return found.sort("seq").collect()


def rows_of(site: Site, model: str, window: Window) -> pl.DataFrame:
    """The rows a verdict is about, in order of arrival.

    The sequence numbers of late rows lie among those of later windows, so time windows also select by time.
    """
    begin, end = (None, None) if window.scale.endswith(" rows") else (window.from_ts, window.to_ts)
    found = site.events.scan(model, from_seq=window.from_seq, to_seq=window.to_seq, from_ts=begin, to_ts=end)
    return found.sort("seq").collect()


def is_judged_by_other_ranges(current: CurrentSpec, judged_by: CurrentSpec) -> bool:
    """Whether a window was judged with other ranges of values than the data-quality checks use now.

    The checks learn their limits once for each reference and again when ranges change, so what an earlier window was
    compared with is gone; its data quality stays as it was given.
    """
    return judged_by.spec.columns != current.spec.columns


def is_truncated(site: Site, current: CurrentSpec, window: Window) -> bool:
    """Whether retention may have deleted rows of a window; such a window cannot be judged again."""
    since = kept_since(current.spec, site.clock.now())
    return since is not None and window.from_ts < since


def record_not_corrected(site: Site, current: CurrentSpec, found: LateWindow, reached: int) -> None:
    """Record that a verdict leaves late rows out, because retention deleted rows of the window."""
    now = site.clock.now()
    reason = f"{found.reason}, but retention had deleted rows of this window, so its verdict stays"
    with site.database.write() as db:
        stored = db.get_one(Window, found.window.id, with_for_update=True)
        stored.judged_seq = reached
        stored.history = [*stored.history, {"corrected_at": now.isoformat(), "why": reason}]
        append_entry(
            db, kind="window.not_corrected", actor=SYSTEM_ACTOR, subject=f"model:{current.model.name}", at=now,
            body={"window": stored.id, "reason": reason, "rows": found.rows},
        )  # fmt: skip
