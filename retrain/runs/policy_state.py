"""What considerations of a policy remember: ticks that were considered, and what runs were started for."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db import insert_if_new
from monitor.spec.model import ModelSpec
from monitor.spec.triggers import Cron
from retrain import store
from retrain.tables import PolicyState
from retrain.triggers.base import Held, ScheduleReading
from retrain.triggers.decision import PolicyDecision
from retrain.triggers.schedule import declared_since


def schedules(db: Session, model_id: UUID, revision: int, spec: ModelSpec) -> tuple[ScheduleReading, ...]:
    """The schedules of a policy, each with the time from which on its ticks count.

    That is the last tick that was considered, or the time from which on the schedule has been declared without a break,
    the later: a tick before the declaration never counts.
    """
    named = [t for t in spec.retrain.when if isinstance(t, Cron)] if spec.retrain else []
    if not named:
        return ()
    declared = declared_since(store.revisions_down_from(db, model_id, revision), [t.words for t in named])
    row = _row(db, model_id)
    known: Mapping[str, str] = row.ticks if row is not None else {}
    last = store.decisions(db, model_id, limit=1)
    # An earlier release kept no ticks: what it decided counted for all of them.
    before = last[0].at if last and row is None else None
    found = []
    for one in named:
        times = [declared[one.words], *([datetime.fromisoformat(known[one.words])] if one.words in known else [])]
        times += [before] if before is not None else []
        found.append(ScheduleReading(one.cron, one.timezone, max(times), one.words))
    return tuple(found)


def held(db: Session, model_id: UUID) -> dict[str, dict[str, Held]]:
    """What runs were started for and what lasted at the last consideration; nothing once the last run has failed.

    A run that failed has taught nothing, so its reason may start another, after the cool-down.
    """
    row = _row(db, model_id)
    newest = store.newest_run(db, model_id)
    if row is None or (newest is not None and newest.state == "failed"):
        return {}
    return {
        name: {key: Held(datetime.fromisoformat(one["at"]), one["size"]) for key, one in conditions.items()}
        for name, conditions in row.held.items()
    }


def remember(db: Session, model_id: UUID, spec: ModelSpec, found: PolicyDecision) -> None:
    """Keep what a decision leaves for the next one, in its transaction."""
    insert_if_new(db, PolicyState, {"model_id": model_id, "held": {}, "ticks": {}})
    row = _row(db, model_id)
    assert row is not None  # inserted above, or before
    declared = {t.words for t in spec.retrain.when if isinstance(t, Cron)} if spec.retrain else set()
    row.ticks = {words: tick for words, tick in (row.ticks | dict(found.ticks)).items() if words in declared}
    row.held = {
        name: {key: {"at": one.at.isoformat(), "size": one.size} for key, one in conditions.items()}
        for name, conditions in found.held.items()
    }


def _row(db: Session, model_id: UUID) -> PolicyState | None:
    return db.scalars(select(PolicyState).where(PolicyState.model_id == model_id)).first()
