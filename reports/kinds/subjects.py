"""Find what a report is to be about, and the time that it covers."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance import erasure
from monitor.site import Site
from monitor.tables import Incident, Model, Window
from reports.errors import ReportSubjectError
from reports.kinds.base import About
from retrain import store as retrained
from retrain.tables import ModelVersion, Run

LEAST: Final = timedelta(seconds=1)  # of the time that a report covers
NAMED: Final = 5  # that a refusal names


def run_of(site: Site, db: Session, model: Model, subject: str | None) -> About:
    """Raises ReportSubjectError: it is no run of this model."""
    found = db.get(Run, uuid) if (uuid := _uuid(subject)) is not None else None
    if found is None or found.model_id != model.id:
        known = ", ".join(str(r.id) for r in retrained.runs(db, model.id)[:NAMED]) or "none has started"
        raise ReportSubjectError("dossier", "run", subject, f"give the id of a run of {model.name}: {known}")
    decided = retrained.decision(db, found.decision_id).at
    return _about(str(found.id), min(decided, found.created_at), found.finished_at or site.clock.now())


def version_of(site: Site, db: Session, model: Model, subject: str | None) -> About:
    """Raises ReportSubjectError: it is no version of this model."""
    found = retrained.version_named(db, model.id, subject)
    if found is None:
        known = ", ".join(v.version for v in retrained.versions(db, model.id)[:NAMED]) or "none is registered"
        raise ReportSubjectError("model_card", "version", subject, f"name a version of {model.name}: {known}")
    begin = found.created_at  # its run began before it was there, and events that are sent late before that
    windows = db.execute(select(Window.from_ts, Window.versions).where(Window.model_id == model.id))
    begin = min([begin, *(start for start, versions in windows if found.version in versions)])
    if found.run_id is not None:
        begin = min(begin, retrained.run(db, found.run_id).created_at)
    return _about(found.version, begin, _end_of(found, site.clock.now()))


def _end_of(version: ModelVersion, now: datetime) -> datetime:
    """While it is in service, up to now."""
    return version.retired_at if version.retired_at is not None and version.retired_at > version.created_at else now


def incident_of(site: Site, db: Session, model: Model, subject: str | None) -> About:
    """Raises ReportSubjectError: it is no incident of this model."""
    found = db.get(Incident, uuid) if (uuid := _uuid(subject)) is not None else None
    if found is None or found.model_id != model.id:
        fix = f"give the id of an incident of {model.name}; its alerts name it: assay alerts {model.name}"
        raise ReportSubjectError("incident", "incident", subject, fix)
    return _about(str(found.id), min(found.from_ts, found.opened_at), found.resolved_at or site.clock.now())


def erasure_of(site: Site, db: Session, model: Model, subject: str | None) -> About:
    """Raises ReportSubjectError: it is no erasure that covers this model."""
    fix = f"give the id of an erasure that covers {model.name}, as the answer to its request says"
    try:
        found = erasure.erasure(db, _uuid(subject) or UUID(int=0))
    except erasure.ErasureNotFoundError as error:
        raise ReportSubjectError("erasure", "erasure", subject, fix) from error
    if found.models and model.name not in found.models:
        raise ReportSubjectError("erasure", "erasure", subject, fix)
    return _about(str(found.id), found.requested_at, found.completed_at or site.clock.now())


def _about(subject: str, start: datetime, end: datetime) -> About:
    return About(subject, start, max(end, start + LEAST))


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
