"""Routes for where a fairness disparity comes from, of any period and as found for an alert; and for flip tests."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.protected import causes_for, flips_for
from core import queue
from core.clock import check_period
from core.errors import InvalidError
from core.jobs import FlipsJob
from governance.access.roles import Caller, Permission
from monitor import service, store
from retrain import store as retrain_store

router = APIRouter(prefix="/api/v1", tags=["fairness"])
Reader = Annotated[Caller, requires(Permission.READ)]


class CausesQuery(In):
    metric: str
    by: str
    from_: Moment | None = Field(None, alias="from")
    to: Moment | None = None
    given: list[str] = Field(default_factory=list, max_length=10)


class CausesOut(Out):
    """Where one disparity comes from; without `causes`, `reason` says why.

    `causes.disparity` is the rate of the second of `causes.groups` minus that of the first. The parts of
    `causes.together` add up to it, and so do the two parts of each of `causes.columns`. `rows_read` of the `rows` were
    read, evenly spread.
    """

    metric: str
    by: str
    given: list[str]
    value: float | None
    definition: str | None
    positive: str | None
    groups: list[dict[str, Any]]
    min_group: int
    rows: int
    rows_read: int
    sentences: list[str]
    causes: dict[str, Any] | None
    reason: str | None


class AlertCausesOut(CausesOut):
    alert_id: UUID
    window_id: UUID
    computed_at: datetime


@router.get("/models/{model}/fairness/causes")
def causes(caller: Reader, model: str, query: Annotated[CausesQuery, Query()], site: SiteDep, db: ReadDb) -> CausesOut:
    """Where the disparity of a metric in a period comes from, computed now on at most 100,000 of its rows."""
    from monitor.causes.ask import period_causes, rule_of  # with numpy and polars

    check_period(query.from_, query.to)
    current = service.current_spec(site, db, model)
    rule = rule_of(current.spec, query.metric, query.by, query.given)
    return CausesOut.model_validate(causes_for(caller, period_causes(site, current, rule, query.from_, query.to)))


@router.get("/alerts/{alert_id}/causes")
def alert_causes(caller: Reader, alert_id: UUID, db: ReadDb) -> Page[AlertCausesOut]:
    """What was found for a fairness alert: an entry for each window it was told with, and each protected column."""
    store.alert(db, alert_id)
    return Page[AlertCausesOut](
        items=[
            AlertCausesOut.model_validate(
                causes_for(caller, row.document)
                | {"alert_id": alert_id, "window_id": row.window_id, "computed_at": row.computed_at}
            )
            for row in store.fairness_causes(db, alert_id)
        ]
    )


class FlipsOut(Out):
    """A flip test of one version. `tests[].share` of the answers changed; ids of examples need the right to rows."""

    id: UUID
    version: str
    alert_id: UUID | None
    at: datetime
    document: dict[str, Any]


class AcceptedFlipsOut(Out):
    state: str


@router.get("/models/{model}/fairness/flips")
def flips(caller: Reader, model: str, db: ReadDb) -> Page[FlipsOut]:
    """Flip tests of a model, the newest first."""
    rows = retrain_store.flips(db, store.model(db, model).id)
    shown = [FlipsOut.of(row) for row in rows]
    return Page[FlipsOut](items=[one.model_copy(update={"document": flips_for(caller, one.document)}) for one in shown])


@router.post("/models/{model}/fairness/flips", status_code=202)
def ask_flips(
    _: Annotated[Caller, requires(Permission.ALERT_WRITE)], model: str, site: SiteDep, db: Db
) -> AcceptedFlipsOut:
    """Ask the champion the flips that the spec declares, on the newest events; the result is listed when it is done."""
    current = service.current_spec(site, db, model)
    if current.spec.monitors.flips is None:
        raise InvalidError("monitors.flips is not declared; write terms, or columns, to swap", field="monitors.flips")
    queue.enqueue(db, FlipsJob(model=model), now=site.clock.now(), dedupe_key=f"flips:{model}")
    return AcceptedFlipsOut(state="queued")
