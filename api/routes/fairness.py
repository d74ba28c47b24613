"""The route that answers: was it fair over this period, for whom, how sure?"""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.http.auth import requires
from api.http.deps import In, ReadDb, SiteDep
from api.http.fairness import FairnessAsked, fairness_for
from api.http.protected import withheld_header
from governance.access.roles import Caller, Permission
from reports.fairness import FairnessAnswer

router = APIRouter(prefix="/api/v1/models/{model}", tags=["monitoring"])
CSV: Final = "text/csv; charset=utf-8"
_TIME: Final = "a day such as 2026-07-01, or a time with its zone such as 2026-07-01T00:00:00Z"


class FairnessQuery(In):
    from_: str | None = Field(
        None, alias="from", max_length=64, description=f"begin of the period: {_TIME}; without it, 92 days before to"
    )
    to: str | None = Field(
        None, max_length=64,
        description=f"end of the period: {_TIME}; a day is inside, a time is not; without it, now",
    )  # fmt: skip
    by: str | None = Field(
        None, max_length=1000,
        description="protected columns, parted by commas, whose groups and intersections are shown; without it, all",
    )  # fmt: skip
    depth: int | None = Field(
        None, ge=1, le=8, description="columns in one intersection at most; without it 2, where there are as many"
    )
    positive: str | None = Field(
        None, max_length=1000, description="class whose rates are compared; without it, the declared one"
    )
    metric: str | None = Field(
        None, max_length=100, description="only this disparity, such as equalized_odds_difference"
    )
    format: Literal["json", "csv"] = "json"


@router.get("/fairness", response_model=FairnessAnswer, responses={200: {"content": {"text/csv": {}}}})
def read(
    caller: Annotated[Caller, requires(Permission.READ)], model: str, query: Annotated[FairnessQuery, Query()],
    site: SiteDep, db: ReadDb, response: Response,
) -> FairnessAnswer | Response:  # fmt: skip
    """Was it fair over a period, for whom, how sure: a sentence, groups with intervals, disparities with verdicts.

    Added up from the stored counts of the period's windows. Groups of a protected column that is no category are left
    out, and its name is in X-Assay-Withheld, unless the caller may read its values; that is recorded.
    """
    asked = FairnessAsked(query.from_, query.to, query.by, query.depth, query.positive, query.metric)
    found = fairness_for(site, db, caller, model, asked)
    headers = withheld_header(frozenset(found.withheld))
    if query.format == "csv":
        from reports.facts.fairness_csv import fairness_csv

        named = {"Content-Disposition": f'attachment; filename="fairness-{found.start:%Y%m%d}-{found.end:%Y%m%d}.csv"'}
        return Response(fairness_csv(found), media_type=CSV, headers=headers | named)
    response.headers.update(headers)
    return found
