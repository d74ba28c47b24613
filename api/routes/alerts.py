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
from api.http.protected import examples_for, refuse_confirmed_protected, typical_for
from api.http.reach import Reach, seen_ids
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from governance.erasure import ErasedError
from monitor import store
from monitor.alerts import store as alert_store
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.alerts.findings import findings, standing
from monitor.carriers import ForWhom
from monitor.finding_tables import AlertFinding
from monitor.harm import Harm
from monitor.tables import Alert, Model
from reports.alerts.around import Happened
from reports.alerts.next_actions import NextAction
from reports.alerts.similar import SimilarAlert
from reports.alerts.story import story

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


class StandingOut(Out):
    """What drove an alert: `found`, `nothing`, `failed` or `pending`, in a sentence; `none` for other alerts."""

    state: str
    sentence: str


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
    why: StandingOut | None = None


class AlertDetailsOut(AlertOut):
    """An alert with what its page says: `headline` first, then did it hurt, for whom, what else happened, similar ones.

    `since` is in the time of the events. `harm`: the KPIs of its window beside those of the last one before it began.
    `carriers`: segments, versions and agents. `around`: from two days before it began to the end of its window.
    `similar`: earlier alerts that the caller may see, with what was done. `next`: what to do now. `spec_problem` says
    why the spec of its model cannot be read.
    """

    headline: str
    since: datetime
    harm: Harm
    carriers: ForWhom
    around: list[Happened]
    similar: list[SimilarAlert]
    next: list[NextAction]
    spec_problem: str | None


class ExampleOut(Out):
    """A row that is typical of the change, and the columns that make it so; `values` are redacted."""

    event_id: str
    by: list[str]
    values: dict[str, Any] | None


class FindingOut(StandingOut):
    """`figures` are those behind the sentence; `earlier` those of earlier windows, newest first.

    `examples` is null without the permission to read events.
    """

    window_id: UUID | None = None
    at: datetime | None = None
    figures: dict[str, Any] = Field(default_factory=dict)
    examples: list[ExampleOut] | None = None
    earlier: list["FindingOut"] = Field(default_factory=list)


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


def _told(db: Session, rows: Sequence[Alert]) -> list[AlertOut]:
    """Alerts as answers, with what drove them."""
    known = findings(db, [row.id for row in rows])
    told = [standing(db, row, known[row.id]) for row in rows]
    return [
        out.model_copy(update={"why": StandingOut(state=one.state, sentence=one.sentence)})
        for out, one in zip(with_models(db, AlertOut, rows), told, strict=True)
    ]


def _one(db: Session, alert: Alert) -> AlertOut:
    db.flush()
    return _told(db, [alert])[0]


@router.get("/models/{model}/alerts")
def list_alerts(
    _: Reader, model: str, db: ReadDb, state: Literal["open", "acknowledged", "resolved"] | None = None
) -> Page[AlertOut]:
    return Page[AlertOut](items=_told(db, store.alerts(db, store.model(db, model).id, state=state)))


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
    return Page[AlertOut](items=_told(db, found))


@router.get("/alerts/{alert_id}")
def read(caller: Reader, alert_id: UUID, site: SiteDep, db: ReadDb) -> AlertDetailsOut:
    """Everything that the page of the alert says, but for the example rows: `why` and `examples` have those."""
    alert = store.alert(db, alert_id)
    told = story(site, db, alert, seen_ids(db, caller))
    return AlertDetailsOut(
        **dict(_one(db, alert)), headline=told.headline, since=told.since, harm=told.harm, carriers=told.carriers,
        around=list(told.around), similar=list(told.similar), next=list(told.next), spec_problem=told.spec_problem,
    )  # fmt: skip


@router.get("/alerts/{alert_id}/why")
def why(caller: Reader, alert_id: UUID, site: SiteDep, db: ReadDb) -> FindingOut:
    """What drove an alert: what tells its window from the reference, or what lost cases have in common.

    Example rows are for callers who may read events. Texts in them are redacted; protected columns and the person a
    row is about are never in them.
    """
    alert = store.alert(db, alert_id)
    known = findings(db, [alert_id])[alert_id]
    now = standing(db, alert, known)
    rows = None
    if alert.model_id is not None and now.row is not None and caller.may(Permission.EVENTS_READ):
        rows = [ExampleOut.model_validate(row) for row in typical_for(site, db, alert, now.row)]
    earlier = [_finding(row) for row in known if row is not now.row]
    newest = FindingOut(state=now.state, sentence=now.sentence) if now.row is None else _finding(now.row)
    return newest.model_copy(update={"examples": rows, "earlier": earlier})


def _finding(row: AlertFinding) -> FindingOut:
    return FindingOut(
        state=row.state, sentence=row.sentence, window_id=row.window_id, at=row.created_at, figures=row.figures
    )


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
