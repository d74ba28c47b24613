"""Routes for alerts: list, read, acknowledge, resolve, open the confirmation report."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from api.http.protected import examples_for, refuse_confirmed_protected
from api.http.reach import Reach, seen_ids
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from governance.erasure import ErasedError
from monitor import store
from monitor.alerts import store as alert_store
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.tables import Alert, Model

router = APIRouter(prefix="/api/v1", tags=["alerts"])
Reader = Annotated[Caller, requires(Permission.READ)]
Worker = Annotated[Caller, requires(Permission.ALERT_WRITE)]
State = Literal["open", "acknowledged", "resolved", "unresolved"]
Limit = Annotated[int, Query(ge=1, le=1000)]
T = TypeVar("T", bound=Out)
# The report contains data that users sent: it may run inline scripts in an origin of its own, but load nothing.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)


class NoteIn(In):
    note: str | None = Field(None, max_length=2000)


class AlertOut(Out):
    """An alert; `model` is null where it is about the installation itself."""

    id: UUID
    model: str | None = None
    monitor: str
    metric: str
    column: str
    value: float | None
    limit: float | None
    sentence: str
    severity: str
    incident_id: UUID
    state: str
    windows: int
    episodes: list[dict[str, Any]]
    withdrawn_windows: int
    withdrawn_at: datetime | None
    first_window_id: UUID | None
    last_window_id: UUID | None
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None
    confirmation: dict[str, Any] | None
    confirmation_error: str | None
    confirmed_before: list[dict[str, Any]]


class NewWordOut(Out):
    word: str
    rows: int
    share: float
    shared: bool


class FarRowOut(Out):
    event_id: str
    distance: float
    value: str | list[float] | None


class ExamplesOut(Out):
    """Examples of one text or vector column; the `value` of a row is null if its event no longer exists."""

    column: str
    rows: int
    new_words: list[NewWordOut]
    farthest: list[FarRowOut]


class NotConfirmedError(NotFoundError):
    code = "not_confirmed"


class _OfModel(Protocol):
    model_id: Any


def with_models(db: Session, kind: type[T], rows: Sequence[_OfModel]) -> list[T]:
    """Rows as answers of one kind, each with the name of its model."""
    names = {model.id: model.name for model in store.models(db)}
    return [kind.of(row).model_copy(update={"model": names.get(row.model_id)}) for row in rows]


def _one(db: Session, alert: Alert) -> AlertOut:
    db.flush()
    return with_models(db, AlertOut, [alert])[0]


@router.get("/models/{model}/alerts")
def list_alerts(
    _: Reader, model: str, db: ReadDb, state: Literal["open", "acknowledged", "resolved"] | None = None
) -> Page[AlertOut]:
    return Page[AlertOut](items=with_models(db, AlertOut, store.alerts(db, store.model(db, model).id, state=state)))


@router.get("/alerts")
def list_all(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)],
    db: ReadDb,
    model: str | None = None,
    state: State | None = None,
    limit: Limit = 200,
) -> Page[AlertOut]:
    """Newest first; those of the installation itself too, unless a model is named."""
    found = alert_store.alerts(db, model_ids=seen_ids(db, caller, model), state=state, limit=limit)
    return Page[AlertOut](items=with_models(db, AlertOut, found))


@router.get("/alerts/{alert_id}")
def read(_: Reader, alert_id: UUID, db: ReadDb) -> AlertOut:
    return _one(db, store.alert(db, alert_id))


@router.get("/alerts/{alert_id}/confirmation", response_class=HTMLResponse, responses={409: {}})
def confirmation(
    caller: Annotated[Caller, requires(Permission.EVENTS_READ)],
    alert_id: UUID,
    site: SiteDep,
    db: ReadDb,
    window: UUID | None = None,
) -> HTMLResponse:
    """The Evidently report on the raw rows of the newest confirmed window, or of an earlier one.

    Of a protected category it shows counts of groups. Where it is about other protected values, such as an age or a
    text, the caller must be allowed to read them; that is recorded.
    """
    alert = store.alert(db, alert_id)
    found = _confirmed(alert, window)
    compared = [str(c["column"]) for c in found.get("columns", ())]
    refuse_confirmed_protected(site, db, caller, db.get_one(Model, alert.model_id).name, compared)
    html = site.artifacts.get(found["artifact"])
    headers = {
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return HTMLResponse(html, headers=headers)


def _confirmed(alert: Alert, window: UUID | None = None) -> dict[str, Any]:
    """Return the newest confirmation, or that of a window."""
    of = [c for c in (alert.confirmation, *alert.confirmed_before) if c and str(window) == c["window_id"]]
    found = alert.confirmation if window is None else next(iter(of), None)
    if found is None:
        reason = alert.confirmation_error or "it is still being computed, or the alert is not about drift"
        raise NotConfirmedError(f"alert {alert.id} has no confirmation: {reason}", alert=str(alert.id))
    if (erased := found.get("erased")) is not None:
        raise ErasedError(
            f"erasure {erased['erasure']} removed the report on the raw rows of alert {alert.id}, because they "
            "contained rows of an erased person",
            alert=str(alert.id), erasure=erased["erasure"],
        )  # fmt: skip
    return found


@router.get("/alerts/{alert_id}/examples", responses={409: {}})
def list_examples(
    caller: Annotated[Caller, requires(Permission.EVENTS_READ)], alert_id: UUID, site: SiteDep, db: ReadDb
) -> list[ExamplesOut]:
    """New words in the window's texts, and the rows farthest from the reference."""
    alert = store.alert(db, alert_id)
    _confirmed(alert)
    model = db.get_one(Model, alert.model_id).name
    return [ExamplesOut.model_validate(part) for part in examples_for(site, db, caller, alert, model)]


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(caller: Worker, alert_id: UUID, site: SiteDep, db: Db, body: NoteIn | None = None) -> AlertOut:
    return _one(db, acknowledge_alert(site, db, alert_id, caller.name, body.note if body else None))


@router.post("/alerts/{alert_id}/resolve")
def resolve(caller: Worker, alert_id: UUID, site: SiteDep, db: Db, body: NoteIn | None = None) -> AlertOut:
    return _one(db, resolve_alert(site, db, alert_id, caller.name, body.note if body else None))
