"""The page that answers: was it fair over this period, for whom, how sure?"""

import shlex
from itertools import groupby
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.fairness import FairnessAsked, fairness_for
from api.http.protected import causes_for, flips_for
from api.pages.models.fairness_chart import disparities_chart, groups_chart, height_of
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.service import current_spec
from reports.facts.fairness_chart import fairness_timeline, shown_rates
from reports.fairness import CellLine, FairnessAnswer
from retrain import store as retrain_store

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Text = Annotated[str | None, Query(max_length=1000)]


@router.get("/models/{name}/fairness")
def fairness_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb,
    begin: Annotated[str | None, Query(alias="from", max_length=64)] = None,
    end: Annotated[str | None, Query(alias="to", max_length=64)] = None,
    by: Text = None, metric: Text = None, positive: Text = None,
    depth: Annotated[int | None, Query(ge=1, le=8)] = None,
) -> HTMLResponse:  # fmt: skip
    spec = current_spec(site, db, name).spec
    found = fairness_for(site, db, caller, name, FairnessAsked(begin, end, by, depth, positive, metric))
    drawn = fairness_timeline(found)
    chosen = {"by": by, "depth": depth, "positive": positive, "metric": metric}
    whole = {"from": found.start.isoformat(), "to": found.end.isoformat(), **{k: v for k, v in chosen.items() if v}}
    return page(
        "models/fairness.html", caller=caller, fair=found, chart=disparities_chart(drawn) if drawn else None,
        height=height_of(len(drawn.panels), 116) if drawn else 0,
        by_groups=_tables(found),
        asked=_asked(found, by, metric), columns=spec.with_role("protected"),
        metrics=sorted({rule.metric for rule in spec.monitors.fairness} | {d.metric for d in found.disparities}),
        definitions=_definitions(found), **_causes(caller, db, name, found),
        export=f"/api/v1/models/{quote(name, safe='')}/fairness?{urlencode(whole)}",
        command=shlex.join(["assay", "fairness", name, "--from", str(whole["from"]), "--to", str(whole["to"])]),
    )  # fmt: skip


def _causes(caller: Caller, db: Session, name: str, found: FairnessAnswer) -> dict[str, Any]:
    """Where the differences of the period's alarms come from, and the newest flip test."""
    model = store.model(db, name)
    rows = store.causes_between(db, model.id, found.start, found.end)
    flips = retrain_store.flips(db, model.id, limit=1)
    return {
        "model": model, "causes": [(row, causes_for(caller, row.document)) for row in rows],
        "flips": [(row, flips_for(caller, row.document)) for row in flips],
    }  # fmt: skip


def _tables(found: FairnessAnswer) -> list[tuple[str, list[CellLine], tuple[str, ...], dict[str, Any] | None]]:
    """The groups by what forms them, each with the rates that its table shows, and a chart; JSON and CSV have all."""
    parted = [(by, list(cells)) for by, cells in groupby(found.groups, key=lambda cell: cell.by)]
    return [(by, cells, rates := shown_rates(cells), groups_chart(cells, rates)) for by, cells in parted]


def _asked(found: FairnessAnswer, by: str | None, metric: str | None) -> dict[str, Any]:
    """What the form shows: the days of the period, the last one inside."""
    last = found.end.date().toordinal() - (found.end.time().isoformat() == "00:00:00")
    return {
        "days": (found.start.date().isoformat(), type(found.end.date()).fromordinal(last).isoformat()),
        "by": by or "", "metric": metric or "",
    }  # fmt: skip


def _definitions(found: FairnessAnswer) -> list[tuple[str, str, str]]:
    named = {d.metric: (d.metric, d.definition.rstrip("."), d.method) for d in found.disparities}
    return list(named.values())
