"""Concept drift: Page-Hinkley and ADWIN watch the errors of a model in the order in which its labels arrive."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from sqlalchemy.orm import Session

from core.cache import CacheKind
from core.clock import ManualClock
from core.figures import figure
from monitor import sizes, store
from monitor.alerts import follow, severity
from monitor.alerts.headlines import Alarm
from monitor.drift.stream import ErrorStream
from monitor.drift.stream.errors import StreamAlarm
from monitor.levels import as_levels
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, ReferenceRow, Window
from monitor.windows.alarms import window_sentence
from monitor.windows.correction_history import LATE_OUTCOMES
from monitor.windows.distance import measured
from monitor.windows.readings import Reading
from monitor.windows.stored_levels import comparable, target_column

MIN_LABELS: Final = 300
ERROR_SCALE_QUANTILE: Final = 0.99  # quantile of the reference's absolute errors that is scaled to 1
DETECTOR_NAMES: Final = {"page_hinkley": "Page-Hinkley", "adwin": "ADWIN"}
# The streams at work and the state each was last stored in: restoring one feeds it up to 20,000 errors.
STREAMS: Final = CacheKind[UUID, tuple[dict[str, Any], ErrorStream]]("error streams by reference", most=8)


def watch(site: Site, current: CurrentSpec, row: ReferenceRow) -> bool:
    """Feed the detectors the labels that arrived since the last evaluation. Safe to run twice.

    The state (detectors, scale of the errors, and how far outcomes were read) is stored with the reference, in the
    transaction that records the findings. It starts when 300 rows of the reference have their outcome. Later outcomes
    of reference rows are ignored, and so are corrected ones: only the first label of an event counts.

    Returns:
        Whether the detectors were fed.
    """
    return watch_at(site, current, row, [site.clock.now()])


def watch_at(site: Site, current: CurrentSpec, row: ReferenceRow, times: Sequence[datetime]) -> bool:
    """What `watch` would have done at each of these times, ascending, where no window was closed in between.

    Labels are read once. Between the first time and the last only alarms are stored, because every other value would
    have been replaced the next time.
    """
    state = _state(site, current, row)
    if state is None:
        return False
    outcome = target_column(current.spec)
    # A replay stores outcomes ahead of the clock; those have not arrived yet.
    arrived = site.events.arrived(current.model.name, int(state["next_seq"]), until=times[-1], columns=[outcome])
    if arrived.is_empty() and row.concept is not None:
        return False
    stream = _stream(site, row.id, state["stream"])
    errors, labelled_at = _errors(site, current, row, arrived, state["scale"])
    fed = 0
    for time in times:
        end = len(errors) if time is times[-1] else bisect_right(labelled_at, time)
        changes = stream.extend(errors[fed:end])
        fed = end
        if not changes and time is not times[-1]:
            continue
        read = arrived["seq"].filter(arrived["ts"] <= time).max()
        following = state | {"stream": stream.state(), "next_seq": state["next_seq"] if read is None else int(read) + 1}  # type: ignore[arg-type]  # a number
        if not _stored(replace(site, clock=ManualClock(time)), current, row, (state, following), stream, changes):
            return False
        state = following
    site.cache.put(STREAMS, row.id, (state["stream"], stream))
    return True


def _state(site: Site, current: CurrentSpec, row: ReferenceRow) -> dict[str, Any] | None:
    """The state of the streams, or with which they begin; None where there is nothing to watch yet."""
    if not false_alarm_budget.watches_concept(current.spec) or row.state != "ready" or row.to_seq is None:
        return None
    if row.to_seq <= row.from_seq:  # a registered dataset holds no answers from which to learn an error rate
        return None
    with site.database.read() as db:
        if not store.has_windows(db, current.model.id):
            return None
    return row.concept or _first_state(site, current, row)


def _stored(
    site: Site, current: CurrentSpec, row: ReferenceRow, states: tuple[dict[str, Any], dict[str, Any]],
    stream: ErrorStream, changes: Sequence[StreamAlarm],
) -> bool:  # fmt: skip
    """Store the state that follows another with its findings; False where another worker has fed these labels."""
    before, after = states
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        if (stored.concept or {}).get("next_seq", before["next_seq"]) != before["next_seq"]:
            return False
        stored.concept = after
        _record(site, db, current, _readings(stream, changes))
    return True


def _stream(site: Site, reference_id: UUID, state: dict[str, Any]) -> ErrorStream:
    """The stream in this state, taken out of the cache until its next state is stored."""
    kept, stream = site.cache.take(STREAMS, reference_id) or (None, None)
    return stream if stream is not None and kept == state else ErrorStream.from_state(state)


def _first_state(site: Site, current: CurrentSpec, row: ReferenceRow) -> dict[str, Any] | None:
    name = current.model.name
    if site.events.extent(name).outcomes < MIN_LABELS:
        return None
    prediction = current.spec.with_role("prediction")[0]
    frame = site.events.labelled(name, from_seq=row.from_seq, to_seq=row.to_seq, columns=[prediction])
    outcome = target_column(current.spec)
    if outcome not in frame.columns or len(frame[outcome].drop_nulls()) < MIN_LABELS:
        return None
    raw = _raw_errors(current.spec, frame.drop_nulls(outcome))
    raw = raw[np.isfinite(raw)]
    scale = 1.0 if current.spec.task == "classification" else float(np.quantile(raw, ERROR_SCALE_QUANTILE)) or 1.0
    lasted = row.to_ts - row.from_ts if row.to_ts is not None and row.from_ts is not None else None
    run_length = false_alarm_budget.run_length(current.spec, rows=row.rows or len(raw), lasted=lasted)
    stream = ErrorStream(np.minimum(raw / scale, 1.0).tolist(), run_length=run_length)
    return {"stream": stream.state(), "scale": scale, "next_seq": 0}


def _first_labels(site: Site, current: CurrentSpec, arrived: pl.DataFrame) -> pl.DataFrame:
    """The events whose first label is among these rows, in order of arrival: `event_id`, `ts` and the label."""
    name, outcome = current.model.name, target_column(current.spec)
    given = arrived.drop_nulls(outcome).unique("event_id", keep="first", maintain_order=True)
    if given.is_empty():
        return given
    before = site.events.outcomes(name, ids=given["event_id"], to_seq=int(arrived["seq"][0]))
    if outcome in before.columns:
        given = given.join(before.drop_nulls(outcome), on="event_id", how="anti", maintain_order="left")
    return given.select("event_id", "ts", outcome)


def _errors(
    site: Site, current: CurrentSpec, row: ReferenceRow, arrived: pl.DataFrame, scale: float
) -> tuple[list[float], list[datetime]]:
    """Errors (0 to 1) of the events after the reference, in the order in which their first labels arrived, and when."""
    labels = _first_labels(site, current, arrived)
    if labels.is_empty():
        return [], []
    prediction = current.spec.with_role("prediction")[0]
    events = site.events.events_of(current.model.name, labels["event_id"], ["event_id", "seq", prediction])
    events = events.filter(pl.col("seq") >= row.to_seq)
    frame = labels.join(events, on="event_id", how="inner", maintain_order="left")
    raw = _raw_errors(current.spec, frame)
    usable = np.isfinite(raw)
    return np.minimum(raw[usable] / scale, 1.0).tolist(), frame["ts"].filter(pl.Series(usable)).to_list()


def _raw_errors(spec: ModelSpec, frame: pl.DataFrame) -> Any:
    """Error of each row: 1 for a wrong or missing answer, or the absolute error, NaN where it is undefined."""
    prediction, outcome = frame[spec.with_role("prediction")[0]], frame[target_column(spec)]
    if spec.task == "classification":
        sides = comparable(spec, pl.DataFrame({"prediction": prediction, "outcome": outcome}))
        right = (as_levels(sides["prediction"]) == as_levels(sides["outcome"])).fill_null(value=False)
        return (~right).to_numpy().astype(np.float64)
    error = (prediction.cast(pl.Float64, strict=False) - outcome.cast(pl.Float64, strict=False)).abs()
    return error.fill_null(float("nan")).to_numpy()


@dataclass(frozen=True)
class History:
    """Errors of a model in the order in which its detectors received them.

    Attributes:
        start: errors of the reference.
        errors: one for each later label.
        times: arrival of each later label.
    """

    start: list[float]
    errors: list[float]
    times: list[datetime]

    def alarms(self, run_length: float) -> list[int]:
        """Indices of the labels at which a detector fires, under any run length.

        Args:
            run_length: labels expected between false alarms.
        """
        stream = ErrorStream(self.start, run_length=run_length)
        return sorted({alarm.at - 1 for alarm in stream.extend(self.errors)})


def history(site: Site, current: CurrentSpec, row: ReferenceRow, start: dict[str, Any]) -> History:
    """Everything the detectors have been fed up to now.

    Args:
        start: the state in which they were first stored.
    """
    label = target_column(current.spec)
    arrived = site.events.arrived(current.model.name, 0, until=site.clock.now(), columns=[label])
    stream = ErrorStream.from_state(start["stream"])
    return History(stream.first(), *_errors(site, current, row, arrived, start["scale"]))


def _readings(stream: ErrorStream, changes: Sequence[StreamAlarm]) -> list[Reading]:
    """The statistic of each detector: for one that fired, the value that crossed, as it has started again since."""
    fired = {change.detector: change for change in changes}
    readings = []
    for name, now in stream.statistics.items():
        change, limit = fired.get(name), stream.threshold if name == "page_hinkley" else None
        readings.append(
            Reading(
                "concept", name, now if change is None else change.statistic, None,
                "sum of errors" if limit is not None else "mean error", stream.labels, limit=limit,
                alarm=change is not None,
                details=({} if change is None else {"sentence": _sentence(change, stream)})
                | {
                    "run_length": stream.run_length, "reference_mean": stream.mean, "current_mean": stream.current,
                    "fired_at": None if change is None else change.at,
                    "fired_mean": None if change is None else change.now,
                },
                sentence="" if change is None else _sentence(change, stream),
            )
        )  # fmt: skip
    return readings


def _sentence(change: StreamAlarm, stream: ErrorStream) -> str:
    sums = f": sum {figure(change.statistic)} above {figure(stream.threshold)}"
    detector = DETECTOR_NAMES[change.detector] + (sums if change.detector == "page_hinkley" else "")
    return (
        f"Errors rose: the mean error of the last {change.rows:,} labels is {measured(change.now)}, against "
        f"{measured(stream.mean)} in the reference, {_size(change, stream)} ({detector}, at label {change.at:,} since "
        f"the reference; at least {figure(stream.run_length)} labels are expected between false alarms)."
    )


def _size(change: StreamAlarm, stream: ErrorStream) -> str:
    """The word for how far the errors rose: they are shares of labels, or distances in the outcome's own unit."""
    sides = stream.mean, change.now
    return sizes.of_points(sides[1] - sides[0]) if max(sides) <= 1 else sizes.of_relative(*sides)


def _joined(window: Window, sentence: str) -> str:
    """The sentence of a window with one more alarm: behind a drift that is an alarm itself, else before it."""
    drift = window.decision["sentence"]
    others = window.sentence.removesuffix(drift).strip()
    if not window.sentence.endswith(drift) or (window.verdict == "alarm" and not others):
        return f"{window.sentence} {sentence}"
    return window_sentence(drift, [o for o in (others, sentence) if o], drifted=False)


def _record(site: Site, db: Session, current: CurrentSpec, readings: Sequence[Reading]) -> None:
    """Store the readings with the newest window; an alarm that is already there stays, with the value that crossed."""
    (window,) = store.windows(db, current.model.id, limit=1, lock=True)
    known = {m.metric: m for m in store.window_measurements(db, window.id, monitor="concept")}
    for r in readings:
        stored = known.get(r.metric)
        if stored is None:
            stored = Measurement(
                model_id=current.model.id, window_id=window.id, monitor=r.monitor, metric=r.metric, unit=r.unit,
                from_ts=window.from_ts, to_ts=window.to_ts, alarm=False,
            )  # fmt: skip
            db.add(stored)
        stored.n, stored.computed_at = r.n, site.clock.now()
        if r.alarm or not stored.alarm:
            stored.value, stored.reason, stored.limit = r.value, r.reason, r.limit
            stored.alarm, stored.details = r.alarm, r.details
        if r.alarm:
            window.sentence, window.verdict = _joined(window, r.sentence), "alarm"
        known[r.metric] = stored
    db.flush()
    alarms = []
    for r in readings:
        stored = known[r.metric]
        if stored.alarm:
            told = severity.of_limit(stored.details["fired_mean"], stored.details["reference_mean"], share=False)
            sentence = r.sentence or window.sentence
            alarms.append(Alarm("concept", r.metric, "", stored.value, stored.limit, sentence, told))
    evaluated = {("concept", r.metric) for r in readings}
    follow.follow(site, db, current.model, window, alarms, evaluated, LATE_OUTCOMES)
