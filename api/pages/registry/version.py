"""The page of one version: what it is, what it learned from, how it was judged, where it stands, and its way here."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.registry.store import names, score_of
from api.pages.render import PageRoute, page
from api.pages.runs.store import OF_MODEL
from core.errors import AppError
from governance.access.roles import PERMISSIONS, Caller, Permission
from governance.policy.stops import stop_of
from governance.tables import LedgerEntry
from monitor import store as monitored
from monitor.site import Site
from reports.paths import without_paths
from reports.store import Entry, read_entry
from retrain import store
from retrain.registry.card import card_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MOVED = {
    "version.registered": "registered", "version.promoted": "promoted to champion", "version.staged": "moved",
    "version.rolled_back": "rolled back to",
}  # fmt: skip


@router.get("/models/{name}/versions/{version}")
def version_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, version: str, site: SiteDep, db: ReadDb
) -> HTMLResponse:
    model = monitored.model(db, name)
    row = store.version(db, model.id, version, name)
    champion, earlier = store.champion(db, model.id), store.earlier_champion(db, model.id)
    runs = store.runs_of_version(db, model.id, row.version)
    made = next((run for run in runs if run.id == row.run_id), None)
    card, unreadable = _card(site, db, name, version)
    return page(
        "registry/version.html", caller=caller, model=name, row=row, champion=champion, earlier=earlier, runs=runs,
        made=made, score=score_of(made.evaluation if made else None), card=card, unreadable=unreadable,
        history=[_moved(entry, version) for entry in _entries(db, name, version)],
        others=[one for one in names(db, model.id) if one != version], stop=stop_of(db, name),
        open_run=store.open_run(db, model.id), able=_able(Permission.VERSION_MOVE),
    )  # fmt: skip


def _able(permission: Permission) -> str:
    return " or ".join(role.value for role, granted in PERMISSIONS.items() if permission in granted)


def _card(site: Site, db: Session, name: str, version: str) -> tuple[dict[str, Any] | None, str]:
    """The model card; why there is none where a record of an earlier release cannot be read."""
    try:
        return card_of(site, db, name, version), ""
    except (AppError, ValueError, LookupError) as error:
        return None, f"The model card cannot be made: {without_paths(str(error))}"


def _entries(db: Session, model: str, version: str) -> list[Entry]:
    query = select(LedgerEntry).where(LedgerEntry.subject == f"model:{model}", LedgerEntry.kind.in_(OF_MODEL))
    wanted = LedgerEntry.entry.contains(f'"{version}"', autoescape=True)
    found = [read_entry(entry) for entry in db.scalars(query.where(wanted).order_by(LedgerEntry.index))]
    return [one for one in found if version in (one.body.get("version"), one.body.get("previous"))]


def _moved(entry: Entry, version: str) -> dict[str, Any]:
    """One line of the history of a version."""
    body, words = entry.body, MOVED[entry.kind]
    if entry.kind == "version.staged":
        words = f"moved from {body.get('previous_stage')} to {body.get('stage')}"
    elif entry.kind == "version.rolled_back" and body.get("previous") == version:
        words = f"rolled back from, to {body.get('version')}"
    elif body.get("previous") == version and body.get("version") != version:
        words = f"succeeded by {body.get('version')}"
    predictions = body.get("predictions") if body.get("previous") == version else None
    return {
        "at": datetime.fromisoformat(entry.at), "words": words, "reason": body.get("reason") or "",
        "actor": (body.get("by") or {}).get("owner") or entry.actor, "entry": entry.index, "predictions": predictions,
    }  # fmt: skip
