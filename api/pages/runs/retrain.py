"""What a retrain would do now: what is due, what holds it back, and a button for those who may ask for one."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.pages.forms import Form, reason_of
from api.pages.render import PageRoute, page
from core.errors import AppError
from governance.access.roles import PERMISSIONS, Caller, Permission
from governance.policy.stops import stop_of
from monitor.service import current_spec
from monitor.site import Site
from reports.paths import without_paths
from reports.wording.phrases import brief_words, metric_words
from reports.wording.plan import policy_words
from retrain import store
from retrain.tables import TriggerDecision
from retrain.triggers.base import ManualStart
from retrain.triggers.decision import PolicyDecision

router = APIRouter(route_class=PageRoute, include_in_schema=False)
LAST = 20  # decisions that are listed


@router.get("/models/{name}/retrain")
def retrain_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb, look: bool = False
) -> HTMLResponse:
    current = current_spec(site, db, name)
    policy = current.spec.retrain
    found, why = _preview(site, db, name, caller) if look and policy is not None else (None, "")
    made = select(func.count()).select_from(TriggerDecision).where(TriggerDecision.model_id == current.model.id)
    return page(
        "runs/retrain.html", caller=caller, model=name, policy=policy_words(policy, site.clock.now()), found=found,
        why=why, look=look, stop=stop_of(db, name), open_run=store.open_run(db, current.model.id),
        champion=store.champion(db, current.model.id), decisions=store.decisions(db, current.model.id, LAST),
        total=db.scalar(made) or 0, last=LAST, recipe=None if policy is None else policy.recipe,
        envelope=None if policy is None else policy.envelope, blocked=[] if found is None else _blocked(found),
        firing=[] if found is None else [(metric_words(f.name), brief_words(f.reason, ())) for f in found.findings],
        able=" or ".join(r.value for r, granted in PERMISSIONS.items() if Permission.RUN_START in granted),
    )  # fmt: skip


def _preview(site: Site, db: Session, name: str, caller: Caller) -> tuple[PolicyDecision | None, str]:
    try:
        from retrain.runs.consider import preview  # what only those who ask for a retrain need

        return preview(site, db, name, ManualStart(caller.name, "to see what would happen")), ""
    except (AppError, ValueError) as error:
        return None, str(without_paths(str(error)))


def _blocked(found: PolicyDecision) -> list[tuple[str, str]]:
    return [(metric_words(one.name), brief_words(str(without_paths(one.reason)), ())) for one in found.blocked_by]


@router.post("/models/{name}/runs")
def start_run(
    caller: Annotated[Caller, requires(Permission.RUN_START)], name: str, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    """Consider a retrain at a person's request; to the run, or to the decision that says why there is none."""
    from retrain.runs.consider import start_manual

    made = start_manual(site, db, name, caller.name, reason_of(form))
    return RedirectResponse(f"/runs/{made.run.id}" if made.run is not None else f"/models/{name}/retrain", 303)
