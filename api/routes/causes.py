"""Routes for where a fairness disparity comes from: of any period, and as found for an alert."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from api.http.auth import requires
from api.http.deps import In, Moment, Out, Page, ReadDb, SiteDep
from api.http.protected import causes_for
from core.clock import check_period
from governance.access.roles import Caller, Permission
from monitor import service, store

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
