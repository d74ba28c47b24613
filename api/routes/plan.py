"""Route for plan against execution: what a model's spec planned in a period, and what was done, late or missed."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field

from api.http.auth import requires
from api.http.deps import In, Moment, Out, ReadDb, SiteDep
from core.clock import check_period
from governance.access.roles import Caller, Permission
from monitor import store

router = APIRouter(prefix="/api/v1/models/{model}/plan", tags=["governance"])
DAYS: Final = 30  # without a period


class PlanQuery(In):
    from_: Moment | None = Field(None, alias="from", description="begin of the period; without it, 30 days before to")
    to: Moment | None = Field(None, description="end of the period; without it, or later than now, now")


class PlanLineOut(Out):
    planned: str
    due: int | None = Field(description="null where nothing says how many there should be")
    done: int
    missed: int | None
    why: str
    own: bool = Field(description="missed through a fault of the service, and not for want of rows or outcomes")


class PlanOut(Out):
    model: str
    begin: datetime
    end: datetime
    lines: list[PlanLineOut]


@router.get("")
def read(
    _: Annotated[Caller, requires(Permission.READ)], model: str, query: Annotated[PlanQuery, Query()], site: SiteDep,
    db: ReadDb,
) -> PlanOut:  # fmt: skip
    """Checks that were planned and performed in a period; the audit report has the same lines."""
    from reports.facts.execution import plan_of

    now, found = site.clock.now(), store.model(db, model)
    end = min(query.to or now, now)
    begin = query.from_ or end - timedelta(days=DAYS)
    check_period(begin, end)
    lines = [PlanLineOut.of(line) for line in plan_of(db, found, begin, end)]
    return PlanOut(model=found.name, begin=begin, end=end, lines=lines)
