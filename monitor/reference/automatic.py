"""References and windows that are `auto`: choose lengths, let the reference grow, and hand over to the block rule.

The first reference is about 1,000 rows, and an early rule judges by it. It grows at the end of a window, each time by
a new reference on twice as many rows, until the block rule can judge. Another new reference begins where the rate has
changed so much that other window lengths fit. Verdicts given before stay as they are.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.arrays import Ints
from core.errors import AppError
from core.logs import logger
from monitor import store
from monitor.reference import collect, lengths
from monitor.reference.choose_rows import automatic_rows, reference_rows
from monitor.service import CurrentSpec, current_spec, spec_for
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import DAY, FIRST_SAMPLE, GRACE_PERIOD, LADDER, fitting_lengths, window_times
from monitor.tables import Alert, AlertWindow, ReferenceRow, Window

log = logger(__name__)
GROWTH: Final = 2.0  # the early rule's reference is fitted again on this many times its rows


def in_force(site: Site, model_name: str) -> tuple[CurrentSpec, ReferenceRow]:
    """The spec of a model and its newest reference, with the lengths and the end that its rows now show.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        row = store.newest_reference(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    if row.state != "collecting" or isinstance(current.spec.monitors.window_lengths, RowWindow):
        return current, row
    if current.spec.monitors.window_lengths == ():
        current, row = _with_lengths(site, current, row)
    if current.spec.monitors.window_lengths and current.spec.fixed_baseline is None and row.ends_at is None:
        row = _with_end(site, current, row)
    return current, row


def _with_lengths(site: Site, current: CurrentSpec, row: ReferenceRow) -> tuple[CurrentSpec, ReferenceRow]:
    """Store the length that the first rows show, once they do; windows are counted from the first of these rows."""
    if site.events.extent(current.model.name).next_seq < row.from_seq + FIRST_SAMPLE:
        return current, row
    found = lengths.first_choice(_times(site, current, from_seq=row.from_seq))
    if found is None:
        return current, row
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        stored.windows = [_within_retention(current.spec, found.length)]
        stored.rows_per_day, stored.origin_ts = found.rows_per_day, _time(found.first)
        return spec_for(site, db, current.model, current.revision, stored), stored


def why_no_windows(site: Site, current: CurrentSpec, row: ReferenceRow) -> str | None:
    """Why no window length is chosen yet; None where one is, or rows of this model have not begun to arrive."""
    if current.spec.monitors.window_lengths != ():
        return None
    times = _times(site, current, from_seq=row.from_seq)
    return lengths.why_no_length(times) if len(times) else None


def _within_retention(spec: ModelSpec, length: str) -> str:
    """A length, or the longest one whose rows are kept until it is judged."""
    if spec.retention is None or duration(length) <= duration(spec.retention):
        return length
    return [one for one in LADDER if duration(one) <= duration(spec.retention)][-1]


def _with_end(site: Site, current: CurrentSpec, row: ReferenceRow) -> ReferenceRow:
    """Store where an automatic reference ends, once a row after that has arrived."""
    times = _times(site, current, from_seq=row.from_seq, from_ts=row.origin_ts)
    if len(times) < lengths.MIN_REFERENCE_ROWS:
        return row
    origin = row.origin_ts or _time(times[0])
    length, rate = min(current.spec.monitors.scales, key=duration), row.rows_per_day
    if rate is None:  # lengths of the spec's own
        first = times[:FIRST_SAMPLE]
        rate = len(first) / max((_time(first[-1]) - _time(first[0])) / DAY, 1e-9)
    end = lengths.reference_end(times, origin, length, rate)
    if end is None or site.clock.now() < end + GRACE_PERIOD:
        return row
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        stored.origin_ts, stored.begins_at, stored.ends_at = origin, window_times(origin, length, 0)[0], end
        return stored


def renew(site: Site, current: CurrentSpec, row: ReferenceRow) -> bool:
    """Begin the next reference of a model if the traffic asks for one: other lengths, the block rule, or more rows.

    Called after every round of windows, so that what it decides depends on the rows alone.

    Returns:
        Whether a new reference is in force.
    """
    if row.state != "ready" or row.rule is None or isinstance(current.spec.monitors.window_lengths, RowWindow):
        return False
    at = _closed_until(site, current, row)
    if at is None or (row.ends_at is not None and at <= row.ends_at) or (row.to_ts is not None and at <= row.to_ts):
        return False
    try:
        step = (
            _changed_rate(site, current, row, at)
            or _hand_over(site, current, row, at)
            or _growth(site, current, row, at)
        )
        if step is None:
            return False
        collect.succeed(site, current, row, step)
    except AppError as error:  # such as texts that are empty now; the reference in force goes on judging
        log.warning("no new reference", model=current.model.name, reason=error.message)
        return False
    return True


def _closed_until(site: Site, current: CurrentSpec, row: ReferenceRow) -> datetime | None:
    """The time up to which windows of every length are closed; None where their ends differ."""
    if row.origin_ts is None:
        return None
    with site.database.read() as db:
        closed = {scale: store.next_window_number(db, row.id, scale) for scale in current.spec.monitors.scales}
    ends = {window_times(row.origin_ts, scale, number)[0] for scale, number in closed.items() if number}
    return ends.pop() if len(ends) == 1 and all(closed.values()) else None


def _changed_rate(site: Site, current: CurrentSpec, row: ReferenceRow, at: datetime) -> collect.Successor | None:
    """Other lengths, where the rate has changed by more than a factor of four."""
    if current.spec.monitors.windows != "auto" or row.rows_per_day is None:
        return None
    rise, fall = lengths.lookbacks(current.spec.monitors.scales)
    grown, shrunk = (_mean_rate(site, current, row, at, span) for span in (rise, fall))
    if grown is not None and grown > lengths.MAX_RATE_FACTOR * row.rows_per_day:
        start = at - rise
    elif shrunk is not None and shrunk < row.rows_per_day / lengths.MAX_RATE_FACTOR:
        start = at - fall
    else:
        return None
    times = _times(site, current, from_seq=row.from_seq, from_ts=start, to_ts=at)
    found = lengths.choice(times)
    if found is None and len(times) < FIRST_SAMPLE:  # hardly any row is left
        rate = max(len(times), 1) / ((at - start) / DAY)
        found = lengths.Chosen(fitting_lengths(rate)[0], rate, 0)
    if found is None:
        return None
    length = _within_retention(current.spec, found.length)
    if (length,) == current.spec.monitors.scales or not lengths.is_boundary(at, length):
        return None
    before, now = row.rows_per_day, found.rows_per_day
    reason = f"the rate changed from {before:,.0f} to {now:,.0f} rows a day, so windows are now {length} long"
    rule = "declared" if row.rule == "declared" else "early"
    return collect.Successor(
        at=at, lengths=(length,), rule=rule, reason=reason, rows_per_day=now, steady_at=start,
        frame=_frame(site, current, row, at), left_out=_left_out(site, row, at),
    )  # fmt: skip


def _mean_rate(site: Site, current: CurrentSpec, row: ReferenceRow, at: datetime, span: timedelta) -> float | None:
    """Rows a day over a span before a time; None where its windows are not all there, or the rate was another one."""
    if at - span < (row.steady_at or row.begins_at or row.origin_ts or at):
        return None
    shortest = min(current.spec.monitors.scales, key=duration)
    with site.database.read() as db:
        count, rows = _rows_of_windows(db, row, shortest, at - span, at)
    return rows / (span / DAY) if count * duration(shortest) >= span else None


def _hand_over(site: Site, current: CurrentSpec, row: ReferenceRow, at: datetime) -> collect.Successor | None:
    """The block rule, once the reference supports it."""
    begin = row.steady_at or row.begins_at
    if row.rule != "early" or current.spec.fixed_baseline is not None or begin is None:
        return None
    declared = current.spec.monitors.windows != "auto"
    step = max(DAY, *(duration(w) for w in current.spec.monitors.scales))
    if not lengths.is_boundary(at, "1d") or not lengths.tries_hand_over(at - begin, step):
        return None
    if _left_out(site, row, at):
        return None  # the block rule would be fitted on rows up to the alert only; it waits
    scales = current.spec.monitors.scales
    candidates = (scales,) if declared else lengths.block_candidates(scales[0], at - begin)
    frame = _chained(site, current, row, at, []).filter(pl.col("ts") >= begin)
    found = collect.fit_for_blocks(site, current, row, frame, candidates)
    if found is None:
        return None
    windows, profile = found
    reason = f"the reference now supports the block rule, so the early rule ends; windows: {', '.join(windows)}"
    return collect.Successor(
        at=at, lengths=windows, rule="blocks", reason=reason, rows_per_day=row.rows_per_day, steady_at=row.steady_at,
        frame=frame, left_out=[], profile=profile, begins_at=begin,
    )  # fmt: skip


def _growth(site: Site, current: CurrentSpec, row: ReferenceRow, at: datetime) -> collect.Successor | None:
    """The same lengths and rule on twice as many rows, all from before the first unresolved drift alarm."""
    if row.rule != "early" or current.spec.fixed_baseline is not None or row.rows is None:
        return None
    spans = _left_out(site, row, at)
    until = datetime.fromisoformat(spans[0][0]) if spans else at
    with site.database.read() as db:
        shortest = min(current.spec.monitors.scales, key=duration)
        _, fresh = _rows_of_windows(db, row, shortest, row.ends_at or at, until)
    if row.rows + fresh < GROWTH * row.rows:
        return None
    frame = _chained(site, current, row, at, spans)
    if frame.height <= row.rows:  # retention has deleted earlier rows
        return None
    reason = f"the reference grew to {frame.height:,} rows"
    return collect.Successor(
        at=at, lengths=current.spec.monitors.scales, rule="early", reason=reason,
        rows_per_day=row.rows_per_day, steady_at=row.steady_at, frame=frame, left_out=spans,
    )  # fmt: skip


def _frame(site: Site, current: CurrentSpec, row: ReferenceRow, at: datetime) -> pl.DataFrame:
    """The rows of the next reference at another rate: those of a fixed one, or all up to now of an automatic one."""
    if current.spec.fixed_baseline is None:
        return _chained(site, current, row, at, _left_out(site, row, at))
    frame = reference_rows(site, current, row)
    assert frame is not None  # it was ready before
    return frame


def _chained(site: Site, current: CurrentSpec, row: ReferenceRow, at: datetime, spans: Sequence[Any]) -> pl.DataFrame:
    """The rows from the begin of a reference up to a time, without some spans."""
    with site.database.read() as db:
        longer = db.get_one(ReferenceRow, row.id)
        db.expunge(longer)
    longer.ends_at, longer.left_out = at, list(spans)
    return automatic_rows(site, current, longer)


def open_since(db: Session, row: ReferenceRow) -> datetime | None:
    """Start of the first window since a reference began whose drift alarm nobody has resolved; None without one.

    No later row enters a reference: windows between two alarms of a fault that persists may be quiet by chance.
    """
    query = (
        select(func.min(Window.from_ts))
        .join(AlertWindow, AlertWindow.window_id == Window.id)
        .join(Alert, Alert.id == AlertWindow.alert_id)
        .where(
            Window.model_id == row.model_id, Alert.monitor == "drift", Alert.state != "resolved",
            AlertWindow.alarms, Window.from_seq >= row.from_seq,
        )
    )  # fmt: skip
    return db.scalar(query)


def _left_out(site: Site, row: ReferenceRow, at: datetime) -> list[list[str]]:
    """The span up to a time that must not enter a reference, because a drift alert is open; empty without one."""
    with site.database.read() as db:
        since = open_since(db, row)
    return [] if since is None or since >= at else [[since.isoformat(), at.isoformat()]]


def _rows_of_windows(db: Session, row: ReferenceRow, scale: str, start: datetime, end: datetime) -> tuple[int, int]:
    """Number of the closed windows of one length between two times, and their rows."""
    query = select(func.count(), func.sum(Window.rows)).where(
        Window.model_id == row.model_id, Window.scale == scale, Window.from_ts >= start, Window.to_ts <= end,
        Window.from_seq >= row.from_seq,
    )  # fmt: skip
    count, rows = db.execute(query).one()
    return count, int(rows or 0)


def _times(site: Site, current: CurrentSpec, **bounds: Any) -> Ints:
    """Times of rows, microseconds since 1970, ascending."""
    found: pl.DataFrame = site.events.scan(current.model.name, **bounds).select(pl.col("ts").dt.epoch("us")).collect()
    return np.sort(found["ts"].to_numpy()).astype(np.int64)


def _time(micros: int | np.int64) -> datetime:
    return datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=int(micros))
