"""What people decide about a model beside its spec: the stop switch, changes that wait, serious incidents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.pages.forms import Form, reason_of
from api.pages.models.summary import head_of
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from governance.access.signers import Signer
from governance.policy import changes
from governance.policy.stops import DRILLED, Stop, agreed_to_lift, history, stop_of
from governance.policy.tiers import Tier
from governance.tables import ChangeRequest
from monitor import store
from monitor.alerts import serious
from monitor.alerts.tables import SeriousIncident
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.tables import Model
from retrain.runs.changes import agree, reject
from retrain.runs.stopped import drill_model, lift_model, stop_model, tier_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Stopper = Annotated[Caller, requires(Permission.STOP)]
Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]


@dataclass(frozen=True, slots=True)
class Governing:
    """What the section of a model's page shows."""

    stop: Stop | None
    agreed: Sequence[Signer]  # to lift it
    tier: Tier
    drill: dict[str, Any] | None  # the entry of the last one
    serious: Sequence[tuple[SeriousIncident, str]]  # with where their clocks stand
    waiting: Sequence[ChangeRequest]  # changes of the spec that people must agree to


def governing_of(site: Site, db: Session, model: str) -> Governing:
    drills = [e for e in history(db, model) if e["kind"] == DRILLED]
    last = drills[-1] | {"at": datetime.fromisoformat(drills[-1]["at"])} if drills else None
    now, base = site.clock.now(), store.spec_revision(db, (row := store.model(db, model)).id, row.revision).digest
    found = [(one, serious.standing(one, now)) for one in serious.listed(db, row.id)]
    waiting = [one for one in changes.waiting(db, model) if one.base == base and now < one.expires_at]
    stop = stop_of(db, model)
    agreed = agreed_to_lift(db, model, stop, now) if stop is not None else ()
    return Governing(stop, agreed, tier_of(site, db, model), last, found, waiting)


def urgent_of(site: Site, db: Session, model: Model, current: CurrentSpec) -> tuple[Stop | None, int]:
    """What the first page of a model must say of its governance: the stop, and how many changes wait."""
    base, now = store.spec_revision(db, model.id, current.revision).digest, site.clock.now()
    waiting = [one for one in changes.waiting(db, model.name) if one.base == base and now < one.expires_at]
    return stop_of(db, model.name), len(waiting)


@router.get("/models/{name}/governance")
def governance_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb
) -> HTMLResponse:
    current = current_spec(site, db, name)
    return page(
        "models/governance.html", caller=caller, model=current.model, head=head_of(site, db, current),
        governing=governing_of(site, db, name),
    )  # fmt: skip


@router.post("/models/{name}/stop")
def stop(caller: Stopper, name: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    stop_model(site, db, name, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}/governance", 303)


@router.post("/models/{name}/stop/lift")
def lift(caller: Approver, name: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    lift_model(site, db, name, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}/governance", 303)


@router.post("/models/{name}/stop/drill")
def drill(caller: Stopper, name: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    drill_model(site, db, name, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}/governance", 303)


@router.post("/models/{name}/changes/{change_id}/approve")
def approve_change(caller: Approver, name: str, change_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    agree(site, db, name, change_id, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}/governance", 303)


@router.post("/models/{name}/changes/{change_id}/reject")
def reject_change(caller: Approver, name: str, change_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    reject(site, db, name, change_id, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}/governance", 303)
