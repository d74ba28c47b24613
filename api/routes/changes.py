"""Routes for changes of a spec that wait for people: list, approve, reject."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from api.http.applied import LooseningOut
from api.http.auth import requires
from api.http.deps import Db, Out, Page, ReadDb, SiteDep
from api.routes.versions import ReasonIn
from core.errors import IntegrityFailureError
from governance.access.roles import Caller, Permission
from governance.access.signers import signer
from governance.policy import changes
from governance.tables import ChangeRequest
from monitor import store
from monitor.site import Site

router = APIRouter(prefix="/api/v1/models/{model}/changes", tags=["governance"])
Reader = Annotated[Caller, requires(Permission.READ)]
Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]


class ChangeOut(Out):
    id: UUID
    model: str
    state: str = Field(
        description="waiting, applied, rejected, expired, outdated (the spec in force is another "
        "one), tampered (its row was changed outside Assay)"
    )
    digest: str = Field(description="of the spec that is asked for; approvals hold for it alone")
    loosened: list[LooseningOut]
    needed: int
    by: list[str] = Field(default_factory=list, description="people whose approval counts")
    void: list[str] = Field(default_factory=list, description="approvals that count no more, each with the reason")
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None


@router.get("")
def list_changes(_: Reader, model: str, site: SiteDep, db: ReadDb) -> Page[ChangeOut]:
    """Newest first."""
    store.model(db, model)
    return Page[ChangeOut](items=[_out(site, db, row) for row in changes.changes(db, model)])


@router.get("/{change_id}")
def read(_: Reader, model: str, change_id: UUID, site: SiteDep, db: ReadDb) -> ChangeOut:
    return _out(site, db, changes.change(db, model, change_id))


@router.post("/{change_id}/approve")
def approve(caller: Approver, model: str, change_id: UUID, body: ReasonIn, site: SiteDep, db: Db) -> ChangeOut:
    """Agree to a change; the last person who is needed puts it into force."""
    from retrain.runs.changes import agree

    return _out(site, db, agree(site, db, model, change_id, caller, body.reason))


@router.post("/{change_id}/reject")
def reject(caller: Approver, model: str, change_id: UUID, body: ReasonIn, site: SiteDep, db: Db) -> ChangeOut:
    """Reject a change; the spec in force stays."""
    from retrain.runs import changes as decided

    return _out(site, db, decided.reject(site, db, model, change_id, caller, body.reason))


def _out(site: Site, db: ReadDb, row: ChangeRequest) -> ChangeOut:
    now = site.clock.now()
    try:
        found = changes.agreement(db, row, now)
    except IntegrityFailureError:  # the others are shown all the same
        found = changes.Agreement(signer(db, row.asked_by), (), ())
        return _shown(row, found, "tampered")
    model = store.model(db, row.model)
    state = row.state
    if state == "waiting" and row.base != store.spec_revision(db, model.id, model.revision).digest:
        state = "outdated"
    elif state == "waiting" and now >= row.expires_at:
        state = "expired"
    return _shown(row, found, state)


def _shown(row: ChangeRequest, found: changes.Agreement, state: str) -> ChangeOut:
    return ChangeOut(
        id=row.id, model=row.model, state=state, digest=row.digest, needed=row.needed, asked_by=found.asked_by.named,
        loosened=[LooseningOut.model_validate(one) for one in row.loosened], by=[s.named for s in found.by],
        void=list(found.void), asked_at=row.asked_at, expires_at=row.expires_at, decided_at=row.decided_at,
    )  # fmt: skip
