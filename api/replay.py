"""Replay: a file through the real path, the clock driven by event time, windows closed as in production.

What differs from production is only what a file cannot have: no job waits in a queue, no alert is confirmed with a
report nobody could open afterwards, and a run that the policy would start is written down instead of trained.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

import migrations
from api.replay_input import LINE, Given, read_events, read_outcomes
from core.clock import ManualClock
from core.settings import load
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, Receipt, receive
from monitor.reference import GRACE, block_length
from monitor.schema import ModelSpec, RowWindow
from monitor.site import Site, open_site
from monitor.tables import Measurement, Window
from monitor.windows import QUIET, evaluate
from retrain.envelope import Plan, base_folder, breaches
from retrain.errors import BaseModelError, EnvelopeError
from retrain.service import gather
from retrain.triggers import decide
from retrain.triggers.base import Labelled

MOST_ROWS_AT_ONCE: Final = 20_000
Progress = Callable[[int, int], None]


def replay_file(
    home: Path, spec: ModelSpec, events: Path, outcomes: Path | None, *, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """Feed events (and outcomes) through ingest, windows, decision and retrain policy under `home`; nothing is trained.

    Outcome columns found in the events file count as outcomes that arrive with their event.

    Args:
        progress: told rows done and rows in all, after each step.

    Raises:
        InvalidError: a file cannot be read, lacks a needed column, or has one that does not fit the spec.
        RecipeError, EnvelopeError: the spec's retrain policy would be refused in production too.
    """
    given = read_events(events, spec)
    late = read_outcomes(outcomes, spec) if outcomes is not None else None
    notes = [*given.notes, *(late.notes if late else ()), *_base_model_notes(spec)]
    site = open_fresh(home, ManualClock(given.frame["ts"][0]))
    try:
        with site.database.write() as db:
            service.apply_spec(site, db, spec, "replay")
        run = _Run(site, spec, late, [*given.rejected, *(late.rejected if late else ())])
        feed = _feed_rows if isinstance(spec.monitors.windows, RowWindow) else _feed_time
        for done in feed(run, given):
            progress(done, given.frame.height)
        run.finish()
        return _document(site, spec, run) | {"notes": notes}
    finally:
        site.close()


def open_fresh(home: Path, clock: ManualClock) -> Site:
    settings = load({}, home=home)
    migrations.upgrade(settings.database_url)
    return open_site(settings, clock)


def _base_model_notes(spec: ModelSpec) -> list[str]:
    """Without the base model at hand the policy is still replayed; only a run could not start."""
    if spec.retrain is None:
        return []
    plan = Plan.of(spec)
    if found := breaches(plan):
        raise EnvelopeError(found)
    try:
        base_folder(plan.recipe, load().home_dir)
    except BaseModelError as error:
        return [f"a retrain could not start on this machine: {error.message}"]
    return []


# --- feeding ----------------------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """A replay under way: what was sent, refused and decided."""

    site: Site
    spec: ModelSpec
    late: Given | None
    rejected: list[dict[str, Any]]
    accepted: int = 0
    duplicates: int = 0
    sent: int = 0  # late outcomes
    decisions: list[dict[str, Any]] = field(default_factory=list)
    considered_at: datetime | None = None
    last_run_at: datetime | None = None
    trained_on: int = 0  # labelled events that the last run would have used up
    ahead: int = 0  # outcomes stored whose event the clock has not reached

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.site.clock, ManualClock)  # open_fresh was given it
        return self.site.clock

    def send_events(self, part: pl.DataFrame, name: str, *, at: datetime) -> None:
        """Store events as received at `at`; outcome columns stay behind."""
        ahead = replace(self.site, clock=ManualClock(at))
        columns = [c for c in part.columns if c == LINE or c not in self.spec.outcome_columns]
        receipt = receive(ahead, self.spec.model, "events", Body(_lines(part.select(columns)), NDJSON))
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self._note(receipt, name, part)

    def send_outcomes(self, part: pl.DataFrame, name: str, *, at: datetime) -> None:
        """Store outcomes as arrived at `at`."""
        known = self.with_outcome(part)
        if known.height:
            ahead = replace(self.site, clock=ManualClock(at))
            columns = [c for c in part.columns if c in self.spec.outcome_columns]
            body = _lines(known.select(LINE, "event_id", *columns))
            self._note(receive(ahead, self.spec.model, "outcomes", Body(body, NDJSON)), name, known)

    def with_outcome(self, part: pl.DataFrame) -> pl.DataFrame:
        columns = [c for c in part.columns if c in self.spec.outcome_columns]
        return part.filter(pl.any_horizontal(pl.col(columns).is_not_null())) if columns else part.clear()

    def send_late(self) -> None:
        """Outcomes that have arrived by now."""
        if self.late is None:
            return
        due = int((self.late.frame["ts"] <= self.clock.now()).sum())
        if due > self.sent:
            self.send_outcomes(self.late.frame[self.sent : due], self.late.name, at=self.clock.now())
            self.sent = due

    def look(self) -> None:
        """Close what is due and, where something was judged, consider the retrain policy."""
        if evaluate(self.site, self.spec.model) and self.spec.retrain is not None:
            self._consider()

    def finish(self) -> None:
        """As though nothing came after the file: what is still open closes when its block of time has passed."""
        windows, last = self.spec.monitors.windows, self.clock.now()
        if not isinstance(windows, RowWindow):
            length = block_length(windows)
            self.clock.move_to(_block_start(last, length) + length + GRACE)
        self.clock.move_to(last + GRACE + QUIET)
        self.look()
        if self.late is not None and self.sent < self.late.frame.height:
            self.clock.move_to(self.late.frame["ts"][-1])
            self.send_late()
            self.look()

    def _consider(self) -> None:
        """What the policy decides, as though every earlier run had ended at once and promoted nothing."""
        policy = self.spec.retrain
        assert policy is not None
        with self.site.database.read() as db:
            inputs = gather(self.site, db, service.current_spec(db, self.spec.model), None)
        seen = max(0, inputs.labelled.since_training - self.ahead)
        since_alarm = inputs.labelled.since_alarm
        inputs = replace(
            inputs, considered_at=self.considered_at or inputs.considered_at, last_run_at=self.last_run_at,
            labelled=Labelled(
                max(0, seen - self.trained_on), None if since_alarm is None else max(0, since_alarm - self.ahead)
            ),
        )  # fmt: skip
        found = decide(inputs, policy)
        self.considered_at = inputs.now
        if found.fire:
            self.last_run_at, self.trained_on = inputs.now, seen
        if any(f.fire for f in found.findings):
            self.decisions.append({"at": inputs.now.isoformat(), **asdict(found)})

    def _note(self, receipt: Receipt, name: str, part: pl.DataFrame) -> None:
        if not receipt.rejected:
            return
        lines = part[LINE]
        known = {(row["file"], row["line"]) for row in self.rejected}  # an event's outcome in the same row goes with it
        self.rejected += [
            {"file": name, "line": line, "field": row.field, "reason": row.reason}
            for row in receipt.rejected
            if (name, line := lines[row.line - 1]) not in known
        ]


def _feed_rows(run: _Run, given: Given) -> Iterator[int]:
    """A window's worth of rows at a time; each is judged when its last row is there."""
    windows = run.spec.monitors.windows
    assert isinstance(windows, RowWindow)
    done = 0
    for part in given.frame.iter_slices(windows.rows):
        run.clock.move_to(part["ts"][-1])
        run.send_events(part, given.name, at=run.clock.now())
        run.send_outcomes(part, given.name, at=run.clock.now())
        run.send_late()
        run.look()
        done += part.height
        yield done


def _feed_time(run: _Run, given: Given) -> Iterator[int]:
    """Block by block of event time. Rows are stored ahead of the clock, many blocks at once: a window needs later
    events to close and looks at none of them, and labels that lie ahead are not counted by the retrain policy."""
    windows = run.spec.monitors.windows
    assert not isinstance(windows, RowWindow)
    length = block_length(windows)
    blocks = given.frame.with_columns(pl.col("ts").dt.truncate(length).alias("_block"))
    parts = blocks.partition_by("_block", maintain_order=True, include_key=False)
    done = stored = 0
    for position, part in enumerate(parts):
        if position >= stored:
            stored = _store_ahead(run, given.name, parts, position)
        start = _block_start(part["ts"][0], length)
        run.clock.move_to(start + GRACE)
        run.send_late()
        run.look()
        run.clock.move_to(part["ts"][-1])
        run.ahead -= run.with_outcome(part).height
        done += part.height
        yield done


def _store_ahead(run: _Run, name: str, parts: Sequence[pl.DataFrame], first: int) -> int:
    """Store whole blocks from `first` on, up to MOST_ROWS_AT_ONCE rows and at least one; returns where it stopped.

    With outcomes that arrive on their own, one block at a time: no outcome may be older than its event's arrival.
    """
    if run.late is not None:
        last, together, at = first + 1, parts[first], parts[first]["ts"][0]
    else:
        last, rows = first + 1, parts[first].height
        while last < len(parts) and rows + parts[last].height <= MOST_ROWS_AT_ONCE:
            rows += parts[last].height
            last += 1
        together, at = pl.concat(parts[first:last]), parts[last - 1]["ts"][-1]
    for part in together.iter_slices(MOST_ROWS_AT_ONCE):
        run.send_events(part, name, at=at)
        run.send_outcomes(part, name, at=at)
    run.ahead += run.with_outcome(together).height
    return last


def _block_start(at: datetime, length: timedelta) -> datetime:
    seconds = length.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, tz=at.tzinfo)


def _lines(frame: pl.DataFrame) -> bytes:
    frame = frame.drop(LINE)
    if "ts" in frame.columns:
        frame = frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    return frame.write_ndjson().encode()


# --- the document -----------------------------------------------------------------------------------------------------


def _document(site: Site, spec: ModelSpec, run: _Run) -> dict[str, Any]:
    with site.database.read() as db:
        model = store.model(db, spec.model)
        windows = [_window(w, store.window_measurements(db, w.id)) for w in store.windows(db, model.id)]
        alerts = [
            {
                "monitor": a.monitor, "metric": a.metric, "column": a.column, "value": a.value, "limit": a.limit,
                "sentence": a.sentence, "opened_at": a.opened_at.isoformat(), "windows": a.windows, "state": a.state,
                "episodes": a.episodes,
            }
            for a in store.alerts(db, model.id)
        ]  # fmt: skip
    blocked = [d for d in run.decisions if not d["fire"]]
    return {
        "model": spec.model, "windows": windows, "alerts": alerts,
        "runs": [d | {"state": "would_have_started"} for d in run.decisions if d["fire"]],
        "blocked": blocked, "accepted": run.accepted, "duplicates": run.duplicates,
        "rejected": sorted(run.rejected, key=lambda r: (r["file"], r["line"])),
    }  # fmt: skip


def _window(window: Window, measured: Sequence[Measurement]) -> dict[str, Any]:
    kpi = {m.metric: _kpi(m) for m in measured if m.monitor == "kpi" and not m.segment}
    fairness = [
        {
            "metric": m.metric, "by": m.column, "value": m.value, "low": m.low, "high": m.high, "reason": m.reason,
            "limit": m.limit, "alarm": m.alarm, "n": m.n, "groups": m.details.get("groups", []),
        }
        for m in measured
        if m.monitor == "fairness"
    ]  # fmt: skip
    return {
        "from": window.from_ts.isoformat(), "to": window.to_ts.isoformat(), "scale": window.scale, "rows": window.rows,
        "verdict": window.verdict, "sentence": window.sentence, "alarms": _alarms(window, measured), "kpi": kpi,
        "fairness": fairness, "visible": window.decision.get("visible", []), **_statistics(measured),
    }  # fmt: skip


def _statistics(measured: Sequence[Measurement]) -> dict[str, Any]:
    """The catalogue, by statistic and column, and why one is missing; "" is the model as a whole."""
    found: dict[str, dict[str, float]] = {}
    missing: dict[str, dict[str, str]] = {}
    for m in measured:
        if m.monitor == "drift" and m.metric not in ("p_value", "effect"):
            if m.value is not None:
                found.setdefault(m.metric, {})[m.column] = m.value
            else:
                missing.setdefault(m.metric, {})[m.column] = m.reason or ""
    return {"statistics": found, "undefined": missing}


def _kpi(m: Measurement) -> dict[str, Any]:
    """`low` and `high` are the band of the estimate where there is one, else the interval of the realised value."""
    note = m.details.get("estimate", {})
    band = (m.low, m.high) if m.estimated is None else (m.estimated_low, m.estimated_high)
    return {
        "realised": m.value, "estimated": m.estimated, "low": band[0], "high": band[1], "realised_low": m.low,
        "realised_high": m.high, "n": m.n, "reason": m.reason, "label_coverage": m.details.get("coverage"),
        "estimate_reason": note.get("reason"), "estimate_valid": note.get("valid"), "band_held": m.estimate_inside,
        "previous": m.previous_value, "corrected_at": m.corrected_at.isoformat() if m.corrected_at else None,
    }  # fmt: skip


def _alarms(window: Window, measured: Sequence[Measurement]) -> list[dict[str, Any]]:
    """What tripped: for drift one line for each column that is named, else the test of the whole model."""
    alarms: list[dict[str, Any]] = []
    for m in measured:
        if not m.alarm:
            continue
        named = [c for c in window.decision["columns"] if c["alarmed"]] if m.monitor == "drift" else []
        alarms += [
            {
                "monitor": "drift", "metric": m.metric, "column": c["column"], "value": c["adjusted_p"],
                "limit": window.decision["alpha"], "effect": c["effect"], "detail": c["detail"], "change": c["value"],
                "unit": c["unit"],
            }
            for c in named
        ]  # fmt: skip
        if not named:
            alarms.append(
                {"monitor": m.monitor, "metric": m.metric, "column": m.column, "value": m.value, "limit": m.limit}
            )
    return alarms
