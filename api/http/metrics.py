"""What Prometheus scrapes: a few gauges read from the stores, so that every replica says the same."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.queue import Job
from governance.ledger.read import ledger_size
from monitor import store
from monitor.site import Site
from monitor.tables import Alert, Model

Sample = tuple[dict[str, str], float]


def text(site: Site, db: Session) -> str:
    """The metrics in Prometheus' text format 0.0.4."""
    extents = {model.name: site.events.extent(model.name) for model in store.models(db)}
    alerts = db.execute(
        select(Model.name, Alert.state, func.count())
        .join(Alert, Alert.model_id == Model.id)
        .group_by(Model.name, Alert.state)
    )
    jobs = db.execute(select(Job.name, Job.state, func.count()).group_by(Job.name, Job.state))
    families: tuple[tuple[str, str, list[Sample]], ...] = (
        ("assay_events", "events stored", [({"model": m}, e.rows) for m, e in extents.items()]),
        ("assay_outcomes", "outcomes stored", [({"model": m}, e.outcomes) for m, e in extents.items()]),
        ("assay_last_event_seconds", "arrival of the newest event, Unix time",
         [({"model": m}, e.last_received_at.timestamp()) for m, e in extents.items() if e.last_received_at]),
        ("assay_alerts", "alerts by state", [({"model": m, "state": s}, n) for m, s, n in alerts]),
        ("assay_jobs", "jobs by name and state", [({"name": j, "state": s}, n) for j, s, n in jobs]),
        ("assay_ledger_entries", "entries in the ledger", [({}, ledger_size(db))]),
    )  # fmt: skip
    return "".join(_family(*family) for family in families)


def _family(name: str, meaning: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{k}="{v}"' for k, v in labels.items())  # names of models, jobs and states need no escape
        lines.append(f"{name}{{{inside}}} {value}" if inside else f"{name} {value}")
    return "\n".join(lines) + "\n"
