"""What the page of a model says first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from api.pages.models import store as pages_store
from monitor.service import CurrentSpec
from monitor.site import Site
from reports import store
from reports.facts.bound import health_of_page
from reports.facts.standing import champion_at, health_at, newest_kpis
from reports.wording.health import Health


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above every page of a model: its name, its state and the sentence of it."""

    name: str
    health: Health
    current: CurrentSpec


def head_of(site: Site, db: Session, current: CurrentSpec) -> Head:
    model = current.model
    return Head(model.name, health_of_page(db, model, health_at(site, db, model, current.spec)), current)


def summary_of(site: Site, db: Session, current: CurrentSpec, unresolved: int) -> dict[str, Any]:
    """The facts below the sentence; `unresolved`: alerts that are not resolved."""
    model, now = current.model, site.clock.now()
    runs, _ = pages_store.runs(db, model.id, 1)
    window = pages_store.newest_window(db, model.id)
    return {
        "name": model.name, "spec": current.spec, "window": window, "alerts": unresolved,
        "kpis": newest_kpis(db, model.id, current.spec, far_after(now)),
        "coverage": window.labels / window.rows if window is not None and window.rows else None,
        "run": runs[0] if runs else None, "champion": champion_at(store.versions(db, model.id), now),
    }  # fmt: skip


def far_after(now: datetime) -> datetime:
    """Replayed events may carry times after the clock's."""
    return now + timedelta(days=36_500)
