"""Keep what log records say about a span until its event is stored, and write it into the event.

Spans and log records come in requests of their own, in any order and seconds apart. The values of a record are mapped
and redacted for each model of its service and wait in the database, so a restart loses none. They reach the event when
its span arrives, or, if it is stored already, by an amendment of its row. Decision 0031 has the reasons.
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import polars as pl
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.cache import CacheKind
from monitor import store
from monitor.events.amend import REPLACED
from monitor.ingest.otlp.given_up import give_up_oldest
from monitor.ingest.otlp.tables import SpanText
from monitor.ingest.row_schema import Target
from monitor.ingest.typed_columns import DTYPES
from monitor.redact.columns import redacted, redaction_key
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Model

MAX_JOINED: Final = 2_000  # spans written into events in one commit
INTERVAL_S: Final = 1.0  # between amendments of one model by one process, on average
MAX_AHEAD_S: Final = 10.0  # so many of them may follow each other at once after a quiet time
_IDS_PER_QUERY: Final = 500
_TRIES: Final = 3
# Prepared once: each request of spans asks.
_STATE: Final = select(store.REVISION_COUNT.scalar_subquery(), select(SpanText.id).where(SpanText.waits).exists())
_WAITS: Final = (
    select(SpanText.id).join(Model, SpanText.model_id == Model.id)
    .where(Model.name == bindparam("name"), SpanText.waits).limit(1)
)  # fmt: skip
_JOINING: Final = CacheKind[str, "_Turn"]("turns to amend events by model", most=4096)


class _Turn:
    """Whose turn it is to amend the events of one model in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next_at = 0.0  # on the monotonic clock; an even pace would begin the next one then


def add(site: Site, target: Target, frame: pl.DataFrame, said: Mapping[str, tuple[int, int]], now: datetime) -> None:
    """Keep values for the events of one model; committed when this returns.

    Args:
        target: the model's events.
        frame: `event_id`, each once, and columns of its events, not redacted yet.
        said: for each event the time of its newest record and how many there were.
    """
    frame = redacted(frame, target.spec.redact, redaction_key(site.keys.subject))
    rows = {row.pop("event_id"): {n: v for n, v in row.items() if v is not None} for row in frame.iter_rows(named=True)}
    for _ in range(_TRIES - 1):
        with suppress(IntegrityError):  # another request inserted the first text of one of these spans meanwhile
            return _add(site, target, rows, said, now)
    return _add(site, target, rows, said, now)


def _add(site: Site, target: Target, *what: Any) -> None:
    with site.database.write() as db:
        _merge(db, store.model(db, target.spec.model), *what)


def _merge(
    db: Session, model: Model, rows: Mapping[str, Mapping[str, Any]], said: Mapping[str, tuple[int, int]], now: datetime
) -> None:
    """Of each column the value of the newest record counts."""
    known = {row.event_id: row for row in _of_events(db, model, rows, lock=True)}
    for event_id, values in rows.items():
        at, records = said[event_id]
        if (row := known.get(event_id)) is None:
            row = SpanText(model_id=model.id, event_id=event_id, columns={}, written=[], times={}, received_at=now)
            row.records, row.found = 0, False
            db.add(row)
        fresh = {name: value for name, value in values.items() if at >= row.times.get(name, -1)}
        if fresh:
            row.columns, row.times = {**row.columns, **fresh}, {**row.times, **dict.fromkeys(fresh, at)}
            row.waits, row.size = True, len(json.dumps(row.columns, ensure_ascii=False))
            row.records += records
    db.flush()
    give_up_oldest(db, model, now)


def _of_events(db: Session, model: Model, ids: Iterable[str], *, lock: bool = False) -> Iterator[SpanText]:
    wanted = list(ids)
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        query = select(SpanText).where(
            SpanText.model_id == model.id, SpanText.event_id.in_(wanted[start : start + _IDS_PER_QUERY])
        )
        yield from db.scalars(query.with_for_update() if lock else query)


# --- into events that arrive --------------------------------------------------------------------------------------


def state(site: Site) -> tuple[int, bool]:
    """How many revisions all specs have, and whether something waits for an event of any model.

    What comes later waits for `join`.
    """
    with site.database.read_connection() as db:
        revisions, waits = db.execute(_STATE).one()
    return revisions, bool(waits)


def filled(site: Site, target: Target, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[SpanText]]:
    """Fill columns of events that are about to be stored with what waits for them; also returns what was used."""
    with site.database.read_connection() as connection:
        if connection.execute(_WAITS, {"name": target.spec.model}).first() is None:  # mostly
            return frame, []
    with site.database.read() as db:
        model = store.model(db, target.spec.model)
        rows = [row for row in _of_events(db, model, frame["event_id"]) if row.waits]
    if not rows:
        return frame, []
    values = _values(target, rows)
    names = [n for n in values.columns if n not in ("event_id", REPLACED)]
    joined = frame.join(values, on="event_id", how="left", suffix="\0said", maintain_order="left")
    complete = [pl.coalesce(n, f"{n}\0said").alias(n) for n in names]
    outcomes = target.spec.outcome_columns.keys()
    return joined.with_columns(complete).select(frame.columns), [r for r in rows if not outcomes & r.columns.keys()]


def settle(site: Site, used: Sequence[SpanText]) -> None:
    """Note that events have what these rows hold."""
    if not used:
        return
    with site.database.write() as db:
        _settle(db, used)


def _settle(db: Session, used: Sequence[SpanText]) -> None:
    for row in used:
        stored = db.get(SpanText, row.id, with_for_update=True, populate_existing=True)
        if stored is not None and stored.times == row.times:  # else a newer record came meanwhile and waits
            stored.written = sorted({*stored.written, *stored.columns})
            stored.columns, stored.waits, stored.size = {}, False, 0
    ids = [row.event_id for row in used]
    for start in range(0, len(ids), _IDS_PER_QUERY):
        part = ids[start : start + _IDS_PER_QUERY]
        db.execute(update(SpanText).where(SpanText.event_id.in_(part), ~SpanText.found).values(found=True))


def _values(target: Target, rows: Sequence[SpanText]) -> pl.DataFrame:
    """What `amend_events` takes: a column that was written before gives way to a newer value."""
    names = [n for n in target.columns if any(n in row.columns for row in rows)]
    columns = [pl.Series(n, [row.columns.get(n) for row in rows], dtype=DTYPES[target.columns[n]]) for n in names]
    again = [row.written for row in rows]
    ids = pl.Series("event_id", [row.event_id for row in rows], dtype=pl.String)
    return pl.DataFrame([ids, pl.Series(REPLACED, again, dtype=pl.List(pl.String)), *columns])


# --- into events that are stored ----------------------------------------------------------------------------------


def join(site: Site, target: Target, *, at_once: bool = False) -> int:
    """Write what waits into the events of a model that are stored; returns how many spans.

    Returns 0 where another thread is doing it, or did a moment ago: its next turn, or `TextJoiner`, takes the rest.

    Args:
        at_once: however many there were lately.
    """
    turn, now = site.cache.get(_JOINING, target.spec.model, _Turn), time.monotonic()
    if (turn.next_at > now and not at_once) or not turn.lock.acquire(blocking=False):
        return 0
    try:
        if joined := _join(site, target):
            turn.next_at = max(turn.next_at, now - MAX_AHEAD_S) + INTERVAL_S
        return joined
    finally:
        turn.lock.release()


def _join(site: Site, target: Target) -> int:
    name = target.spec.model
    with site.database.read() as db:
        query = select(SpanText.event_id).join(Model, SpanText.model_id == Model.id).where(Model.name == name)
        ids = list(db.scalars(query.where(SpanText.waits).order_by(SpanText.received_at)))
    if not ids:
        return 0
    known = site.events.are_stored(name, pl.Series("event_id", ids, dtype=pl.String))
    others = [event_id for event_id, is_known in zip(ids, known, strict=True) if not is_known]
    stands = site.events.standing_for(name, pl.Series(others, dtype=pl.String)) if others else {}
    stored = [i for i, is_known in zip(ids, known, strict=True) if is_known or i in stands][:MAX_JOINED]
    with site.database.read() as db:
        waiting = [row for row in _of_events(db, store.model(db, name), stored) if row.waits]
    # Of two spans of one call, one has its turn now.
    ready = list({stands.get(row.event_id, row.event_id): row for row in waiting}.values())
    if not ready:
        return 0
    if texts := [row for row in ready if target.columns.keys() & row.columns.keys()]:
        values = _values(target, texts)
        events = [stands.get(event_id, event_id) for event_id in values["event_id"]]
        site.events.amend_events(name, values.with_columns(pl.Series("event_id", events, dtype=pl.String)))
    _append_outcomes(site, target.spec, {stands.get(row.event_id, row.event_id): row.columns for row in ready})
    with site.database.write() as db:
        _settle(db, ready)
    return len(ready)


def _append_outcomes(site: Site, spec: ModelSpec, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Store the evaluations among what log records say, as outcomes of stored events."""
    declared = {name: column.type for name, column in spec.outcome_columns.items()}
    of_events = {event_id: row for event_id, row in values.items() if declared.keys() & row.keys()}
    if of_events:
        ids = pl.Series("event_id", list(of_events), dtype=pl.String)
        columns = [
            pl.Series(name, [row.get(name) for row in of_events.values()], dtype=DTYPES[kind])
            for name, kind in declared.items()
        ]
        site.events.append_outcomes(spec, pl.DataFrame([ids, *columns]), now=site.clock.now())
