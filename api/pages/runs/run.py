"""The page of a run, and what people decide about it."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.pages.forms import Form, reason_of
from api.pages.render import PageRoute, page
from api.pages.runs.charts import course_of, course_spec, difference_height, difference_spec, height_of
from api.pages.runs.progress import ACTIVE, progress
from api.pages.runs.store import entries_of
from core.errors import AppError
from governance.access.roles import Caller, Permission
from monitor.site import Site
from monitor.tables import Dataset
from reports import store
from reports.facts import run_changes, run_story, runs
from reports.facts.citations import Citations
from reports.facts.mitigation import trade_off
from reports.facts.run_gates import differences, gate_facts
from reports.facts.versions import limit_line
from reports.facts.waiting import acts_on
from reports.paths import without_paths
from retrain import store as retrain_store
from retrain.registry.standing import Standing, standing_of
from retrain.runs.approve import approve_run, attest_run, reject_run
from retrain.runs.change_document import evidence_of, used_of
from retrain.runs.change_limits import limits_of, verdict_of
from retrain.tables import Run

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]

Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]
COMPARED = 8  # metrics in the picture of champion and challenger


@router.get("/runs/{run_id}")
def run_page(caller: Reader, run_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    run = retrain_store.run(db, run_id)
    model, decision = store.model_of(db, run.model_id), store.decision(db, run.decision_id)
    entries, gates = entries_of(db, run, model.name), retrain_store.gates(db, run.id)
    citations = Citations(entries)
    datasets = store.datasets(db, [run.train_dataset_id, run.eval_dataset_id, run.holdout_dataset_id])
    standing, unreadable = _standing(site, db, run)
    blocking = standing.rules.gates if standing is not None else tuple(gate.gate for gate in gates)
    seen = differences(run.evaluation, gates)[:COMPARED]
    course = course_of(run.metrics, run.progress)
    return page(
        "runs/run.html", caller=caller, run=run, model=model, decision=decision, standing=standing,
        unreadable=unreadable, active=run.state in ACTIVE, progress=progress(run),
        lead=run_story.lead(run, decision, standing, progress(run)),
        steps=run_story.steps(run, decision, gates, entries, citations),
        acts=() if standing is None else acts_on(db, caller, run, model.name, standing),
        gates=gate_facts(gates, blocking, citations), compared=runs.evaluation(run.evaluation), seen=seen,
        picture=difference_spec(seen) if seen else None, picture_height=difference_height(len(seen)),
        course=course, course_spec=course_spec(course) if course.shown else None, course_height=height_of(course),
        trained=runs.training(run.metrics), configured=runs.configuration(run.config, run.metrics),
        datasets=sorted(datasets.values(), key=lambda d: d.role), cite=citations.find,
        used=used_of(run), traded=trade_off(run.metrics, run.evaluation),
        **_limits(db, run, citations), **_changes(site, db, run, datasets),
    )  # fmt: skip


def _standing(site: Site, db: Session, run: Run) -> tuple[Standing | None, str]:
    """Where the run stands; why nobody can tell, where a spec that it is judged by cannot be read."""
    try:
        return standing_of(db, run, site.clock.now()), ""
    except (AppError, ValueError, NoResultFound) as error:
        return None, f"The rules of this run cannot be read: {without_paths(str(error))}"


def _limits(db: Session, run: Run, citations: Citations) -> dict[str, Any]:
    try:
        limits = limits_of(evidence_of(db, run))
    except (AppError, ValueError, LookupError) as error:
        return {"inside": "not known", "limits": [], "limits_unreadable": str(without_paths(str(error)))}
    lines = [limit_line(line, citations) for line in limits if line["verdict"] != "no limit"]
    return {"inside": verdict_of(limits, run.state), "limits": lines, "limits_unreadable": ""}


def _changes(site: Site, db: Session, run: Run, datasets: Mapping[UUID, Dataset]) -> dict[str, Any]:
    """What was trained otherwise than the champion that this run is compared with."""
    champion = retrain_store.version_named(db, run.model_id, run.champion_version)
    before = None
    if champion is not None and champion.run_id is not None:
        before = db.get(Run, champion.run_id)
    old_set = None if before is None else retrain_store.run_datasets(db, before.id).get("train")
    own_set = datasets.get(run.train_dataset_id) if run.train_dataset_id is not None else None
    candidate = retrain_store.candidate(db, run)
    changed = [] if run.config is None else run_changes.recipe_changes(before, run, [champion, candidate])
    return {
        "champion": champion, "before": before, "candidate": candidate, "changed": changed,
        "data": run_changes.data_change(site, old_set, own_set),
    }  # fmt: skip


@router.post("/runs/{run_id}/approve")
def approve(caller: Approver, run_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    approve_run(site, db, run_id, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/attest")
def attest(
    caller: Annotated[Caller, requires(Permission.VALIDATE)], run_id: UUID, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    attest_run(site, db, run_id, caller, reason_of(form), reason_of(form, "evidence"))
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/reject")
def reject(caller: Approver, run_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    reject_run(site, db, run_id, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run_id}", 303)
