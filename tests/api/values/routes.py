"""The ways by which values reach a model, each as a function from columns to what would be stored."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from api.replay.input import LINE_COLUMN, read_events
from api.upload.batches import batches
from api.upload.files import sources
from api.upload.plan import plan_of
from api.upload.shape import UploadPlan, bodies
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET
from monitor.ingest.receive import Body, read_rows
from monitor.ingest.row_schema import events_of, outcomes_of
from monitor.ingest.small_batch import read_small_batch
from monitor.spec.parse import parse_spec

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
AT: Final = "2026-05-01T00:00:00Z"
ROLES: Final[Mapping[str, Mapping[str, str]]] = {  # type -> column -> role
    "category": {
        "said": "prediction", "truth": "outcome", "colour": "input", "shop": "segment", "age": "protected",
        "part": "agent",
    },
    "number": {"amount": "input", "latency": "measure", "rating": "outcome"},
    "boolean": {"flag": "input", "vip": "segment", "right": "outcome"},
    "text": {"body": "input", "answer": "outcome"},
    "string": {"customer": "subject", "note": "outcome"},
}  # fmt: skip
SPEC: Final = parse_spec({
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {name: {"role": role, "type": kind} for kind, of in ROLES.items() for name, role in of.items()},
})  # fmt: skip
EVENTS, OUTCOMES = events_of(SPEC), outcomes_of(SPEC)
OUTCOME_NAMES: Final = frozenset(SPEC.outcome_columns)
Columns = Mapping[str, Any]
Stored = Mapping[str, Sequence[Any]]


def _own(rows: int) -> dict[str, Any]:
    return {
        "event_id": [f"e{i}" for i in range(rows)], "version": ["v1"] * rows,
        "ts": pa.array([datetime(2026, 5, 1, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
    }  # fmt: skip


def stored_of(frames: Sequence[pl.DataFrame], names: Sequence[str], rows: int) -> Stored:
    """What is stored of each row; None in place of a row that is not."""
    by_name: dict[str, list[Any]] = {name: [None] * rows for name in names}
    for frame in frames:
        for row in frame.to_dicts():
            for name in names:
                if row.get(name) is not None:
                    by_name[name][int(row["event_id"][1:])] = row[name]
    return by_name


def _sent(media_type: str, write: Callable[[Any], bytes]) -> Callable[[Columns, Path], Stored]:
    def send(columns: Columns, _: Path) -> Stored:
        rows = len(next(iter(columns.values())))
        own = _own(rows)
        event = {name: values for name, values in columns.items() if name not in OUTCOME_NAMES}
        outcome = {name: values for name, values in columns.items() if name in OUTCOME_NAMES}
        frames = [read_rows(EVENTS, Body(write(own | event), media_type), NOW, 100).frame]
        if outcome:
            content = write({"event_id": own["event_id"]} | outcome)
            frames.append(read_rows(OUTCOMES, Body(content, media_type), NOW, 100).frame)
        return stored_of(frames, list(columns), rows)

    return send


def _arrow(columns: Columns) -> bytes:
    out, table = io.BytesIO(), pa.table(dict(columns))
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return out.getvalue()


def _parquet(columns: Columns) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out)
    return out.getvalue()


def lines(columns: Columns) -> list[str]:
    """The rows as JSON; a column of texts holds JSON values, and `ts` is written as a time."""
    names = [name for name in columns if name not in ("event_id", "version", "ts")]
    rows = len(columns["event_id"])
    found = []
    for i in range(rows):
        own = {"event_id": columns["event_id"][i]}
        if "ts" in columns:
            own |= {"version": "v1", "ts": AT}
        values = "".join(f", {json.dumps(name)}: {columns[name][i]}" for name in names)
        found.append(json.dumps(own)[:-1] + values + "}")
    return found


def _small(columns: Columns, _: Path) -> Stored:
    """One event a request, by the reader of small bodies; it takes no outcomes, and only rows that fit."""
    names = [name for name in columns if name not in OUTCOME_NAMES]
    rows = len(columns[names[0]])
    found = []
    for line in lines(_own(rows) | {name: columns[name] for name in names}):
        found += read_small_batch(EVENTS, line.encode(), NDJSON, NOW) or []
    by_name: dict[str, list[Any]] = {name: [None] * rows for name in names}
    for row in found:
        for name in names:
            by_name[name][int(row["event_id"][1:])] = row.get(name)
    return by_name


Write = Callable[[Columns, Path], None]


def _ingested(suffix: str, write: Write) -> Callable[[Columns, Path], Stored]:
    """What `assay ingest` sends of a file, and the service reads."""

    def send(columns: Columns, folder: Path) -> Stored:
        path = folder / f"a.{suffix}"
        rows = len(next(iter(columns.values())))
        write(_own(rows) | dict(columns), path)
        (source,) = sources(str(path))
        plan, frames = plan_of(source, UploadPlan(SPEC)), []
        for batch in batches(source, 0):
            for body in bodies(plan, batch, first=batch.first == 1):
                target = EVENTS if body.kind == "events" else OUTCOMES
                frames.append(read_rows(target, Body(body.content, body.media_type), NOW, 100).frame)
        return stored_of(frames, list(columns), rows)

    return send


def _replayed(suffix: str, write: Write) -> Callable[[Columns, Path], Stored]:
    def send(columns: Columns, folder: Path) -> Stored:
        path = folder / f"a.{suffix}"
        rows = len(next(iter(columns.values())))
        write(_own(rows) | dict(columns), path)
        frame = read_events(path, SPEC, now=NOW).frame
        return stored_of([frame.drop(LINE_COLUMN)], list(columns), rows)

    return send


def _csv(columns: Columns, path: Path) -> None:
    texts = {name: [AT] * len(values) if name == "ts" else values for name, values in columns.items()}
    rows = [",".join(texts), *(",".join(row) for row in zip(*texts.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")


def _table(columns: Columns, path: Path) -> None:
    pq.write_table(pa.table(dict(columns)), path)


def _feather(columns: Columns, path: Path) -> None:
    pyarrow.feather.write_feather(pa.table(dict(columns)), str(path))


def _ndjson(columns: Columns, path: Path) -> None:
    path.write_text("\n".join(lines(columns)))


Route = Callable[[Columns, Path], Stored]
OF_COLUMNS: Final[Mapping[str, Route]] = {
    "arrow body": _sent(ARROW, _arrow), "parquet body": _sent(PARQUET, _parquet),
    "ingest parquet": _ingested("parquet", _table), "ingest arrow": _ingested("arrow", _feather),
    "replay parquet": _replayed("parquet", _table), "replay arrow": _replayed("arrow", _feather),
}  # fmt: skip
OF_TEXT: Final[Mapping[str, Route]] = {
    "ingest csv": _ingested("csv", _csv), "replay csv": _replayed("csv", _csv)
}  # fmt: skip
OF_JSON: Final[Mapping[str, Route]] = {
    "ndjson body": _sent(NDJSON, lambda columns: "\n".join(lines(columns)).encode()),
    "json body": _sent(JSON, lambda columns: f"[{', '.join(lines(columns))}]".encode()),
    "one event a request": _small, "ingest ndjson": _ingested("ndjson", _ndjson),
    "replay ndjson": _replayed("ndjson", _ndjson),
}  # fmt: skip
