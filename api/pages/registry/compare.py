"""Two versions side by side: what each is, what it learned from, and where they were judged on the same rows."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.pages.registry.store import names, score_of
from api.pages.render import PageRoute, page
from api.pages.runs.charts import difference_height, difference_spec
from governance.access.roles import Caller, Permission
from monitor import store as monitored
from reports.facts import run_changes, runs
from reports.facts.run_gates import differences
from retrain import store

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Name = Annotated[StorableText | None, Query(max_length=200)]


@router.get("/models/{name}/compare")
def compare_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb, before: Name = None,
    after: Name = None,
) -> HTMLResponse:  # fmt: skip
    model = monitored.model(db, name)
    known = names(db, model.id)
    first, second = before, after
    if first is None and second is None:
        first, second = _judged_last(db, model.id)
    first = first or next((one for one in known if one != second), None)
    second = second or next((one for one in known if one != first), None)
    if first is None or second is None:
        return page("registry/compare.html", caller=caller, model=name, known=known, pair=None)
    pair = [store.version(db, model.id, one, name) for one in (first, second)]
    made = [None if row.run_id is None else store.run(db, row.run_id) for row in pair]
    sets = [None if run is None else store.run_datasets(db, run.id).get("train") for run in made]
    joint = next(
        (
            run
            for run in reversed(store.runs_of_version(db, model.id, second))
            if run.champion_version == first and run.evaluation
        ),
        None,
    )
    other = None if joint is not None else next(
        (run for run in reversed(store.runs_of_version(db, model.id, first)) if run.champion_version == second), None
    )  # fmt: skip
    seen = differences(joint.evaluation, store.gates(db, joint.id))[:8] if joint is not None else []
    return page(
        "registry/compare.html", caller=caller, model=name, known=known, pair=pair, made=made,
        scores=[score_of(run.evaluation if run else None) for run in made], joint=joint, other=other, seen=seen,
        picture=difference_spec(seen) if seen else None, picture_height=difference_height(len(seen)),
        compared=runs.evaluation(joint.evaluation) if joint is not None else (),
        data=run_changes.data_change(site, sets[0], sets[1]),
        changed=[] if made[1] is None else run_changes.recipe_changes(made[0], made[1], pair),
    )  # fmt: skip


def _judged_last(db: Session, model_id: UUID) -> tuple[str | None, str | None]:
    """The champion and the candidate of the newest run that judged one."""
    runs = (run for run in store.runs(db, model_id, 20) if run.candidate_version is not None and run.evaluation)
    newest = next(runs, None)
    return (None, None) if newest is None else (newest.champion_version, newest.candidate_version)
