"""Windows: collect the reference, close what is due, judge it, and again as late rows and outcomes come or change."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import polars as pl
from sqlalchemy.orm import Session

from core import queue
from monitor import (
    alerts,
    budget,
    checks,
    concept,
    estimates,
    handover,
    late_outcomes,
    late_rows,
    parts,
    profiles,
    profiling,
    reference,
    store,
)
from monitor.alerts import Alarm
from monitor.corrections import OUTCOMES, ROWS, corrected, correction, said
from monitor.decide import Decision
from monitor.drift import drift_scores
from monitor.judge import judge
from monitor.measure import Reading, drift_readings, fairness_readings, kpi_readings, unjudged_readings
from monitor.profile import merge_all, without
from monitor.schema import RowWindow
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.tables import BaselineRow, Model, Window
from monitor.times import GRACE, window_times
from monitor.wording import describe

# A time window closes once the clock is GRACE past its end and later events were seen, or nothing came for this long.
QUIET: Final = timedelta(minutes=5)
_STORED: Final = tuple(f.name for f in fields(Reading) if f.name != "sentence")


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


def evaluate(site: Site, model_name: str) -> list[UUID]:
    """Close every window that is due, judge those again that rows came late for, refresh those with new outcomes.

    Returns the ids of the windows closed, corrected or refreshed. Safe to run twice.
    """
    touched: list[UUID] = []
    reached = site.events.extent(model_name).next_seq  # profiles hold every event before it, and perhaps later ones
    profiled = False
    while True:
        with site.database.read() as db:
            current = current_spec(db, model_name)
            row = store.newest_baseline(db, current.model.id)
            assert row is not None  # every model has one from its first spec on
            closed = {scale: store.windows_count(db, row.id, scale) for scale in current.spec.monitors.scales}
        if row.state == "collecting" or not any(closed.values()):
            if not any(closed.values()):
                reference.begin(site, current, row)
            if row.state == "collecting":
                reference.collect(site, current, row)
            with site.database.read() as db:
                row = db.get_one(BaselineRow, row.id)
        if row.artifact is not None and not profiled:
            profiles.extend(site, current, row, profiling.fitted(site.artifacts.root, row.artifact))
            profiled = True
        row = checks.learned(site, current, estimates.fitted(site, current, row))
        ready = [d for scale, number in closed.items() if (d := due(site, current, row, scale, number)) is not None]
        if not ready:
            break
        site.events.settle(model_name)  # the verdicts name the version of the table they were computed from
        for window in sorted(ready, key=lambda d: d.to_ts):
            touched.append(_close(site, current, row, window, reached))
        if all(_ahead(site, current, row, d.scale, d.number + 1) is None for d in ready):
            break
    if touched or any(closed.values()):
        touched += _correct(site, current, row, reached)
    touched += _refresh(site, current)
    concept.watch(site, current, row)
    if touched and current.spec.retrain is not None:
        with site.database.write() as db:
            payload = {"model": model_name, "cause": "window", "window_id": str(touched[-1])}
            queue.enqueue(
                db, "retrain.consider", payload, now=site.clock.now(), dedupe_key=f"consider:{model_name}",
                lock_key=f"consider:{model_name}",
            )  # fmt: skip
    return touched


def _ahead(site: Site, current: CurrentSpec, row: BaselineRow, scale: str, number: int) -> tuple[Any, Any] | None:
    """Where the next window of a scale begins and ends, as sequence numbers or times, if it can be closed now."""
    windows = current.spec.monitors.windows
    extent = site.events.extent(current.model.name)
    if isinstance(windows, RowWindow):
        from_seq = row.from_seq + number * windows.rows
        return None if extent.next_seq < from_seq + windows.rows else (from_seq, from_seq + windows.rows)
    first = row.origin_ts
    if first is None or extent.last_ts is None or extent.last_received_at is None:
        return None
    (start, end), now = window_times(first, scale, number), site.clock.now()
    arrived = extent.last_ts >= end or now - extent.last_received_at >= QUIET
    return None if now < end + GRACE or not arrived or start > extent.last_ts else (start, end)


def due(site: Site, current: CurrentSpec, row: BaselineRow, scale: str, number: int) -> Span | None:
    """The next window of a scale with its rows, if it can be closed now."""
    found = _ahead(site, current, row, scale, number)
    if found is None:
        return None
    (start, end), name = found, current.model.name
    if isinstance(current.spec.monitors.windows, RowWindow):
        frame = site.events.events(name, from_seq=start, to_seq=end)
        times = frame["ts"].min(), frame["ts"].max()
        return Span(scale, number, start, end, *times, frame)  # type: ignore[arg-type]  # times
    frame = site.events.scan(name, from_seq=row.from_seq, from_ts=start, to_ts=end).sort("seq").collect()
    return _time_span(scale, number, (start, end), frame, none_at=site.events.extent(name).next_seq)


def _time_span(scale: str, number: int, times: tuple[datetime, datetime], frame: pl.DataFrame, *, none_at: int) -> Span:
    """A window of time and its rows; one without a row stands after every event so far."""
    if frame.is_empty():
        return Span(scale, number, none_at, none_at, *times, frame)
    first, last = int(frame["seq"].min()), int(frame["seq"].max())  # type: ignore[arg-type]  # not null
    return Span(scale, number, first, last + 1, *times, frame)


def _measured(
    site: Site, current: CurrentSpec, row: BaselineRow, window: Span
) -> tuple[dict[str, Any], list[Reading], dict[str, int]]:
    """The verdict, every number behind it, and which outcomes are in them: what a window keeps of that."""
    decision, readings = _judge(site, current, row, window)
    if not window.number and (before := handover.left_over(site, current, row, window.scale)):
        decision |= {"left_over": before, "sentence": decision["sentence"] + handover.said(before, row)}
    # Before the outcomes are read: what comes between is looked at again.
    next_outcome = site.events.extent(current.model.name).next_outcome
    labelled = labelled_rows(site, current, window.frame)
    readings += _of_outcomes(site, current, row, window, labelled, window.frame)
    return decision, readings, {"labels": labelled.height, "next_outcome": next_outcome}


def _close(site: Site, current: CurrentSpec, row: BaselineRow, window: Span, reached: int) -> UUID:
    """Judge one window and record the verdict, its numbers and its alerts in one transaction."""
    decision, readings, outcomes = _measured(site, current, row, window)
    now = site.clock.now()
    with site.database.write() as db:
        stored = Window(
            model_id=current.model.id, baseline_id=row.id, spec_revision=current.revision, scale=window.scale,
            number=window.number, from_seq=window.from_seq, to_seq=window.to_seq, from_ts=window.from_ts,
            to_ts=window.to_ts, rows=window.frame.height, versions=window.frame["version"].unique().sort().to_list(),
            verdict="unknown", sentence="", decision=decision, judged_seq=reached,
            events_version=site.events.extent(current.model.name).events_version, closed_at=now, refreshed_at=now,
            **outcomes,
        )  # fmt: skip
        db.add(stored)
        db.flush()
        _record(site, db, current.model, stored, readings)
        return stored.id


def _correct(site: Site, current: CurrentSpec, row: BaselineRow, reached: int) -> list[UUID]:
    """Judge closed windows again that rows came late for, under the spec they were judged by."""
    done: list[UUID] = []
    found = late_rows.touched(site, current, row, reached)
    if found:
        site.events.settle(current.model.name)
    for one in found:
        if late_rows.is_cut(site, current, one.window):
            late_rows.leave_out(site, current, one, reached)
            continue
        then, closed = late_rows.made_under(site, current, one.window), one.window
        frame = late_rows.rows_by_now(site, then, row, closed, reached)
        window = _time_span(closed.scale, closed.number, (closed.from_ts, closed.to_ts), frame, none_at=reached)
        decision, readings, outcomes = _measured(site, then, row, window)
        with site.database.write() as db:
            stored = db.get_one(Window, closed.id, with_for_update=True)
            before, now = said(stored), site.clock.now()
            stored.from_seq, stored.to_seq, stored.judged_seq = window.from_seq, window.to_seq, reached
            stored.rows, stored.decision, stored.refreshed_at = frame.height, decision, now
            stored.labels, stored.next_outcome = outcomes["labels"], outcomes["next_outcome"]
            stored.versions = frame["version"].unique().sort().to_list()
            stored.events_version = site.events.extent(current.model.name).events_version
            _record(site, db, current.model, stored, readings, ROWS)
            corrected(site, db, current.model, stored, before, one.why)
        done.append(closed.id)
    return done


def _judge(site: Site, current: CurrentSpec, row: BaselineRow, window: Span) -> tuple[dict[str, Any], list[Reading]]:
    """Drift verdict of a window as plain JSON, with the numbers behind it."""

    def unjudged(verdict: str, reason: str) -> tuple[dict[str, Any], list[Reading]]:
        document: dict[str, Any] = {
            "verdict": verdict,
            "p": None,
            "alpha": budget.alpha(current.spec, "drift", window.scale),
            "reason": reason,
            "columns": [],
            "judged": False,
        }
        return document | {"sentence": reason}, unjudged_readings(reason, window.frame.height)

    wanted = current.spec.baseline.first_rows
    if row.problem is not None:
        return unjudged("no_reference", f"Drift not judged: the reference could not be fitted: {row.problem}.")
    if row.state == "collecting":
        target = f" of {wanted}" if wanted else ""
        seen = window.to_seq - row.from_seq
        return unjudged(
            "collecting_reference", f"Drift not judged: the reference is still being collected ({seen}{target} rows)."
        )
    assert row.artifact is not None
    assert row.to_seq is not None
    empty_before_it_ends = window.frame.is_empty() and row.to_ts is not None and window.from_ts < row.to_ts
    if window.from_seq < row.to_seq or empty_before_it_ends:
        return unjudged("reference", "Drift not judged: these rows belong to the reference itself.")
    baseline = profiling.fitted(site.artifacts.root, row.artifact)
    labels = profiles.labels_between(
        current.spec, row, (window.from_seq, window.to_seq), (window.from_ts, window.to_ts)
    )
    with site.database.read() as db:
        blocks = profiles.stored_blocks(db, row.id, baseline.coding, labels)
        unencoded = profiles.unencoded(db, row.id, labels)
    for column in unencoded:
        baseline, blocks = baseline.without(column), [without(block, column) for block in blocks]
    because = "; ".join(f"`{column}` is not judged: {reason}" for column, reason in unencoded.items())
    if not baseline.columns:
        return unjudged("not_encoded", f"Drift not judged: {because}.")
    seed = seed_of(row.artifact, window.scale, window.number)
    scores = drift_scores(baseline, merge_all(blocks))
    times = window.from_ts, window.to_ts
    volume = checks.volume_of(site, current.spec, row, window.frame, times)
    decision = judge(current.spec, baseline, window.scale, blocks, scores, first=labels.start, seed=seed, volume=volume)
    readings = drift_readings(decision, scores)
    n = window.frame.height
    readings += [Reading("drift", "effect", None, why, "share of rows", n, column=c) for c, why in unencoded.items()]
    if volume is not None:
        readings.append(checks.volume_reading(volume, budget.alpha(current.spec, "volume", window.scale)))
    document = _document(decision)
    if unencoded:
        document["sentence"] += f" {because}."
    return document, readings


def seed_of(artifact: str, scale: str, number: int) -> int:
    """Of the redraws of a window: the same for whoever judges it again."""
    return int.from_bytes(hashlib.sha256(f"{artifact}/{scale}/{number}".encode()).digest()[:4])


def _document(decision: Decision) -> dict[str, Any]:
    document: dict[str, Any] = {f.name: getattr(decision, f.name) for f in fields(decision)}
    document["columns"] = [vars(c) | {"clusters": [vars(share) for share in c.clusters]} for c in decision.columns]
    document["visible"] = [vars(part) for part in decision.visible]
    document |= {"unjudged": list(decision.unjudged), "sentence": describe(decision), "judged": decision.judged}
    return document


def _refresh(site: Site, current: CurrentSpec) -> list[UUID]:
    """Recompute what rests on outcomes in the windows whose outcomes have arrived, or changed, since."""
    name = current.model.name
    if not current.spec.outcome_columns:
        return []
    with site.database.read() as db:
        seen = db.get_one(Model, current.model.id).next_outcome
    reached = site.events.extent(name).next_outcome
    if reached <= seen:
        return []
    touched = late_outcomes.windows(site, current, seen, reached)
    for window_id in touched:
        with site.database.read() as db:
            window = db.get_one(Window, window_id)
            row = db.get_one(BaselineRow, window.baseline_id)
        taken_in = site.events.extent(name).next_outcome
        frame = site.events.events(name, from_seq=window.from_seq, to_seq=window.to_seq).filter(
            late_outcomes.within(window)
        )
        mine = labelled_rows(site, current, frame)
        readings = _of_outcomes(site, current, row, window, mine, frame)
        with site.database.write() as db:
            stored = db.get_one(Window, window_id, with_for_update=True)
            stored.labels, stored.next_outcome, stored.refreshed_at = mine.height, taken_in, site.clock.now()
            _record(site, db, current.model, stored, readings)
    with site.database.write() as db:  # last: killed before, the same windows are found again
        db.get_one(Model, current.model.id, with_for_update=True).next_outcome = reached
    return touched


def _of_outcomes(
    site: Site,
    current: CurrentSpec,
    row: BaselineRow,
    window: Span | Window,
    labelled: pl.DataFrame,
    frame: pl.DataFrame,
) -> list[Reading]:
    """What is computed again whenever outcomes arrive: KPIs with their estimates, data quality and fairness."""
    kpis = kpi_readings(current.spec, labelled, frame)
    kpis = parts.with_agents(site, current, row, window.from_seq, kpis, labelled, frame)
    kpis = estimates.with_estimates(site, current, row, window.from_seq, kpis, labelled, frame)
    kpis += parts.part_readings(current.spec, labelled, frame)
    kpis += checks.quality_readings(site, current, row, window.from_seq, labelled, frame, window.scale)
    return kpis + fairness_readings(current.spec, labelled, frame)


def labelled_rows(site: Site, current: CurrentSpec, events: pl.DataFrame) -> pl.DataFrame:
    """Events whose outcome has arrived; an outcome column nobody has sent yet is there, and null."""
    frame = site.events.with_outcomes(current.model.name, events)
    absent = [name for name in current.spec.outcome_columns if name not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)


def _record(
    site: Site, db: Session, model: Model, window: Window, readings: Sequence[Reading], why: str = OUTCOMES
) -> None:  # fmt: skip
    """Write the readings of a window (newer ones replace older ones), its verdict and its alerts.

    Args:
        why: what made the numbers change, where they were there before.
    """
    now = site.clock.now()
    readings = parts.first_degraded(db, window, estimates.track(db, window, readings))
    known = {(m.monitor, m.metric, m.column, m.segment): m for m in store.window_measurements(db, window.id)}
    new: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for reading in readings:
        values = {name: getattr(reading, name) for name in _STORED} | {"computed_at": now}
        at = (reading.monitor, reading.metric, reading.column, reading.segment)
        stored = known.get(at)
        if stored is None:
            new[at] = values
        else:
            values |= correction(stored, reading, now, why)
            for field, value in values.items():
                setattr(stored, field, value)
    # A window that was not judged before has reasons in place of statistics, which it now has column by column.
    fresh = {(r.monitor, r.metric, r.column, r.segment) for r in readings}
    if ("drift", "p_value", "", "") in fresh:
        for key in [k for k, m in known.items() if k[0] == "drift" and m.value is None and k not in fresh]:
            db.delete(known.pop(key))
    store.add_measurements(db, window, list(new.values()))
    db.flush()
    sentence = window.decision["sentence"]
    alarms = [
        Alarm(r.monitor, r.metric, r.column, r.value, r.limit, r.sentence or sentence) for r in readings if r.alarm
    ]
    alerts.follow(site, db, model, window, alarms, {(r.monitor, r.metric) for r in readings}, why)
    alarmed = any(m.alarm for m in known.values()) or any(values["alarm"] for values in new.values())
    # A window whose drift could not be judged is never called ok, however good its KPIs are.
    window.verdict = "alarm" if alarmed else "ok" if window.decision["judged"] else "unknown"
    said_too = [r.sentence for r in readings if r.alarm and r.sentence and r.monitor != "drift"]
    window.sentence = " ".join([sentence, *said_too])
