"""The stop switch where runs meet it: runs pause, people set and lift it, and a drill tries it.

A queued run waits. A run under way ends its process within a second or so, keeps its checkpoint and its attempts, and
goes on from there once the stop is lifted; it may be rejected meanwhile where it waits for approval. Nothing is
promoted, placed beside the champion or trained; a rollback and retiring a version stay possible.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import BusyError
from governance.access.roles import Caller
from governance.access.signers import Signer, signer
from governance.policy.stops import (
    ModelStoppedError,
    Stop,
    lift_stop,
    record_drill,
    refuse_while_stopped,
    set_stop,
    stop_of,
)
from governance.policy.tiers import Tier
from monitor.service import current_spec, tier_of_spec
from monitor.site import Site
from monitor.store import model as model_named
from monitor.tables import Model
from retrain import store
from retrain.registry.stages import refuse_stage
from retrain.runs.record import show_progress
from retrain.runs.workspace import Workspace

LOOK_S: Final = 15  # between two looks of a run that is stopped
PLACES: Final = ("champion", "challenger", "shadow", "canary")
PAUSED: Final = "stopped_by"  # in the progress of a run that waits: the entry of the stop
DRILL: Final = "drill: nothing stays stopped"


class RunStoppedError(BusyError):
    code = "run_stopped"

    def __init__(self, stop: Stop, model: str) -> None:
        super().__init__(stop.words(model), retry_after_s=LOOK_S, model=model)


def pause_while_stopped(site: Site, run_id: UUID) -> None:
    """Let a run of a stopped model go no further for now; the run says what it waits for.

    Raises:
        RunStoppedError: the model is stopped.
    """
    with site.database.read() as db:
        run = store.run(db, run_id)
        name = db.get_one(Model, run.model_id).name
        stop, waited = stop_of(db, name), PAUSED in (run.progress or {})
    if run.state in (*store.FINAL_STATES, "awaiting_approval") or (stop is None and not waited):
        return
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state not in store.FINAL_STATES:
            run.progress = None if stop is None else {"phase": f"waits: {stop.words(name)}", PAUSED: stop.entry}
    if stop is not None:
        raise RunStoppedError(stop, name)


def look_at(site: Site, work: Workspace) -> None:
    """What whoever waits for a process of a run looks at meanwhile: its progress, and whether it goes on.

    Raises:
        RunClosedError, RunStoppedError: the run has ended, or its model is stopped; the process must end.
    """
    show_progress(site, work)
    pause_while_stopped(site, work.run_id)


def tier_of(site: Site, db: Session, model: str) -> Tier:
    """What the tier and the policy in force ask of a model."""
    return tier_of_spec(current_spec(site, db, model).spec)


def stop_model(site: Site, db: Session, model: str, caller: Caller, reason: str) -> Stop:
    """Stop a model: from this transaction on nothing of it is promoted or trained.

    Raises:
        ModelNotFoundError, InvalidError, ModelStoppedError.
    """
    _hold(db, model)
    return set_stop(db, model, _signer(db, caller), reason, site.clock.now())


def lift_model(site: Site, db: Session, model: str, caller: Caller, reason: str) -> Stop | None:
    """Lift the stop of a model, or agree to it; None once it is lifted, and then its runs go on.

    Raises:
        ModelNotFoundError, InvalidError, NotStoppedError, ApprovalRefusedError.
    """
    _hold(db, model)
    needed = tier_of(site, db, model).lifting
    return lift_stop(db, model, _signer(db, caller), reason, site.clock.now(), needed=needed)


def drill_model(site: Site, db: Session, model: str, caller: Caller, reason: str) -> dict[str, Any]:
    """Try the switch: set it, see that everything it freezes is refused, take it back, and record what was found.

    All happens in one transaction of which only the record stays.

    Raises:
        ModelNotFoundError, InvalidError.
        ModelStoppedError: it is stopped already.
    """
    who, now = _signer(db, caller), site.clock.now()
    _hold(db, model)
    refuse_while_stopped(db, model, "a drill")
    nested = db.begin_nested()
    begun = time.perf_counter()
    try:
        set_stop(db, model, who, DRILL, now)
        checks = {name: _refused(check) for name, check in _checks(db, model)}
        took = time.perf_counter() - begun
    finally:
        nested.rollback()
    found = {
        "passed": all(checks.values()) and stop_of(db, model) is None, "checks": checks,
        "milliseconds": round(took * 1000, 1),
    }  # fmt: skip
    entry = record_drill(db, model, who, reason, now, found)
    return {"entry": entry, "at": now, **found}


def _checks(db: Session, model: str) -> list[tuple[str, Callable[[], None]]]:
    """What a stop freezes, each as the code that runs meet."""
    row = model_named(db, model)
    found: list[tuple[str, Callable[[], None]]] = [
        (f"stage {stage}", partial(refuse_stage, db, row, stage)) for stage in PLACES
    ]
    found.append(("retraining", partial(refuse_while_stopped, db, model, "a run")))
    open_run = store.open_run(db, row.id)
    if open_run is not None:
        found.append(("run under way", partial(refuse_while_stopped, db, model, f"run {open_run.id}")))
    return found


def _refused(check: Callable[[], None]) -> bool:
    try:
        check()
    except ModelStoppedError:
        return True
    return False


def _hold(db: Session, model: str) -> None:
    """Hold the model's row: a promotion holds it too, so that one comes before or after the stop."""
    db.get_one(Model, model_named(db, model).id, with_for_update=True)


def _signer(db: Session, caller: Caller) -> Signer:
    return signer(db, caller.name, caller.prefix, caller.owner)
