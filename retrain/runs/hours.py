"""A run that waited for its turn until the allowed hours were over begins when they come again."""

from datetime import datetime
from uuid import UUID

from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Model
from retrain import store


def put_off(site: Site, run_id: UUID) -> datetime | None:
    """When a queued run may begin; None while it may, and for one that has begun. The run says what it waits for."""
    with site.database.read() as db:
        run = store.run(db, run_id)
        policy = current_spec(site, db, db.get_one(Model, run.model_id).name).spec.retrain
    if run.state != "queued" or run.purpose != "train" or policy is None or policy.allowed_hours is None:
        return None
    try:
        opens = policy.allowed_hours.opens_at(site.clock.now())
    except ValueError:  # a zone that is missing here; the next decision names it
        return None
    if opens <= site.clock.now():
        return None
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        run.progress = {
            "phase": f"waits for the allowed hours, {policy.allowed_hours.words}, until {opens.isoformat()}"
        }
    return opens
