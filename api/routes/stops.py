"""Routes for the stop switch of a model: set it, lift it, try it, and read what became of it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Out, ReadDb, SiteDep
from api.routes.versions import ReasonIn
from governance.access.roles import Caller, Permission
from monitor import store as monitored

router = APIRouter(prefix="/api/v1/models/{model}/stop", tags=["governance"])
Reader = Annotated[Caller, requires(Permission.READ)]
Stopper = Annotated[Caller, requires(Permission.STOP)]
Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]


class StopEntryOut(Out):
    entry: int = Field(description="index of the ledger entry")
    kind: str
    at: datetime
    actor: str
    body: dict[str, Any]


class StopOut(Out):
    model: str
    stopped: bool
    since: datetime | None = None
    by: str | None = None
    reason: str | None = None
    entry: int | None = Field(None, description="ledger entry that set the stop in force")
    agreed: list[str] = Field(default_factory=list, description="people who agreed to lift it")
    needed: int = Field(description="people other than the one who set it that must agree before it is lifted")
    history: list[StopEntryOut] = Field(default_factory=list, description="oldest first, drills too")


class DrillIn(In):
    reason: str = Field("a drill", min_length=1, max_length=1000, description="kept in the ledger; no personal data")


class DrillOut(Out):
    model: str
    entry: int
    at: datetime
    passed: bool
    checks: dict[str, bool] = Field(description="what a stop freezes, and whether it was refused")
    milliseconds: float = Field(description="from setting the switch until all of it was refused")


@router.get("")
def read(_: Reader, model: str, site: SiteDep, db: ReadDb) -> StopOut:
    """Whether the model is stopped, and every use of its switch."""
    return _state(site, db, model)


@router.post("")
def stop(caller: Stopper, model: str, body: ReasonIn, site: SiteDep, db: Db) -> StopOut:
    """Stop the model: nothing is promoted, placed beside the champion or trained until the stop is lifted.

    Runs under way pause within seconds and keep their checkpoints. A rollback and retiring a version stay possible.
    """
    from retrain.runs.stopped import stop_model

    stop_model(site, db, model, caller, body.reason)
    return _state(site, db, model)


@router.post("/lift")
def lift(caller: Approver, model: str, body: ReasonIn, site: SiteDep, db: Db) -> StopOut:
    """Lift the stop, or agree to it where the model's tier asks for people other than the one who set it."""
    from retrain.runs.stopped import lift_model

    lift_model(site, db, model, caller, body.reason)
    return _state(site, db, model)


@router.post("/drill")
def drill(caller: Stopper, model: str, site: SiteDep, db: Db, body: DrillIn | None = None) -> DrillOut:
    """Try the switch and record the time it took; nothing stays stopped."""
    from retrain.runs.stopped import drill_model

    reason = (body or DrillIn.model_validate({})).reason
    return DrillOut.model_validate({"model": model, **drill_model(site, db, model, caller, reason)})


def _state(site: SiteDep, db: ReadDb, model: str) -> StopOut:
    from governance.policy.stops import agreed_to_lift, history, stop_of
    from retrain.runs.stopped import tier_of

    name = monitored.model(db, model).name
    found, needed = stop_of(db, name), tier_of(site, db, name).lifting
    past = [
        StopEntryOut(entry=e["index"], kind=e["kind"], at=e["at"], actor=e["actor"], body=e["body"])
        for e in history(db, name)
    ]
    if found is None:
        return StopOut(model=name, stopped=False, needed=needed, history=past)
    return StopOut(
        model=name, stopped=True, since=found.at, by=found.by.named, reason=found.reason, entry=found.entry,
        agreed=[s.named for s in agreed_to_lift(db, name, found, site.clock.now())], needed=needed, history=past,
    )  # fmt: skip
