"""Read the files of a replay as `assay ingest` and the service do, and sort their rows by time.

There is one reader: `api.upload` divides a file into request bodies, and the reader of the service takes these. A
column that cannot have its declared type refuses the whole file; a row that does not fit is rejected by itself, with
the reason that the service would give.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from api.replay.naming import AS_THEY_ARE, FileColumns
from api.upload.batches import Batch, batches, column_names
from api.upload.files import UploadSource, sources
from api.upload.plan import plan_of
from api.upload.shape import UploadPlan, bodies
from core.errors import InvalidError
from monitor.ingest.media import NDJSON
from monitor.ingest.plausible_times import history_span, to_micros
from monitor.ingest.receive import Body, read_rows
from monitor.ingest.row_schema import events_of, outcomes_of
from monitor.ingest.validate import no_outcome
from monitor.spec.columns import Column
from monitor.spec.event_times import FIRST_TIME, EventTimes
from monitor.spec.model import ModelSpec

LINE_COLUMN: Final = (
    "_line"  # position of a row in its file: the line of a CSV or NDJSON file, the row of a Parquet file, from 1
)
_LIMIT_MB: Final = 1 << 20  # the memory of this machine is the limit
_ANY_TIME: Final = datetime(9999, 12, 30, tzinfo=UTC)  # a history may lie at any time


@dataclass(frozen=True)
class ReplayInput:
    """Rows in order of `ts`, each with its `LINE_COLUMN`; the rejected rows; and notes for the user."""

    name: str
    frame: pl.DataFrame
    rejected: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_events(path: Path, spec: ModelSpec, columns: FileColumns = AS_THEY_ARE, *, now: datetime) -> ReplayInput:
    """Read events, with outcome columns if the file has them.

    Args:
        now: the time by the clock, from which it is guessed whether times were read in the wrong unit.

    Raises:
        InvalidError: the file cannot be read, lacks event_id, ts or version, or has an undeclared or misfit column.
    """
    plan = UploadPlan(spec, rename=columns.rename, constants=columns.constants, ts_as=columns.ts_as)
    read = _Reader(path, spec)
    for source in sources(str(path)):
        if (names := column_names(source)) is not None:
            columns.check(names, path.name)
        own = plan_of(source, plan)
        if own.ids is not None and not columns.make_ids:
            raise InvalidError(
                f"{path.name} has no column 'event_id'; every row needs one, because outcomes name it", field="event_id"
            )
        read.add(source, own)
        read.present |= {columns.rename.get(name, name) for name in names or ()}
    given = read.finish(now)
    frame = given.frame
    absent = [
        name for name in spec.event_columns
        if name not in read.present and frame[name].null_count() == frame.height
    ]  # fmt: skip
    if absent:
        given.notes.append(f"{path.name} has no column {', '.join(absent)}; events are read without it")
    return given


def read_outcomes(path: Path, spec: ModelSpec, *, now: datetime) -> ReplayInput:
    """Read outcomes: `event_id`, `ts` (time of arrival) and outcome columns; raises as `read_events` does."""
    # In production an outcome has no time: it counts from its arrival. Here it is an event that has only outcomes.
    late = _as_inputs(spec, spec.outcome_columns)
    plan, read = UploadPlan(late, constants={"version": "-"}), _Reader(path, late, demanded=tuple(spec.outcome_columns))
    wanted = ", ".join(spec.outcome_columns) or "the spec declares none"
    for source in sources(str(path)):
        names = column_names(source)
        for name in names or ():
            if name in spec.event_columns:
                raise InvalidError(
                    f"{path.name}: column {name!r} is part of the event, not of its outcome; leave it out here",
                    field=name,
                )
        if names is not None and not set(names) & set(spec.outcome_columns):
            raise InvalidError(f"{path.name} has no outcome column; it needs one of: {wanted}", field="columns")
        own = plan_of(source, plan)
        if own.ids is not None:
            raise InvalidError(f"{path.name} has no column 'event_id'; an outcome names its event", field="event_id")
        read.add(source, own)
    given = read.finish(now)
    return ReplayInput(
        given.name,
        given.frame.select(LINE_COLUMN, "event_id", "ts", *spec.outcome_columns),
        given.rejected,
        given.notes,
    )


def _as_inputs(spec: ModelSpec, columns: Mapping[str, Column]) -> ModelSpec:
    """A spec of rows that have these columns, outcomes among them, in one piece."""
    found = {n: c.model_copy(update={"role": "input"}) if c.role == "outcome" else c for n, c in columns.items()}
    return spec.model_copy(update={"columns": found})


class _Reader:
    """Collects the rows of the files at a path.

    A JSON row without any of the `demanded` columns is rejected; in a file with columns it is one that still waits.
    """

    def __init__(self, path: Path, spec: ModelSpec, *, demanded: Sequence[str] = ()) -> None:
        self.name, self._times, self._unit = path.name, spec.times, ""
        self._demanded = demanded
        spec = spec.model_copy(update={"times": EventTimes(earliest=FIRST_TIME)})  # judged when all rows are known
        self.present: set[str] = set()  # columns that a file has, by their new names
        self._targets = {"events": events_of(spec)}
        self._rows_as_they_stand = events_of(_as_inputs(spec, spec.columns))
        if spec.outcome_columns:
            self._targets["outcomes"] = outcomes_of(spec)
        self._frames: list[tuple[UploadSource, pl.DataFrame]] = []
        self._rejected: dict[tuple[str, int], dict[str, Any]] = {}
        self._rows = 0

    def add(self, source: UploadSource, plan: UploadPlan) -> None:
        """Read a file.

        Raises:
            InvalidError: the file is damaged, or a column cannot have its declared type.
        """
        before = 1 if source.format == "csv" else 0  # lines before the first row
        found: dict[str, list[pl.DataFrame]] = {"events": [], "outcomes": []}
        for batch in batches(source, 0):
            self._rows += batch.rows
            for number, line in enumerate(batch.content if isinstance(batch.content, list) else (), start=batch.first):
                if line is None:
                    self._reject(source, number, None, "the line is too long; split it")
            if isinstance(batch.content, pl.DataFrame):
                name = next((old for old, new in plan.rename.items() if new == "ts"), "ts")
                kind = batch.content.schema.get(name)
                self._unit = kind.time_unit if isinstance(kind, pl.Datetime) else ""
            rest = batch
            if isinstance(batch.content, list) and not plan.changes_lines:
                rest = self._without_good_lines(batch, batch.content, found)
            try:
                sent = bodies(plan, rest, first=batch.first == 1)
            except InvalidError as error:
                raise InvalidError(f"file {source.name}: {error.message}", **error.facts) from error
            for body in sent:
                target = self._targets[body.kind]
                checked = read_rows(target, Body(body.content, body.media_type), _ANY_TIME, _LIMIT_MB)
                for row in checked.rejected:
                    self._reject(source, body.rows[row.line - 1] + before, row.field, row.reason)
                lines = pl.Series(LINE_COLUMN, body.rows, dtype=pl.Int64) + before
                found[body.kind].append(checked.frame.with_columns(lines.gather([n - 1 for n in checked.lines])))
        if source.format == "ndjson" and self._demanded:
            found["events"] = [self._with_demanded(source, frame) for frame in found["events"]]
        if found["events"]:
            self._frames.append((source, _joined(found["events"], found["outcomes"])))

    def _without_good_lines(
        self, batch: Batch, lines: list[bytes | None], found: dict[str, list[pl.DataFrame]]
    ) -> Batch:
        """Take the lines whose values all fit, event and outcome in one piece; the others are read as they are sent.

        This is many times faster than dividing each line into an event and an outcome.
        """
        numbers = [batch.first + i for i, line in enumerate(lines) if line and line.strip()]
        if not numbers:
            return batch
        text = b"\n".join(line for line in lines if line and line.strip())
        checked = read_rows(self._rows_as_they_stand, Body(text, NDJSON), _ANY_TIME, _LIMIT_MB)
        taken = pl.Series(LINE_COLUMN, numbers, dtype=pl.Int64).gather([n - 1 for n in checked.lines])
        frame = checked.frame.with_columns(taken)
        outcomes = [name for name in self._rows_as_they_stand.columns if name not in self._targets["events"].columns]
        found["events"].append(frame.drop(outcomes))
        if outcomes:
            found["outcomes"].append(frame.select("event_id", *outcomes, LINE_COLUMN))
        done = frozenset(taken)
        rest = [None if batch.first + i in done else line for i, line in enumerate(lines)]
        return replace(batch, content=rest)

    def _with_demanded(self, source: UploadSource, frame: pl.DataFrame) -> pl.DataFrame:
        empty = frame.select(pl.all_horizontal(pl.col(self._demanded).is_null())).to_series()
        for line in frame[LINE_COLUMN].filter(empty):
            self._reject(source, line, None, no_outcome(self._demanded))
        return frame.filter(~empty)

    def _reject(self, source: UploadSource, line: int, name: str | None, reason: str) -> None:
        """Note a row; of a row whose event and outcome are both rejected, the event counts."""
        row = {"file": source.name, "line": line, "field": name, "reason": reason}
        self._rejected.setdefault((source.name, line), row)

    def finish(self, now: datetime) -> ReplayInput:
        """All rows in order of their time, without those whose times cannot be right beside the newest.

        Raises:
            InvalidError: there is none.
        """
        if not self._rows:
            raise InvalidError(f"file {self.name} has no rows", field="file", value=self.name)
        frames = self._plausible(now)
        rejected = sorted(self._rejected.values(), key=lambda row: (row["file"], row["line"]))
        if not any(frame.height for frame in frames):
            first = rejected[0] if rejected else {"field": None, "reason": "the file has only blank lines"}
            name = f"{first['field']}: " if first["field"] else ""
            raise InvalidError(
                f"{self.name}: no row can be used; the first: {name}{first['reason']}", field=first["field"]
            )
        frame = pl.concat(frames, how="diagonal_relaxed")
        return ReplayInput(self.name, frame.sort("ts", maintain_order=True), rejected)

    def _plausible(self, now: datetime) -> list[pl.DataFrame]:
        if not self._frames:
            return []
        span = history_span(self._times, pl.concat([frame["ts"] for _, frame in self._frames]), now)
        frames: list[pl.DataFrame] = []
        for source, frame in self._frames:
            bad = ~frame["ts"].is_between(span.earliest, span.latest)
            for line, at in frame.filter(bad).select(LINE_COLUMN, "ts").iter_rows():
                self._reject(source, line, "ts", span.reason(repr(at.isoformat()), to_micros(at), self._unit))
            frames.append(frame.filter(~bad))
        return frames


def _joined(events: Iterable[pl.DataFrame], outcomes: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The events of a file in their order, with the outcomes of the same rows."""
    frame = pl.concat(events).sort(LINE_COLUMN)
    if not outcomes:
        return frame
    return frame.join(pl.concat(outcomes).drop("event_id"), on=LINE_COLUMN, how="left", maintain_order="left")
