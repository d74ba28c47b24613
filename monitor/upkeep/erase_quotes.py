"""Values of erased rows that words and numbers of windows quote: a level of a category that no row is left with.

A verdict is a sum over many rows and stays. What names a value that only the erased rows had is rewritten: the value is
taken out of sentences, and numbers about a segment that was nobody else's go.
"""

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from governance import erasure
from governance.erasure import Case
from monitor import store
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Alert, AlertWindow, BaselineRow, Window
from monitor.upkeep.erase_derived import erased_events, rests_on, touches

WITHHELD: Final = "(erased)"
NAMES: Final = ("detail", "group")  # keys whose text is a value as it stands in a row
TYPES: Final = ("category", "boolean", "string")
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def withhold(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Take values that no row of the model has any more out of what was said of windows.

    Of those windows that an erased row lay in, or was a row of the reference of.
    """
    with site.database.read() as db:
        erased = erased_events(db, case)
        current = current_spec(site, db, case.model)
        references = db.scalars(select(BaselineRow).where(BaselineRow.model_id == current.model.id))
        resting = {row.id for row in references if rests_on(db, row, erased, datasets)}
        everywhere = store.windows(db, current.model.id)
        windows = [w.id for w in everywhere if erased and (w.baseline_id in resting or touches(w, erased))]
        found = {value for w in windows for value in _values(db, w)}
    declared = json.dumps(current.spec.document, ensure_ascii=False)
    gone = {v for v in found if v and v not in declared} - _present(site, current.spec, found)
    gone.discard(WITHHELD)
    for window_id in windows if gone else ():
        with site.database.write() as db:
            if _rewritten(db, window_id, gone):
                erasure.remember(db, case, "withheld", {str(window_id): 1})


def _values(db: Session, window_id: UUID) -> Iterator[str]:
    """Everything that may be a value of a row in what is stored about a window."""
    for _, stored in _documents(db, window_id):
        yield from _named(stored)
    for measured in store.window_measurements(db, window_id):
        if measured.segment:
            yield measured.segment.partition("=")[2]


def _documents(db: Session, window_id: UUID) -> Iterator[tuple[tuple[Any, str], Any]]:
    """Row and field of each text or document about a window."""
    window = db.get_one(Window, window_id)
    rows: list[tuple[Any, tuple[str, ...]]] = [(window, ("sentence", "decision", "history"))]
    rows += [(m, ("reason", "details")) for m in store.window_measurements(db, window_id)]
    told = select(Alert).join(AlertWindow, AlertWindow.alert_id == Alert.id).where(AlertWindow.window_id == window_id)
    rows += [(alert, ("sentence", "episodes")) for alert in db.scalars(told)]
    for row, fields in rows:
        for field in fields:
            if (stored := getattr(row, field)) is not None:
                yield (row, field), stored


def _named(stored: Any, key: str = "") -> Iterator[str]:
    """Values by name, and what stands between quotes in a sentence."""
    match stored:
        case str() if key in NAMES:
            yield stored
        case str():
            yield from (ast.literal_eval(quoted) for quoted in _QUOTED.findall(stored) if _is_text(quoted))
        case Mapping():
            for name, part in stored.items():
                yield from _named(part, str(name))
        case list():
            for part in stored:
                yield from _named(part, key)


def _is_text(quoted: str) -> bool:
    """Whether it is written as Python writes a text; an apostrophe may begin what is none."""
    try:
        return isinstance(ast.literal_eval(quoted), str)
    except (SyntaxError, ValueError):
        return False


def _present(site: Site, spec: ModelSpec, values: Iterable[str]) -> set[str]:
    """Those that some row of the model still has, in whichever column."""
    wanted, found = list(values), set[str]()
    outcomes = set(spec.outcome_columns)
    for name, column in spec.columns.items():
        if column.type in TYPES and column.role != "subject":
            rows = site.events.scan(spec.model) if name not in outcomes else site.events.outcomes(spec.model).lazy()
            if name in rows.collect_schema().names():
                text = pl.col(name).cast(pl.String)
                left = rows.select(text.filter(text.is_in(wanted)).unique()).collect()
                found |= set(left[name].drop_nulls().to_list())
    return found


def _rewritten(db: Session, window_id: UUID, gone: set[str]) -> bool:
    changed = False
    for (row, field), stored in list(_documents(db, window_id)):
        without = _without(stored, gone)
        if without != stored:
            setattr(row, field, without)
            changed = True
    for measured in store.window_measurements(db, window_id):
        if measured.segment.partition("=")[2] in gone:
            db.delete(measured)
            changed = True
    return changed


def _without(stored: Any, gone: set[str], key: str = "") -> Any:
    match stored:
        case str() if key in NAMES:
            return WITHHELD if stored in gone else stored
        case str():
            for value in gone:
                stored = stored.replace(repr(value), "an erased value")
            return stored
        case Mapping():
            return {name: _without(part, gone, str(name)) for name, part in stored.items()}
        case list():
            return [_without(part, gone, key) for part in stored]
    return stored
