"""The page of settings: what can be set, where, and by whom; and what identifies this installation."""

import sys
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import and_, func, select

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.reach import Reach, seen_ids
from api.pages.listing import Filter, Listing
from api.pages.render import PageRoute, page
from api.pages.settings.environment import in_force
from governance.access.roles import PERMISSIONS, Caller, Permission
from governance.ledger.keys import earlier_vkeys
from governance.ledger.read import ledger_size
from monitor.notify.channels import channels
from monitor.tables import Model, SpecRevision

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]
POLICIES: Final = Listing(sorts=("model", "changed"), default="model", filters=(Filter("model", "Model"),), size=50)


@router.get("/settings")
def settings_page(caller: Reader, site: SiteDep, db: ReadDb) -> HTMLResponse:
    whole = caller.models is None
    return page(
        "settings/settings.html", caller=caller, whole=whole, version=version("assay"),
        python=".".join(map(str, sys.version_info[:3])), database=db.get_bind().dialect.name,
        origin=site.keys.signing.name, vkey=site.keys.vkey, documents=site.keys.documents.vkey,
        earlier=earlier_vkeys(site.settings.home_dir), entries=ledger_size(db),
        channels=len(channels(site.settings)) if whole else None,
        environment=in_force(site.settings) if whole and caller.may(Permission.ACCESS_READ) else None,
        able={p.value: _able(p) for p in (Permission.ACCESS_READ, Permission.KEY_MANAGE, Permission.MODEL_WRITE)},
    )  # fmt: skip


@router.get("/settings/policies")
def policies_page(caller: Reader, db: ReadDb, request: Request) -> HTMLResponse:
    asked, models = POLICIES.asked(request), seen_ids(db, caller)
    query = select(Model.name, SpecRevision).join(
        SpecRevision, and_(SpecRevision.model_id == Model.id, SpecRevision.revision == Model.revision)
    )
    if models is not None:
        query = query.where(Model.id.in_(models))
    if name := asked.get("model"):
        query = query.where(Model.name.icontains(name, autoescape=True))
    total = db.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = asked.order(
        {"model": Model.name.expression, "changed": SpecRevision.created_at.expression}, Model.name.expression
    )
    rows = [
        _policy(name, spec) for name, spec in db.execute(query.order_by(*order).limit(asked.limit).offset(asked.offset))
    ]
    return page("settings/policies.html", caller=caller, listed=asked.listed(rows, total))


def _policy(name: str, spec: SpecRevision) -> dict[str, Any]:
    """What the spec of a model declares about its data, its alarms and its retraining."""
    document = spec.document
    alarms, retrain = (document.get("monitors") or {}).get("false_alarms"), document.get("retrain")
    if isinstance(alarms, dict):
        alarms = f"alpha {alarms.get('alpha'):g} per window"
    return {
        "model": name, "revision": spec.revision, "at": spec.created_at, "by": spec.author,
        "risk": document.get("risk"), "retention": document.get("retention"), "alarms": alarms,
        "redact": {column: [p if isinstance(p, str) else p.get("name", "own") for p in patterns]
                   for column, patterns in (document.get("redact") or {}).items()},
        "protected": sorted(c for c, d in document["columns"].items() if d.get("role") == "protected"),
        "retrain": None if retrain is None else retrain.get("approval", "none"),
        "gates": () if retrain is None else retrain.get("gates", ()),
    }  # fmt: skip


def _able(permission: Permission) -> str:
    return ", ".join(role.value for role, granted in PERMISSIONS.items() if permission in granted)
