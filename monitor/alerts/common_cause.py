"""Which incident of another model a new alert belongs to: one that overlaps and has a cause in common.

The same hours alone are no cause: the page of an incident lists such alerts, and a person links them.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from monitor.notify.deploys import LOOK_BACK
from monitor.notify.tables import Deploy
from monitor.tables import Incident, Model, SpecRevision

SAME_DEPLOY: Final = timedelta(hours=1)  # between the reports of one release that serves several models
MOST: Final = 20  # incidents that are looked at


def shared_incident(
    db: Session, model_id: UUID, from_ts: datetime, to_ts: datetime
) -> tuple[Incident, str] | None:  # fmt: skip
    """An unresolved incident of another model that shares hours and a cause, and that cause in words.

    One that another transaction holds is passed by: nothing waits for it.
    """
    query = select(Incident).where(
        Incident.state != "resolved", Incident.model_id != model_id, Incident.from_ts <= to_ts,
        Incident.to_ts >= from_ts,
    )  # fmt: skip
    order = query.order_by(Incident.opened_at.desc(), Incident.id).limit(MOST)
    for found in db.scalars(order).all():
        cause = common_cause(db, model_id, found.model_id, from_ts, to_ts)
        if cause is None:
            continue
        locked = db.scalars(select(Incident).where(Incident.id == found.id).with_for_update(skip_locked=True)).first()
        if locked is not None and locked.state != "resolved":
            return locked, cause
    return None


def common_cause(
    db: Session, first: UUID | None, second: UUID | None, from_ts: datetime, to_ts: datetime
) -> str | None:  # fmt: skip
    """What two models have in common at a time: a version that was deployed to both, or the service they are of."""
    if first is None or second is None or first == second:
        return None
    one, two = aliased(Deploy), aliased(Deploy)
    query = (
        select(one.version, one.at, two.at)
        .join(two, (two.version == one.version) & (two.model_id == second))
        .where(one.model_id == first, one.at >= from_ts - LOOK_BACK, one.at <= to_ts)
        .order_by(one.at.desc())
    )
    for version, at, other in db.execute(query):
        if abs(at - other) <= SAME_DEPLOY:
            return f"version {version} was deployed to both {at:%Y-%m-%d %H:%M} UTC"
    service = _service(db, first)
    return f"both answer for service {service}" if service and service == _service(db, second) else None


def _service(db: Session, model_id: UUID) -> str | None:
    query = (
        select(SpecRevision.document)
        .join(Model, (Model.id == SpecRevision.model_id) & (Model.revision == SpecRevision.revision))
        .where(Model.id == model_id)
    )
    document: dict[str, Any] = db.scalars(query).first() or {}
    traces = document.get("traces")
    return traces.get("service") if isinstance(traces, dict) else None
