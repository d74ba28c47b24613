"""Windows: collect the reference, close what is due, judge it, refresh it as outcomes arrive."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from sqlalchemy.orm import Session

from core import queue
from core.errors import AppError
from governance import ledger
from monitor import alerts, store
from monitor.alerts import Alarm
from monitor.baseline import Baseline, ColumnKind, fit_baseline
from monitor.decide import Decision, decide, describe
from monitor.drift import drift_scores
from monitor.measure import Reading, drift_readings, fairness_readings, kpi_readings
from monitor.profile import merge_all, profile
from monitor.schema import ModelSpec, RowWindow, span
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.tables import BaselineRow, Measurement, Model, Window

# A window of rows is cut in this many blocks, and its baseline in blocks of the same number of rows.
BLOCKS_PER_WINDOW: Final = 10
# A time window closes once the clock is this far past its end and later events were seen, or nothing came for QUIET.
GRACE: Final = timedelta(minutes=1)
QUIET: Final = timedelta(minutes=5)
DAY: Final = timedelta(days=1)
# With time windows a reference spans at least this many blocks, however many rows come in the first.
FEWEST_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one window to be: sequence numbers, times and its number within the scale."""

    scale: str
    number: int
    from_seq: int
    to_seq: int
    from_ts: datetime
    to_ts: datetime
    frame: pl.DataFrame


# --- reference ------------------------------------------------------------------------------------------------------


def watched(spec: ModelSpec) -> dict[str, ColumnKind]:
    """Columns whose distribution is watched: free identifiers, subjects and outcomes are not."""
    chosen = spec.monitors.drift.columns
    kinds: dict[str, ColumnKind] = {}
    for name, column in spec.columns.items():
        if column.role in ("subject", "outcome") or column.type == "string":
            continue
        if chosen != "all" and name not in chosen:
            continue
        kinds[name] = "category" if column.type == "boolean" else column.type  # type: ignore[assignment]  # "string" left above
    return kinds


def _block_length(windows: Sequence[str]) -> timedelta:
    return min([DAY, *(span(w) for w in windows)])


def _fit(site: Site, current: CurrentSpec, row: BaselineRow) -> None:
    """Fit the baseline once its rows are there; without effect before. A reference that cannot be fitted says why."""
    frame = _reference_rows(site, current, row)
    if frame is None or frame.is_empty():
        return
    try:
        fitted = _fitted(current.spec, frame)
    except AppError as error:
        with site.database.write() as db:
            db.get_one(BaselineRow, row.id, with_for_update=True).problem = error.message
        return
    artifact = site.artifacts.put(fitted.to_bytes())
    with site.database.write() as db:
        stored = db.get_one(BaselineRow, row.id, with_for_update=True)
        if stored.state == "ready":
            return
        stored.state, stored.artifact, stored.rows, stored.ready_at = "ready", artifact, frame.height, site.clock.now()
        stored.to_seq = int(frame["seq"].max()) + 1  # type: ignore[arg-type]  # not empty, so never null
        stored.from_ts, stored.to_ts = frame["ts"].min(), frame["ts"].max()  # type: ignore[assignment]  # times
        stored.problem = None
        ledger.append(
            db, kind="model.baseline", actor="assay", subject=f"model:{current.model.name}", at=site.clock.now(),
            body={
                "baseline": row.id, "digest": artifact, "rows": frame.height, "reason": row.reason,
                "spec_revision": current.revision,
                "events_version": site.events.extent(current.model.name).events_version,
            },
        )  # fmt: skip


def _reference_rows(site: Site, current: CurrentSpec, row: BaselineRow) -> pl.DataFrame | None:
    """Rows of the reference in arrival order, or None while they are still arriving."""
    spec, name = current.spec, current.model.name
    if spec.baseline.range is not None:
        span_ = spec.baseline.range
        if site.clock.now() < span_.to + GRACE:
            return None
        inside = (pl.col("ts") >= span_.from_) & (pl.col("ts") < span_.to)
        return site.events.scan(name).filter(inside).sort("seq").collect()
    first = spec.baseline.first_rows
    if first is None or site.events.extent(name).next_seq < row.from_seq + first:
        return None
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return site.events.events(name, from_seq=row.from_seq, to_seq=row.from_seq + first)
    frame = site.events.events(name, from_seq=row.from_seq)
    begin = frame["ts"].min()
    assert isinstance(begin, datetime)  # there are at least `first` rows
    enough = (pl.int_range(pl.len()) < first) | (pl.col("ts") < begin + FEWEST_BLOCKS * _block_length(windows))
    chosen = frame.filter(enough)
    return None if chosen.height == frame.height and frame.height > first else chosen


def _fitted(spec: ModelSpec, frame: pl.DataFrame) -> Baseline:
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        count = max(FEWEST_BLOCKS, frame.height // (windows.rows // BLOCKS_PER_WINDOW))
        return fit_baseline(frame, watched(spec), blocks=count, seed=0)
    ordered = frame.sort("ts")
    elapsed = (ordered["ts"] - ordered["ts"].min()).dt.total_seconds()
    labels = (elapsed // int(_block_length(windows).total_seconds())).cast(pl.Int64).to_numpy()
    return fit_baseline(ordered, watched(spec), blocks=labels, seed=0)


# --- windows --------------------------------------------------------------------------------------------------------


def evaluate(site: Site, model_name: str) -> list[UUID]:
    """Close every window that is due and refresh those whose outcomes have arrived.

    Returns the ids of the windows closed or refreshed, oldest first. Safe to run twice.
    """
    touched: list[UUID] = []
    while True:
        with site.database.read() as db:
            current = current_spec(db, model_name)
            row = store.newest_baseline(db, current.model.id)
            assert row is not None  # every model has one from its first spec on
            closed = {scale: store.windows_count(db, row.id, scale) for scale in scales(current.spec)}
        if row.state == "collecting":
            _fit(site, current, row)
            with site.database.read() as db:
                row = db.get_one(BaselineRow, row.id)
        due = [d for scale, number in closed.items() if (d := _due(site, current, row, scale, number)) is not None]
        if not due:
            break
        for window in sorted(due, key=lambda d: d.to_ts):
            touched.append(_close(site, current, row, window))
    touched += _refresh(site, current)
    if touched and current.spec.retrain is not None:
        with site.database.write() as db:
            payload = {"model": model_name, "cause": "window", "window_id": str(touched[-1])}
            queue.enqueue(
                db, "retrain.consider", payload, now=site.clock.now(), dedupe_key=f"consider:{model_name}",
                lock_key=f"consider:{model_name}",
            )  # fmt: skip
    return touched


def scales(spec: ModelSpec) -> tuple[str, ...]:
    windows = spec.monitors.windows
    return (f"{windows.rows} rows",) if isinstance(windows, RowWindow) else windows


def _due(site: Site, current: CurrentSpec, row: BaselineRow, scale: str, number: int) -> Span | None:
    """The next window of a scale, if it can be closed now."""
    name = current.model.name
    windows = current.spec.monitors.windows
    extent = site.events.extent(name)
    if isinstance(windows, RowWindow):
        from_seq = row.from_seq + number * windows.rows
        if extent.next_seq < from_seq + windows.rows:
            return None
        frame = site.events.events(name, from_seq=from_seq, to_seq=from_seq + windows.rows)
        times = frame["ts"].min(), frame["ts"].max()
        return Span(scale, number, from_seq, from_seq + windows.rows, *times, frame)  # type: ignore[arg-type]  # times
    first = site.events.scan(name).filter(pl.col("seq") >= row.from_seq).select(pl.col("ts").min()).collect().item()
    if first is None or extent.last_ts is None or extent.last_received_at is None:
        return None
    length, now = span(scale), site.clock.now()
    block = min(DAY, length).total_seconds()
    start = datetime.fromtimestamp(first.timestamp() // block * block, tz=now.tzinfo) + number * length
    end = start + length
    arrived = extent.last_ts >= end or now - extent.last_received_at >= QUIET
    if now < end + GRACE or not arrived or start > extent.last_ts:
        return None
    inside = (pl.col("ts") >= start) & (pl.col("ts") < end) & (pl.col("seq") >= row.from_seq)
    frame = site.events.scan(name).filter(inside).sort("seq").collect()
    from_seq = row.from_seq if frame.is_empty() else int(frame["seq"].min())  # type: ignore[arg-type]  # not null
    to_seq = from_seq if frame.is_empty() else int(frame["seq"].max()) + 1  # type: ignore[arg-type]  # not null
    return Span(scale, number, from_seq, to_seq, start, end, frame)


def _close(site: Site, current: CurrentSpec, row: BaselineRow, window: Span) -> UUID:
    """Judge one window and record the verdict, its numbers and its alerts in one transaction."""
    decision, readings = _judge(site, current, row, window)
    now = site.clock.now()
    labelled = _labelled(site, current, window.from_seq, window.to_seq)
    labelled = labelled.filter((pl.col("ts") >= window.from_ts) & (pl.col("ts") <= window.to_ts))
    readings += kpi_readings(current.spec, labelled, window.frame.height)
    readings += fairness_readings(current.spec, labelled, window.frame)
    with site.database.write() as db:
        stored = Window(
            model_id=current.model.id, baseline_id=row.id, spec_revision=current.revision, scale=window.scale,
            number=window.number, from_seq=window.from_seq, to_seq=window.to_seq, from_ts=window.from_ts,
            to_ts=window.to_ts, rows=window.frame.height, versions=window.frame["version"].unique().sort().to_list(),
            verdict="unknown", sentence="", decision=decision, labels=labelled.height,
            events_version=site.events.extent(current.model.name).events_version, closed_at=now, refreshed_at=now,
        )  # fmt: skip
        db.add(stored)
        db.flush()
        _record(site, db, current.model, stored, readings)
        return stored.id


def _judge(site: Site, current: CurrentSpec, row: BaselineRow, window: Span) -> tuple[dict[str, Any], list[Reading]]:
    """Drift verdict of a window as plain JSON, with the numbers behind it."""

    def unjudged(verdict: str, reason: str) -> tuple[dict[str, Any], list[Reading]]:
        document = {
            "verdict": verdict,
            "p": None,
            "alpha": current.spec.monitors.alpha,
            "reason": reason,
            "columns": [],
        }
        return document | {"sentence": reason}, []

    wanted = current.spec.baseline.first_rows
    if row.problem is not None:
        return unjudged("no_reference", f"Drift not judged: the reference could not be fitted: {row.problem}.")
    if row.state == "collecting":
        target = f" of {wanted}" if wanted else ""
        seen = window.to_seq - row.from_seq
        return unjudged(
            "collecting_reference", f"Drift not judged: the reference is still being collected ({seen}{target} rows)."
        )
    assert row.artifact is not None and row.to_seq is not None
    if window.from_seq < row.to_seq:
        return unjudged("reference", "Drift not judged: these rows belong to the reference itself.")
    baseline = Baseline.from_bytes(site.artifacts.get(row.artifact))
    blocks = profile(window.frame, baseline, _blocks(current.spec, window))
    seed = int.from_bytes(hashlib.sha256(f"{row.artifact}/{window.scale}/{window.number}".encode()).digest()[:4])
    decision = decide(
        baseline, blocks, alpha=current.spec.monitors.alpha, floors=floors(current.spec), seed=seed,
        volume_guard=not isinstance(current.spec.monitors.windows, RowWindow),
    )  # fmt: skip
    scores = drift_scores(baseline, merge_all(blocks)) if blocks else []
    return _document(decision), drift_readings(decision, scores)


def _blocks(spec: ModelSpec, window: Span) -> Any:
    windows = spec.monitors.windows
    rows = window.frame.height
    if isinstance(windows, RowWindow):
        size = windows.rows // BLOCKS_PER_WINDOW
        return np.minimum(np.arange(rows) // size, BLOCKS_PER_WINDOW - 1)
    length = _block_length(windows).total_seconds()
    return ((window.frame["ts"] - window.from_ts).dt.total_seconds() // length).cast(pl.Int64).to_numpy()


def floors(spec: ModelSpec) -> dict[str, float]:
    """Relevance floors as numbers: standard deviations for numbers and text, shares for categories."""
    return {name: float(text.removesuffix("std").strip()) for name, text in spec.monitors.drift.floors.items()}


def _document(decision: Decision) -> dict[str, Any]:
    document = asdict(decision)
    document["sentence"] = describe(decision)
    return document


def _refresh(site: Site, current: CurrentSpec) -> list[UUID]:
    """Recompute KPIs and fairness of windows whose outcomes have arrived since they were last looked at."""
    with site.database.read() as db:
        windows = list(store.windows(db, current.model.id))
    pending = [w for w in windows if w.labels < w.rows]
    if not pending or not (current.spec.monitors.kpi or current.spec.monitors.fairness):
        return []
    labelled = _labelled(site, current, min(w.from_seq for w in pending), max(w.to_seq for w in pending))
    touched = []
    for window in pending:
        inside = (pl.col("seq") >= window.from_seq) & (pl.col("seq") < window.to_seq)
        in_time = (pl.col("ts") >= window.from_ts) & (pl.col("ts") <= window.to_ts)
        mine = labelled.filter(inside & in_time)
        if mine.height <= window.labels:
            continue
        frame = site.events.events(current.model.name, from_seq=window.from_seq, to_seq=window.to_seq)
        readings = kpi_readings(current.spec, mine, window.rows) + fairness_readings(current.spec, mine, frame)
        with site.database.write() as db:
            stored = db.get_one(Window, window.id, with_for_update=True)
            stored.labels, stored.refreshed_at = mine.height, site.clock.now()
            _record(site, db, current.model, stored, readings)
        touched.append(window.id)
    return touched


def _labelled(site: Site, current: CurrentSpec, from_seq: int, to_seq: int) -> pl.DataFrame:
    """Events whose outcome has arrived; an outcome column nobody has sent yet is there, and null."""
    frame = site.events.labelled(current.model.name, from_seq=from_seq, to_seq=to_seq)
    absent = [name for name in current.spec.outcome_columns if name not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)


def _record(site: Site, db: Session, model: Model, window: Window, readings: Sequence[Reading]) -> None:
    """Write the readings of a window (newer ones replace older ones), its verdict and its alerts."""
    now = site.clock.now()
    known = {(m.monitor, m.metric, m.column, m.segment): m for m in store.window_measurements(db, window.id)}
    for reading in readings:
        values = asdict(reading) | {"computed_at": now}
        values.pop("sentence")
        stored = known.get((reading.monitor, reading.metric, reading.column, reading.segment))
        if stored is None:
            stored = Measurement(
                model_id=model.id, window_id=window.id, from_ts=window.from_ts, to_ts=window.to_ts, **values
            )
            db.add(stored)
            known[reading.monitor, reading.metric, reading.column, reading.segment] = stored
        else:
            for field, value in values.items():
                setattr(stored, field, value)
        if reading.alarm:
            alarm = Alarm(
                reading.monitor, reading.metric, reading.column, reading.value, reading.limit,
                reading.sentence or window.decision["sentence"],
            )  # fmt: skip
            alerts.record(site, db, model, window, alarm)
    db.flush()
    alarmed = any(m.alarm for m in known.values())
    # A window whose drift could not be judged is never called ok, however good its KPIs are.
    window.verdict = "alarm" if alarmed else "ok" if window.decision["p"] is not None else "unknown"
    said = [r.sentence for r in readings if r.alarm and r.sentence and r.monitor != "drift"]
    window.sentence = " ".join([window.decision["sentence"], *said])
