"""The page of a run, and what people decide about it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.pages.drawn import drawn
from api.pages.forms import Form, reason_of
from api.pages.render import PageRoute, page
from api.pages.runs.progress import ACTIVE, progress
from governance.access.roles import Caller, Permission
from reports import store
from reports.charts.svg import loss_svg
from reports.facts import runs
from reports.facts.citations import Citations
from reports.facts.mitigation import trade_off
from reports.facts.versions import limit_line
from retrain import store as retrain_store
from retrain.registry.standing import standing_of
from retrain.runs.approve import approve_run, attest_run, reject_run
from retrain.runs.change_document import evidence_of, used_of
from retrain.runs.change_limits import limits_of, verdict_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]

Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]


WIDTHS = (520, 358)  # of a chart on a wide page and on a telephone


@router.get("/runs/{run_id}")
def run_page(caller: Reader, run_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    run = retrain_store.run(db, run_id)
    model = store.model_of(db, run.model_id)
    datasets = store.datasets(db, [run.train_dataset_id, run.eval_dataset_id, run.holdout_dataset_id])
    citations = Citations(store.entries(db, [f"model:{model.name}", f"run:{run.id}"]))
    curve = runs.losses(run.metrics)
    loss = [drawn(loss_svg(curve, width=w)) for w in WIDTHS] if len(curve) > 1 else []
    limits = limits_of(evidence_of(db, run))
    declared = [limit_line(line, citations) for line in limits if line["verdict"] != "no limit"]
    return page(
        "runs/run.html", inside=verdict_of(limits, run.state), limits=declared, used=used_of(run),
        caller=caller, run=run, model=model, decision=store.decision(db, run.decision_id),
        gates=retrain_store.gates(db, run.id), datasets=sorted(datasets.values(), key=lambda d: d.role),
        compared=runs.evaluation(run.evaluation), trained=runs.training(run.metrics), loss=loss,
        configured=runs.configuration(run.config, run.metrics),
        cite=citations.find, progress=progress(run), active=run.state in ACTIVE,
        standing=standing_of(db, run, site.clock.now()), traded=trade_off(run.metrics, run.evaluation),
    )  # fmt: skip


@router.post("/runs/{run_id}/approve")
def approve(caller: Approver, run_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    approve_run(site, db, run_id, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/attest")
def attest(
    caller: Annotated[Caller, requires(Permission.VALIDATE)], run_id: UUID, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    attest_run(site, db, run_id, caller, reason_of(form), form.get("evidence", "")[:2000])
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/reject")
def reject(caller: Approver, run_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    reject_run(site, db, run_id, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run_id}", 303)
