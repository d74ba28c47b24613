"""Redact values that only erased rows had from the sentences and numbers of windows.

A verdict is a sum over many rows and stays. A sentence that quotes such a value, for example a category level that no
remaining row has, loses the value; numbers about a segment that no remaining row belongs to are deleted.
"""

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import queue
from core.jobs import CausesJob, WhyJob
from governance import erasure
from governance.binding.session import because_of_erasure
from governance.binding.withhold import mark_quoting
from governance.erasure import Case
from monitor import store
from monitor.finding_tables import AlertFinding
from monitor.levels import levels
from monitor.notify import outbox
from monitor.notify.tables import OutboxMessage
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import (
    Alert,
    AlertWindow,
    FairnessCause,
    Incident,
    IncidentNote,
    LaterVerdict,
    Measurement,
    ReferenceRow,
    Window,
)
from monitor.upkeep.erase_derived import erased_events, held_erased, rests_on_erased
from monitor.upkeep.erase_groups import counted_levels, levels_in, redact_counts, without_levels

VALUE_KEYS: Final = ("detail", "group", "between", "class")  # keys whose text is a value of a row, unquoted
QUOTABLE_TYPES: Final = ("category", "boolean", "string", "text", "number")
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def redact_quotes(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Redact values that no remaining row of the model has from what is stored about windows.

    Only windows that held an erased row, or whose reference rests on one, can quote such a value.
    """
    with site.database.read() as db:
        erased = erased_events(db, case)
        current = current_spec(site, db, case.model)
        references = db.scalars(select(ReferenceRow).where(ReferenceRow.model_id == current.model.id))
        resting = {row.id for row in references if rests_on_erased(db, row, erased, datasets)}
        everywhere = store.windows(db, current.model.id)
        windows = [w.id for w in everywhere if erased and (w.baseline_id in resting or held_erased(w, erased))]
        quoted = {value for w in windows for value in _quoted_values(db, w)}
        found = levels_in(quoted, current.spec)
    with site.database.write() as db:  # they are judged again, from the rows that are left
        because_of_erasure(db, case.id)
        for verdict in db.scalars(select(LaterVerdict).where(LaterVerdict.window_id.in_(windows))):
            db.delete(verdict)
        for cause in db.scalars(select(FairnessCause).where(FairnessCause.window_id.in_(windows))):
            db.delete(cause)  # its levels are values of rows; it is found again from the rows that are left
            alert = store.alert(db, cause.alert_id)
            job = CausesJob(alert_id=alert.id, model=case.model)
            queue.enqueue(db, job, now=site.clock.now(), dedupe_key=f"causes:{alert.id}:{cause.window_id}:{case.id}")
        for row in db.scalars(select(AlertFinding).where(AlertFinding.window_id.in_(windows))):
            db.delete(row)  # it quotes levels, words and events; what drove the alert is looked for again
            key = f"why:{row.alert_id}:{row.window_id}:{case.id}"
            queue.enqueue(db, WhyJob(alert_id=row.alert_id), now=site.clock.now(), dedupe_key=key)
    declared = json.dumps(current.spec.document, ensure_ascii=False)
    gone = {v for v in found if v and v not in declared} - _still_present(site, current.spec, found)
    if gone:
        with site.database.write() as db:
            mark_quoting(db, case.id, gone, site.clock.now())
    for window_id in windows if gone else ():
        with site.database.write() as db:
            because_of_erasure(db, case.id)
            if _redact_window(db, window_id, gone):
                erasure.remember(db, case, "withheld", {str(window_id): 1})


def _quoted_values(db: Session, window_id: UUID) -> Iterator[str]:
    """Every text stored about a window that may be a value of a row."""
    for _, stored in _documents(db, window_id):
        yield from _values_in(stored)
    yield from counted_levels(db, window_id)
    for measured in store.window_measurements(db, window_id):
        if "=" in measured.segment:
            yield _part(measured)


def _part(measured: Measurement) -> str:
    """The value of a segment, whose name cuts a long one short."""
    return str(measured.details.get("part", measured.segment.partition("=")[2]))


def _documents(db: Session, window_id: UUID) -> Iterator[tuple[tuple[Any, str], Any]]:
    """Every sentence and JSON document stored about a window, with its row and field."""
    window = db.get_one(Window, window_id)
    rows: list[tuple[Any, tuple[str, ...]]] = [(window, ("sentence", "decision", "history"))]
    rows += [(m, ("reason", "details")) for m in store.window_measurements(db, window_id)]
    alerts = select(Alert).join(AlertWindow, AlertWindow.alert_id == Alert.id).where(AlertWindow.window_id == window_id)
    for alert in db.scalars(alerts):
        rows += [(alert, ("sentence", "episodes")), (db.get_one(Incident, alert.incident_id), ("headline",))]
        notes = db.scalars(select(IncidentNote).where(IncidentNote.incident_id == alert.incident_id))
        rows += [(note, ("text",)) for note in notes]
        threads = (f"incident:{alert.incident_id}", outbox.DIGEST)
        told = db.scalars(select(OutboxMessage).where(OutboxMessage.thread.in_(threads)))
        rows += [(message, ("items",)) for message in told]
    for row, fields in rows:
        for field in fields:
            if (stored := getattr(row, field)) is not None:
                yield (row, field), stored


def _values_in(stored: Any, key: str = "") -> Iterator[str]:
    """Values under known keys, and quoted texts in sentences."""
    match stored:
        case str() if key in VALUE_KEYS:
            yield stored
        case str():
            yield from (ast.literal_eval(quoted) for quoted in _QUOTED.findall(stored) if _is_text(quoted))
        case Mapping():
            for name, part in stored.items():
                yield from _values_in(part, str(name))
        case list():
            for part in stored:
                yield from _values_in(part, key)


def _is_text(quoted: str) -> bool:
    """Whether this is a Python string literal; an apostrophe may also start other text."""
    try:
        return isinstance(ast.literal_eval(quoted), str)
    except (SyntaxError, ValueError):
        return False


def _still_present(site: Site, spec: ModelSpec, values: Iterable[str]) -> set[str]:
    """The values that at least one row of the model still has, in any column."""
    wanted, found = list(values), set[str]()
    outcomes = set(spec.outcome_columns)
    numbers: dict[float, list[str]] = {}
    for value in wanted:
        with suppress(ValueError):
            numbers.setdefault(float(value), []).append(value)
    for name, column in spec.columns.items():
        if column.type in QUOTABLE_TYPES and column.role != "subject":
            rows = site.events.scan(spec.model) if name not in outcomes else site.events.outcomes(spec.model).lazy()
            if name in rows.collect_schema().names():
                if column.type == "number":
                    left = rows.select(pl.col(name).filter(pl.col(name).is_in(list(numbers))).unique()).collect()
                    found |= {text for number in left[name].drop_nulls() for text in numbers[number]}
                    continue
                text = pl.col(name).cast(pl.String)
                if column.type == "category":  # groups are named by levels, which may differ from what was sent
                    kept = rows.select(text.unique()).collect()[name].drop_nulls()
                    found |= {*kept, *levels(kept).drop_nulls()} & {*wanted}
                    continue
                left = rows.select(text.filter(text.is_in(wanted)).unique()).collect()
                found |= set(left[name].drop_nulls().to_list())
    return found


def _redact_window(db: Session, window_id: UUID, gone: set[str]) -> bool:
    changed = redact_counts(db, window_id, gone)
    for (row, field), stored in list(_documents(db, window_id)):
        without = _redacted(stored, gone)
        if without != stored:
            setattr(row, field, without)
            changed = True
    for measured in store.window_measurements(db, window_id):
        if _part(measured) in gone:
            db.delete(measured)
            changed = True
    return changed


def _redacted(stored: Any, gone: set[str], key: str = "") -> Any:
    match stored:
        case str() if key in VALUE_KEYS:
            return without_levels(stored, gone)
        case str():
            for value in gone:
                stored = stored.replace(repr(value), "an erased value")
            return stored
        case Mapping():
            return {name: _redacted(part, gone, str(name)) for name, part in stored.items()}
        case list():
            return [_redacted(part, gone, key) for part in stored]
    return stored
