"""Ask for the explanation or the reasons of one decision: which version is explained, and the job that does it."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import queue
from core.errors import ConflictError, InvalidError
from core.jobs import ExplainJob, Opinion, ReasonsJob
from core.queue import Job
from monitor.service import CurrentSpec, in_force
from monitor.site import Site
from monitor.tables import Model
from retrain import store as retrained
from retrain.explain.requests import is_about


class ExplanationFailedError(ConflictError):
    code = "explanation_failed"


def explained_version(site: Site, db: Session, model: Model, answered_by: str) -> str:
    """The version that the job explains: the one that answered if it is registered or brought, else the champion."""
    explain = in_force(site, db, model).spec.explain
    if explain is not None and explain.brought:
        return answered_by
    registered = {row.version: row.stage for row in retrained.versions(db, model.id)}
    champion = next((version for version, stage in registered.items() if stage == "champion"), answered_by)
    return answered_by if answered_by in registered else champion


def newest_request(db: Session, model: str, event_id: str, opinions: tuple[Opinion, ...] = ()) -> Job | None:
    """The job that was asked for last, in whatever state."""
    key = _key(model, event_id, opinions)
    return db.scalars(select(Job).where(Job.dedupe_key == key).order_by(Job.created_at.desc()).limit(1)).first()


def request_explanation(
    site: Site, db: Session, model: Model, event: Mapping[str, Any], opinions: tuple[Opinion, ...] = (), *,
    again: bool = False,
) -> None:  # fmt: skip
    """Queue the computation once; one that failed, alone or in a batch, is reported, and repeated only if asked for."""
    event_id = str(event["event_id"])
    last = newest_request(db, model.name, event_id, opinions)
    failed = last.error if last is not None and last.state == "failed" else None
    if last is None and (batch := retrained.newest_batch(db, model.id)) is not None and is_about(batch.asked, event):
        failed = batch.error
    if failed is not None and not again:
        words = f"this decision could not be explained: {failed}; once that is mended, ask with again=true"
        raise ExplanationFailedError(words, event_id=event_id)
    if last is None or last.state in ("done", "failed"):
        job = ExplainJob(model=model.name, event_id=event_id, opinions=opinions, again=again)
        queue.enqueue(db, job, now=site.clock.now(), dedupe_key=_key(model.name, event_id, opinions))


class ReasonsFailedError(ConflictError):
    code = "reasons_failed"


def declared_reasons(current: CurrentSpec) -> None:
    """Refuse to ask for reasons that no spec says how to tell.

    Raises:
        InvalidError: the spec declares none.
    """
    if current.spec.reasons is None:
        raise InvalidError(
            f"{current.spec.model} declares no reasons: say in `reasons` which decisions are adverse and how they are "
            "told",
            field="reasons", value=None,
        )  # fmt: skip


def newest_reasons_request(db: Session, model: str, event_id: str, revision: int) -> Job | None:
    """The job that was asked for the reasons of a decision under a spec revision last, in whatever state."""
    key = _reasons_key(model, event_id, revision)
    return db.scalars(select(Job).where(Job.dedupe_key == key).order_by(Job.created_at.desc()).limit(1)).first()


def request_reasons(site: Site, db: Session, model: str, event_id: str, revision: int, *, again: bool = False) -> None:
    """Queue the computation once under a spec revision; a failed one is reported, not repeated silently."""
    last = newest_reasons_request(db, model, event_id, revision)
    if last is not None and last.state == "failed" and not again:
        raise ReasonsFailedError(f"the reasons of this decision could not be computed: {last.error}", event_id=event_id)
    if last is None or last.state in ("done", "failed"):
        job = ReasonsJob(model=model, event_id=event_id, again=again)
        queue.enqueue(db, job, now=site.clock.now(), dedupe_key=_reasons_key(model, event_id, revision))


def _reasons_key(model: str, event_id: str, revision: int) -> str:
    return f"reasons:{model}:{revision}:{hashlib.sha256(event_id.encode()).hexdigest()}"  # ids may be longer than keys


def _key(model: str, event_id: str, opinions: tuple[Opinion, ...]) -> str:
    asked = "".join(f":{name}" for name in opinions)
    return f"explain:{model}:{hashlib.sha256((event_id + asked).encode()).hexdigest()}"  # ids may be longer than keys
