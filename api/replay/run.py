"""Run a replay: send rows when the clock reaches their time, and close windows as production does.

As in production, an evaluation runs only where it can find something (`monitor.windows.wake`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from api.replay.input import LINE_COLUMN, ReplayInput
from core.clock import ManualClock
from monitor import service, store
from monitor.events.arrivals import Arrivals
from monitor.ingest.receive import Kind, Receipt, store_rows, target_of
from monitor.ingest.validate import CheckedRows
from monitor.site import Site
from monitor.spec.false_alarm_budget import watches_concept
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import GRACE_PERIOD, block_length
from monitor.tables import ReferenceRow
from monitor.windows import concept
from monitor.windows.backtest import StoredHistory
from monitor.windows.close import CLOSE_AFTER_QUIET
from monitor.windows.evaluate import evaluate
from monitor.windows.wake import WakeCondition, wake_condition

MAX_ROWS_AT_ONCE: Final = 20_000


@dataclass
class ReplayRun:
    """State of a replay: the rows sent and rejected, and the decisions."""

    site: Site
    spec: ModelSpec
    late: ReplayInput | None
    rejected: list[dict[str, Any]]
    accepted: int = 0
    duplicates: int = 0
    sent: int = 0  # late outcomes sent
    decisions: list[dict[str, Any]] = field(default_factory=list)
    last_run_at: datetime | None = None
    trained_on: int = 0  # labelled events that the last run would have consumed
    ahead: int = 0  # stored outcomes whose event lies ahead of the clock
    stream: dict[str, Any] | None = None  # state with which the error streams began
    arrived: Arrivals = field(default_factory=Arrivals)  # since the last evaluation
    waits_for: WakeCondition | None = None  # None where the next evaluation must not be skipped
    skipped: list[datetime] = field(default_factory=list)  # times since the last evaluation at which none could run

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.site.clock, ManualClock)  # open_fresh was given it
        return self.site.clock

    def send_events(self, part: pl.DataFrame, name: str, *, at: datetime, arrived: pl.Series | None) -> None:
        """Store events at `at`, with arrival times from `arrived` or all at `at`; outcome columns are left out."""
        receipt = self._store("events", part, at=at, arrived=arrived)
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self._note(receipt, name, part)

    def send_outcomes(self, part: pl.DataFrame, name: str, *, at: datetime, as_events: bool) -> None:
        """Store outcomes at `at`, with the arrival times of their events or all at `at`."""
        known = self.with_outcome(part)
        if known.height:
            receipt = self._store("outcomes", known, at=at, arrived=known["ts"] if as_events else None)
            self._note(receipt, name, known)

    def _store(self, kind: Kind, part: pl.DataFrame, *, at: datetime, arrived: pl.Series | None) -> Receipt:
        """Store rows that the reader has checked."""
        target = target_of(self.site, self.spec.model, kind)
        stored = [*target.columns, "ts"] if target.timed else [n for n in target.columns if n in part.columns]
        checked = CheckedRows(part.select(stored), range(1, part.height + 1), [])
        ahead = replace(self.site, clock=ManualClock(at))
        return store_rows(ahead, target, checked, at, keep_rejected=False, arrived=arrived)

    def with_outcome(self, part: pl.DataFrame) -> pl.DataFrame:
        columns = [c for c in part.columns if c in self.spec.outcome_columns]
        return part.filter(pl.any_horizontal(pl.col(columns).is_not_null())) if columns else part.clear()

    def send_late(self) -> None:
        """Send the outcomes that have arrived by the clock's time."""
        if self.late is None:
            return
        due = int((self.late.frame["ts"] <= self.clock.now()).sum())
        if due > self.sent:
            late = self.late.frame[self.sent : due]
            self.send_outcomes(late, self.late.name, at=self.clock.now(), as_events=False)
            self.sent = due

    def close_due_windows(self) -> None:
        """Close windows that are due; where none can be, only labels may have arrived, which wait until one is."""
        if not self._can_find_something():
            self.skipped.append(self.clock.now())
            return
        if watches_concept(self.spec):
            self._watch_labels()
        self._evaluate()
        self._note_stream()

    def _watch_labels(self) -> None:
        """Feed the error streams what arrived by each time at which no evaluation ran."""
        times, self.skipped = self.skipped, []
        while times and self.stream is None:
            concept.watch_at(self.site, *self.reference(), [times.pop(0)])
            self._note_stream()
        if times:
            concept.watch_at(self.site, *self.reference(), times)

    def _note_stream(self) -> None:
        if self.stream is None and watches_concept(self.spec):
            self.stream = self.reference()[1].concept

    def _can_find_something(self) -> bool:
        for posted in self.site.events.arrivals.drain().values():
            self.arrived.add(posted)
        wanted, now = self.waits_for, self.clock.now()
        return wanted is None or wanted.can_close(self.arrived, now) or wanted.has_late_rows(self.arrived)

    def _evaluate(self) -> None:
        """Evaluate; if a window was judged, consider the retrain policy."""
        if evaluate(self.site, self.spec.model) and self.spec.retrain is not None:
            self._consider()
        # Rows are stored ahead of the clock: how far they reach still counts at the next evaluation.
        self.arrived = Arrivals(next_seq=self.arrived.next_seq, high_ts=self.arrived.high_ts)
        with self.site.database.read() as db:
            row = store.newest_reference(db, store.model(db, self.spec.model).id)
            collecting = row is None or (row.state == "collecting" and self._is_automatic())
            self.waits_for = None if collecting else wake_condition(self.site, db, self.spec.model)

    def _is_automatic(self) -> bool:
        return self.spec.fixed_baseline is None or self.spec.monitors.windows == "auto"

    def reference(self) -> tuple[service.CurrentSpec, ReferenceRow]:
        with self.site.database.read() as db:
            current = service.current_spec(self.site, db, self.spec.model)
            row = store.newest_reference(db, current.model.id)
        assert row is not None  # every model has one from its first spec on
        return current, row

    def stored(self) -> StoredHistory:
        return StoredHistory(self.site, *self.reference(), self.stream)

    def finish(self) -> None:
        """Close the remaining windows when their time block has passed, as if nothing came after the file."""
        windows, last = self.spec.monitors.window_lengths, self.clock.now()
        if not isinstance(windows, RowWindow):
            length = block_length(windows)
            self.clock.move_to(_block_start(last, length) + length + GRACE_PERIOD)
        self.clock.move_to(last + GRACE_PERIOD + CLOSE_AFTER_QUIET)
        self.waits_for = None  # no row follows, so a window closes by the quiet alone
        self.close_due_windows()
        if self.late is not None and self.sent < self.late.frame.height:
            self.clock.move_to(self.late.frame["ts"][-1])
            self.send_late()
            self.close_due_windows()

    def _consider(self) -> None:
        """Decide by the retrain policy, as if every earlier run had ended at once without a promotion."""
        from retrain.runs.consider import gather  # a twentieth of a small replay that has no policy
        from retrain.runs.policy_state import remember
        from retrain.triggers import decide
        from retrain.triggers.base import Labelled

        policy = self.spec.retrain
        assert policy is not None
        with self.site.database.read() as db:
            current = service.current_spec(self.site, db, self.spec.model)
            inputs = gather(self.site, db, current, None)
        seen = max(0, inputs.labelled.since_training - self.ahead)
        since_alarm = inputs.labelled.since_alarm
        inputs = replace(
            inputs, last_run_at=self.last_run_at, lacking=(),  # what this machine has free says nothing about then
            labelled=Labelled(
                max(0, seen - self.trained_on), None if since_alarm is None else max(0, since_alarm - self.ahead)
            ),
        )  # fmt: skip
        found = decide(inputs, policy)
        with self.site.database.write() as db:
            remember(db, current.model.id, current.spec, found)
        if found.fire:
            self.last_run_at, self.trained_on = inputs.now, seen
        if any(f.fire for f in found.findings):
            decision = {
                "at": inputs.now.isoformat(), "fire": found.fire, "reason": found.reason,
                "findings": [f.recorded for f in found.findings], "blocked_by": [asdict(b) for b in found.blocked_by],
            }  # fmt: skip
            self.decisions.append(decision)

    def _note(self, receipt: Receipt, name: str, part: pl.DataFrame) -> None:
        if not receipt.rejected:
            return
        lines = part[LINE_COLUMN]
        known = {
            (row["file"], row["line"]) for row in self.rejected
        }  # the outcome in the same row is rejected with its event
        self.rejected += [
            {"file": name, "line": line, "field": row.field, "reason": row.reason}
            for row in receipt.rejected
            if (name, line := lines[row.line - 1]) not in known
        ]


def feed(run: ReplayRun, given: ReplayInput) -> Iterator[int]:
    """Feed the file and close the remaining windows; yields the number of rows done so far."""
    by_rows = isinstance(run.spec.monitors.window_lengths, RowWindow)
    yield from (_feed_rows if by_rows else _feed_time)(run, given)
    run.finish()


def _feed_rows(run: ReplayRun, given: ReplayInput) -> Iterator[int]:
    """Feed the rows of one window at a time; each window is judged at its last row."""
    windows = run.spec.monitors.window_lengths
    assert isinstance(windows, RowWindow)
    done = 0
    for part in given.frame.iter_slices(windows.rows):
        run.clock.move_to(part["ts"][-1])
        run.send_events(part, given.name, at=run.clock.now(), arrived=part["ts"])
        run.send_outcomes(part, given.name, at=run.clock.now(), as_events=True)
        run.send_late()
        run.close_due_windows()
        done += part.height
        yield done


def _feed_time(run: ReplayRun, given: ReplayInput) -> Iterator[int]:
    """Feed block by block of event time.

    Rows are stored ahead of the clock, many blocks at once. That is safe: a window needs later events to close but
    reads none of them, and the retrain policy does not count labels ahead of the clock.
    """
    windows = run.spec.monitors.window_lengths
    assert not isinstance(windows, RowWindow)
    length = block_length(windows)
    blocks = _blocks(run, given.frame, length)
    done = stored = 0
    for position, block in enumerate(blocks):
        if position >= stored:
            stored = _store_ahead(run, given, blocks, position)
        run.clock.move_to(_block_start(block.first_ts, length) + GRACE_PERIOD)
        run.send_late()
        run.close_due_windows()
        run.clock.move_to(block.last_ts)
        run.ahead -= block.labelled
        done += block.rows
        yield done


@dataclass(frozen=True, slots=True)
class _Block:
    """The rows of one block of event time, which follow each other in the file.

    `at`: index of the first. `labelled`: how many of them have an outcome in the file.
    """

    at: int
    rows: int
    labelled: int
    first_ts: datetime
    last_ts: datetime


def _blocks(run: ReplayRun, frame: pl.DataFrame, length: timedelta) -> list[_Block]:
    """The blocks of a frame in order of `ts`."""
    columns = [c for c in frame.columns if c in run.spec.outcome_columns]
    labelled = pl.any_horizontal(pl.col(columns).is_not_null()).sum() if columns else pl.lit(0)
    found = frame.with_row_index("_at").group_by(pl.col("ts").dt.truncate(length).alias("_block"), maintain_order=True)
    counted = found.agg(
        pl.col("_at").first(), pl.len(), labelled.alias("_labelled"),
        pl.col("ts").first().alias("_first"), pl.col("ts").last().alias("_last"),
    )  # fmt: skip
    return [_Block(*row) for row in counted.drop("_block").iter_rows()]


def _store_ahead(run: ReplayRun, given: ReplayInput, blocks: Sequence[_Block], first: int) -> int:
    """Store complete blocks from `first` on: at least one, up to MAX_ROWS_AT_ONCE rows; return the next block.

    If outcomes arrive separately, store one block at a time: no outcome may be older than its event's arrival.
    """
    apart = run.late is not None
    last, rows = first + 1, blocks[first].rows
    while not apart and last < len(blocks) and rows + blocks[last].rows <= MAX_ROWS_AT_ONCE:
        rows += blocks[last].rows
        last += 1
    together, at = given.frame[blocks[first].at : blocks[first].at + rows], blocks[last - 1].last_ts
    if apart:
        at = blocks[first].first_ts
    for part in together.iter_slices(MAX_ROWS_AT_ONCE):
        run.send_events(part, given.name, at=at, arrived=None if apart else part["ts"])
        run.send_outcomes(part, given.name, at=at, as_events=not apart)
    run.ahead += sum(block.labelled for block in blocks[first:last])
    return last


def _block_start(at: datetime, length: timedelta) -> datetime:
    seconds = length.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, tz=at.tzinfo)
