"""A run outside its limits waits until a person allows it once, or rejects it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.jobs import RunJob
from governance.access.signers import Signer, signer_line
from governance.ledger.append import SYSTEM_ACTOR
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.limits import RunFacts, allowed
from retrain.registry.standing import exceptions_of, outside, rules_of
from retrain.runs.record import record_run
from retrain.tables import Run

AGAIN: Final = ("max_gpu_hours", "max_kwh")  # of which an exception allows as much once more


def waits_outside(site: Site, run_id: UUID, facts: RunFacts) -> bool:
    """Look whether a run is inside its limits; if not, it waits from now on, and the caller must leave it.

    A limit that was narrowed since the run started holds for it; one that was widened does not.
    """
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        found = outside(db, run, rules_of(db, run), facts)
        return wait(site, db, run, [check.record() for check in found])


def wait(site: Site, db: Session, run: Run, found: Iterable[Mapping[str, Any]]) -> bool:
    """Let a run wait in its present state for what nobody has allowed yet; False if there is nothing of the kind."""
    asked: dict[tuple[str, str], dict[str, Any]] = {}
    given = exceptions_of(db, run)
    for one in found:
        if not allowed(given, one["limit"], one["measured"]):
            asked.setdefault((str(one["limit"]), str(one["declared"])), dict(one))
    if not asked or run.state in store.FINAL_STATES:
        return False
    run.waits_at = "evaluating" if run.state == "awaiting_approval" else run.state
    run.state, run.outside = "awaiting_approval", list(asked.values())
    body = {"at": run.waits_at, "limits": [_figures(one) for one in run.outside]}
    record_run(site, db, run, "run.outside", SYSTEM_ACTOR, body)
    return True


def allow(site: Site, db: Session, run: Run, who: Signer, reason: str) -> Run:
    """Record that a person allows a waiting run what it waits for, this once, and let it go on where it stopped.

    The caller has looked that this person may.
    """
    now = site.clock.now()
    made = [
        {**one, "granted": _granted(one), **signer_line(who), "at": now.isoformat(), "why": reason}
        for one in run.outside
    ]
    body = signer_line(who) | {
        "reason": reason,
        "limits": [{**_figures(one), "granted": one["granted"]} for one in made],
    }
    assert run.waits_at is not None  # set with `outside`
    run.exceptions = [*run.exceptions, *made]
    run.state, run.outside, run.waits_at = run.waits_at, [], None
    record_run(site, db, run, "run.allowed", who.actor, body)
    model = db.get_one(Model, run.model_id)
    queue.enqueue(db, RunJob(run_id=run.id), now=now, dedupe_key=f"run:{run.id}", lock_key=f"train:{model.name}")
    return run


def _granted(one: Mapping[str, Any]) -> Any:
    """What an exception allows: the measurement itself; of hours and energy, which go on, as much as declared again."""
    if one["limit"] in AGAIN:
        return max(one["measured"], 0.0) + one["declared"]
    return one["measured"]


def _figures(one: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the ledger: words may quote data and stay in the table."""
    return {name: one[name] for name in ("limit", "declared", "measured")}
