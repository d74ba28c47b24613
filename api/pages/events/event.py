"""The page of one decision: what was asked and answered, and why, as the records of its explanations say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep, StorableText
from api.http.explaining import (
    declared_reasons,
    explained_version,
    newest_reasons_request,
    newest_request,
    request_explanation,
    request_reasons,
)
from api.http.protected import columns_for, reasons_for, refuse_explained_protected
from api.pages.events.decided import alike, outcome_history, references_of, used_in
from api.pages.forms import Form
from api.pages.render import PageRoute, page
from core.errors import ForbiddenError, InvalidError
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.errors import EventNotFoundError
from monitor.levels import level
from monitor.service import current_spec, in_force
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Explanation, ExplanationBlock
from monitor.upkeep.protected import record_read
from retrain import store as retrained

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.EVENTS_READ)]
EventId = Annotated[StorableText, Query(min_length=1, max_length=200)]
MOST_ROWS: Final = 500  # of one table of a record
DEEPEST: Final = 4  # parts within parts; what lies deeper is shown as JSON
FIRST: Final = (
    "state", "reason", "label", "output", "base_value", "residual", "tolerance", "unit", "method", "codes", "words",
    "columns", "features", "attributions", "counterfactuals",
)  # fmt: skip
HIDDEN: Final = frozenset({"piece"})  # a word with the white space around it, which no reader needs


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A list of a record as a table; `total` counts the lines it was cut from."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    numeric: frozenset[int]
    total: int


@dataclass(frozen=True, slots=True)
class RecordParts:
    """A record, or a part of one, whatever its kind put into it."""

    facts: tuple[tuple[str, Any], ...]
    tables: tuple[RecordTable, ...]
    inner: tuple[tuple[str, "RecordParts"], ...]
    rest: tuple[tuple[str, str], ...]  # what fits none of these, as JSON


@dataclass(frozen=True, slots=True)
class ShownExplanation:
    """The stored explanation of one version; `withheld` says why it gives no reasons."""

    version: str
    digest: str
    created_at: datetime
    residual: float | None
    withheld: str | None
    parts: RecordParts


@router.get("/models/{name}/event")
def event_page(
    caller: Reader, name: str, site: SiteDep, db: ReadDb, event_id: EventId,
    similar: Annotated[str, Query(pattern="^1?$")] = "",
) -> HTMLResponse:  # fmt: skip
    model, protected, may = columns_for(site, db, caller, name)
    event = site.events.event(name, event_id)
    if event is None:
        raise EventNotFoundError(name, event_id)
    if may and (there := protected & {*event}):
        record_read(site, caller, name, there, "event", count=1, since=event["ts"], until=event["ts"])
    elif not may:
        event = {key: value for key, value in event.items() if key not in protected}
    version = explained_version(site, db, model, str(event["version"]))
    refused, records = _records(site, db, caller, name, event_id)
    blocks = () if refused or records else retrained.blocks_with(db, model.id, event["seq"], version)
    records = _of_blocks(site, in_force(site, db, model).spec, blocks, event) if blocks else records
    reasons = None if refused else reasons_for(site, db, caller, name, event_id)
    job = newest_request(db, name, event_id)
    current = in_force(site, db, model)
    hidden = frozenset() if may else protected
    asked = newest_reasons_request(db, name, event_id, current.revision) if reasons is None else None
    return page(
        "events/event.html", caller=caller, model=model, event_id=event_id, event=_plain(event), records=records,
        reasons=None if reasons is None else _reasons(reasons), refused=refused, asked=asked,
        declared=current.spec.reasons is not None,
        withheld=sorted(protected) if not may else [], job=job,
        version=version, trace=event.get("trace_id"), sentence=_sentence(current.spec, event),
        history=outcome_history(site, name, event_id, hidden), target=current.spec.target,
        outcome_columns=[c for c in current.spec.outcome_columns if c not in hidden],
        used=used_in(site, db, model, event_id), references=references_of(db, model, event),
        alike=alike(site, current.spec, event, protected) if similar else None,
        api=f"/api/v1/models/{name}/explanations?{urlencode({'event_id': event_id})}",
    )  # fmt: skip


@router.post("/models/{name}/event/explain")
def explain(caller: Reader, name: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    """Queue an explanation of the event that the form names."""
    refuse_explained_protected(site, db, caller, name)
    event = _named(site, name, form)
    request_explanation(site, db, store.model(db, name), event, again=True)
    return RedirectResponse(f"/models/{name}/event?{urlencode({'event_id': event['event_id']})}", 303)


@router.post("/models/{name}/event/reasons")
def give_reasons(caller: Reader, name: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    """Queue the reasons of the decision that the form names."""
    refuse_explained_protected(site, db, caller, name)
    event = _named(site, name, form)
    current = current_spec(site, db, name)
    declared_reasons(current)
    request_reasons(site, db, name, event["event_id"], current.revision, again=True)
    return RedirectResponse(f"/models/{name}/event?{urlencode({'event_id': event['event_id']})}", 303)


def _sentence(spec: ModelSpec, event: Mapping[str, Any]) -> dict[str, Any]:
    """What the first sentence says: the answer, its score, and whether what turned out says the same."""
    prediction, target = spec.with_role("prediction")[0], spec.target
    score = next((event.get(name) for name in spec.with_role("score")), None)
    answer, outcome = event.get(prediction), event.get(target) if target else None
    same = None
    if spec.task == "classification" and answer is not None and outcome is not None:
        same = level(str(answer)) == level(str(outcome))
    return {
        "at": event["ts"], "version": event["version"], "answer": answer, "score": score, "outcome": outcome,
        "same": same, "column": prediction,
    }  # fmt: skip


def _named(site: Site, name: str, form: Form) -> dict[str, Any]:
    event_id = form.get("event_id", "")
    if not event_id:
        raise InvalidError("event_id: is empty; give the id of an event", field="event_id", value="")
    event = site.events.event(name, event_id)
    if event is None:
        raise EventNotFoundError(name, event_id)
    return event


def _reasons(record: dict[str, Any]) -> tuple[RecordParts, RecordParts]:
    """What the record says of the decision; and the rest of it, which that follows from."""
    rest = {key: value for key, value in record.items() if key != "result"}
    return _parts(record["result"], DEEPEST), _parts(rest, DEEPEST)


def _records(
    site: Site, db: Session, caller: Caller, name: str, event_id: str
) -> tuple[str | None, list[ShownExplanation]]:
    """The records of an event, newest first; or why this caller may not read them."""
    try:
        refuse_explained_protected(site, db, caller, name)
    except ForbiddenError as error:
        return error.message, []
    model = columns_for(site, db, caller, name)[0]
    query = select(Explanation).where(Explanation.model_id == model.id, Explanation.event_id == event_id)
    rows = db.scalars(query.order_by(Explanation.created_at.desc())).all()
    return None, [_shown(row, json.loads(site.artifacts.get(row.artifact))) for row in rows]


def _of_blocks(
    site: Site, spec: ModelSpec, blocks: Sequence[ExplanationBlock], event: dict[str, Any]
) -> list[ShownExplanation]:
    """The record of an event that was explained together with many."""
    from retrain.explain.blocks import document_of  # polars, which only a block needs

    found = document_of(site, spec, blocks, event)[0]
    return [] if found is None else [_shown(blocks[0], found)]


def _shown(row: Explanation | ExplanationBlock, document: dict[str, Any]) -> ShownExplanation:
    withheld = str(document.get("reason") or "no reason is given") if document.get("state") == "withheld" else None
    return ShownExplanation(
        row.version,
        row.artifact,
        row.created_at,
        row.residual if isinstance(row, ExplanationBlock) else row.additivity_residual,
        withheld,
        _parts(document, DEEPEST),
    )


def _parts(document: dict[str, Any], deepest: int) -> RecordParts:
    facts, tables = list[tuple[str, Any]](), list[RecordTable]()
    inner, rest = list[tuple[str, RecordParts]](), list[tuple[str, str]]()
    for key in sorted(document, key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key)):
        value = document[key]
        if value is None or isinstance(value, str | int | float):
            facts.append((key, value))
        elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            tables.append(_table(key, value))
        elif isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
            facts.append((key, _listed(value)))
        elif isinstance(value, dict) and deepest:
            if value:
                inner.append((key, _parts(value, deepest - 1)))
        else:
            rest.append((key, json.dumps(value, indent=2, ensure_ascii=False)))
    return RecordParts(tuple(facts), tuple(tables), tuple(inner), tuple(rest))


def _listed(values: list[Any]) -> str:
    return ("; ".join(map(str, values)) or "none") if len(values) <= 20 else f"{len(values):,} values"


def _table(title: str, rows: list[dict[str, Any]]) -> RecordTable:
    headers = tuple(name for name in dict.fromkeys(name for row in rows for name in row) if name not in HIDDEN)
    cells = tuple(tuple(_cell(row.get(name)) for name in headers) for row in rows[:MOST_ROWS])
    numeric = frozenset(i for i in range(len(headers)) if all(isinstance(row[i], int | float | None) for row in cells))
    return RecordTable(title, headers, cells, numeric, len(rows))


def _cell(value: Any) -> Any:
    """A number stays one, so that it is printed as one; a boolean and what is nested become text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        return _listed(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _plain(event: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, v.isoformat() if isinstance(v, datetime | date) else v) for key, v in event.items()]
