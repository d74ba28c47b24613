"""What the overview and the page of a model say first."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from monitor import store as monitor_store
from monitor.service import CurrentSpec
from monitor.site import Site
from reports import store
from reports.facts.bound import health_of_page
from reports.facts.standing import champion_at, health_at, newest_kpis


def summary_of(site: Site, db: Session, current: CurrentSpec) -> dict[str, Any]:
    model, now = current.model, site.clock.now()
    runs = store.runs(db, model.id, model.created_at, now)
    windows = store.newest_windows(db, model.id, 1)
    champion = champion_at(store.versions(db, model.id), now)
    coverage = windows[-1].labels / windows[-1].rows if windows and windows[-1].rows else None
    health = health_of_page(db, model, health_at(site, db, model, current.spec))
    return {
        "name": model.name, "spec": current.spec, "health": health,
        "kpis": newest_kpis(db, model.id, current.spec, far_after(now)), "window": windows[-1] if windows else None,
        "coverage": coverage, "alerts": sum(1 for a in monitor_store.alerts(db, model.id) if a.state != "resolved"),
        "run": runs[-1] if runs else None, "champion": champion,
    }  # fmt: skip


def far_after(now: datetime) -> datetime:
    """Replayed events may carry times after the clock's."""
    return now + timedelta(days=36_500)
