"""What a route is about, and whether that lies within the caller's scope: checked once, before any handler runs.

A route whose address names a model, or an id of something that belongs to one, needs no code of its own. Answers for
what lies outside the scope are those for what does not exist. docs/security.md lists every route with its reach.
"""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ForbiddenError
from governance.access.roles import Caller
from governance.access.scopes import require_all_models, require_model, scope_words
from governance.ledger.read import ledger_rows
from governance.tables import ChangeRequest, Erasure
from monitor import store
from monitor.notify.tables import Maintenance, OutboxMessage
from monitor.site import Site
from monitor.tables import Alert, Dataset, Incident, Model, Mute, Window
from reports.tables import Report, ReportSchedule
from retrain.tables import Run


class Reach(StrEnum):
    """What a route is about."""

    MODEL = "model"  # one model: the address names it, or an id of something of its own
    LISTED = "listed"  # several: the handler leaves out what is outside the caller's scope
    SERVICE = "service"  # nothing of any model
    ALL = "all models"  # the installation: only for callers of all models


class OutsideScopeError(ForbiddenError):
    code = "outside_scope"


Owners = Callable[[Session, UUID], tuple[str | None, ...]]


def _of(table: Any) -> Owners:
    """Finds the model of a row: its name, None for one of the installation itself, nothing if there is no row."""

    def found(db: Session, row: UUID) -> tuple[str | None, ...]:
        query = select(table.id, Model.name).outerjoin(Model, Model.id == table.model_id).where(table.id == row)
        return tuple(name for _, name in db.execute(query))

    return found


def message_models(message: OutboxMessage) -> tuple[str | None, ...]:
    return tuple({item.get("model") for item in message.items}) or (None,)


def _of_incident(db: Session, row: UUID) -> tuple[str | None, ...]:
    """The model that an incident began with, and those of its alerts."""
    found = db.get(Incident, row)
    if found is None:
        return ()
    ids = {found.model_id, *db.scalars(select(Alert.model_id).where(Alert.incident_id == row).distinct())}
    names = dict(iter(db.execute(select(Model.id, Model.name).where(Model.id.in_(ids - {None})))))
    return tuple(names.get(ident) if ident is not None else None for ident in ids)


def _of_message(db: Session, row: UUID) -> tuple[str | None, ...]:
    found = db.get(OutboxMessage, row)
    return () if found is None else message_models(found)


def _of_report(db: Session, row: UUID) -> tuple[str | None, ...]:
    """The model of a report; of the file of an incident, every model that the incident is about."""
    found = db.get(Report, row)
    if found is not None and found.kind == "incident" and found.subject is not None:
        return _of_incident(db, UUID(found.subject)) or _of(Report)(db, row)
    return _of(Report)(db, row)


def _of_erasure(db: Session, row: UUID) -> tuple[str | None, ...]:
    found = db.get(Erasure, row)
    return () if found is None else tuple(found.models) or (None,)


SHARED: Final = ("incident_id",)  # of several models: whoever may see one of them sees the part that is about it
MODEL_NAMES: Final = ("model", "name")  # of a path: the name of a model
OWNERS: Final[Mapping[str, Owners]] = {
    "alert_id": _of(Alert), "incident_id": _of_incident, "window_id": _of(Window), "run_id": _of(Run),
    "report_id": _of_report, "schedule_id": _of(ReportSchedule),
    "mute_id": _of(Mute), "maintenance_id": _of(Maintenance), "message_id": _of_message,
    "erasure_id": _of_erasure, "dataset_id": _of(Dataset),
}  # fmt: skip


def within_reach(caller: Caller, reach: Reach, request: Request) -> dict[str, Any]:
    """Check what needs no database; returns the ids of the address whose models must be looked up.

    Raises:
        NotInScopeError: the address names a model outside the caller's scope, or something of one, or nothing.
        WholeScopeError: the route is about all models, and the caller is not for all.
        OutsideScopeError: a model outside the scope would be declared.
    """
    if caller.models is None:
        return {}
    if reach is Reach.ALL:
        require_all_models(caller)
    for name in request.query_params.getlist("model"):
        require_model(caller, name, f"model {name[:100]!r}")
    if reach is not Reach.MODEL:
        return {}
    path = request.path_params
    for name in (str(path[part]) for part in MODEL_NAMES if part in path):
        if request.method == "PUT" and not caller.sees(name):
            raise OutsideScopeError(
                f"{caller.name} is for {scope_words(caller)}, so it declares no model {name[:100]!r}", model=name[:100]
            )
        require_model(caller, name, f"model {name[:100]!r}")
    return {part: path[part] for part in path if part in OWNERS}


def require_owners(site: Site, caller: Caller, ids: Mapping[str, Any]) -> None:
    """Raises NotInScopeError: one of the ids is not of a model in the caller's scope, or of nothing."""
    for part, value in ids.items():
        _require_owner(site, caller, part, value)


def seen_ids(db: Session, caller: Caller, model: str | None = None) -> list[UUID] | None:
    """Ids of the models that a list may be about: the one named, or all in the caller's scope; None for everything.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    if model is not None:
        return [store.model(db, model).id]
    if caller.models is None:
        return None
    return list(db.scalars(select(Model.id).where(Model.name.in_(caller.models))))


def seen_subjects(db: Session, caller: Caller) -> list[str] | None:
    """Subjects of the ledger entries that the caller may read; None for all.

    They are the models of the scope, their runs, reports and waiting changes, and erasures that concern no model
    outside it.
    """
    if caller.models is None:
        return None
    runs = db.scalars(select(Run.id).join(Model, Model.id == Run.model_id).where(Model.name.in_(caller.models)))
    asked = db.scalars(select(Report.id).join(Model, Model.id == Report.model_id).where(Model.name.in_(caller.models)))
    changes = db.scalars(select(ChangeRequest.id).where(ChangeRequest.model.in_(caller.models)))
    erasures = [ident for ident, models in db.execute(select(Erasure.id, Erasure.models)) if within(caller, models)]
    return [
        *(f"model:{name}" for name in sorted(caller.models)), *(f"run:{run}" for run in runs),
        *(f"report:{report}" for report in asked),
        *(f"change:{change}" for change in changes), *(f"erasure:{erasure}" for erasure in erasures),
    ]  # fmt: skip


def within(caller: Caller, models: Collection[str]) -> bool:
    """Whether all of these models, at least one, are in the caller's scope."""
    return bool(models) and all(caller.sees(model) for model in models)


def require_entry(db: Session, caller: Caller, index: int) -> None:
    """Raises NotInScopeError: the ledger entry is about something else than the models of the caller's scope."""
    subjects = seen_subjects(db, caller)
    if subjects is None:
        return
    found = ledger_rows(db, first=index, limit=1, subjects=subjects)
    if not found or found[0].index != index:
        require_model(caller, None, f"ledger entry {index}")


def _require_owner(site: Site, caller: Caller, part: str, value: Any) -> None:
    what = f"{part.removesuffix('_id').replace('_', ' ')} {str(value)[:60]}"
    try:
        wanted = value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        require_model(caller, None, what)
        return
    with site.database.read() as db:
        found = OWNERS[part](db, wanted)
    if part in SHARED and any(model is not None and caller.sees(model) for model in found):
        return
    for model in found or (None,):
        require_model(caller, model, what)
