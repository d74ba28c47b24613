"""Routes for erasures: request one, read its state, read its proof."""

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from governance import erasure
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from governance.ledger.checkpointing import latest_checkpoint
from governance.policy.holds import refuse_erasure
from monitor import store

router = APIRouter(prefix="/api/v1/erasures", tags=["erasures"])
Reader = Annotated[Caller, requires(Permission.EVENTS_READ)]


class ErasureIn(In):
    subject: str = Field(min_length=1, max_length=1000, description="as it was sent in events; never stored in clear")
    models: tuple[str, ...] = Field((), description="models to search; every model by default")


class ErasureOut(Out):
    id: UUID
    subject: str = Field(description="keyed digest, as events carry it")
    models: list[str]
    state: str
    steps: list[str]
    error: str | None
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    requested_entry: int
    done_entry: int | None


class ErasureProofOut(ErasureOut):
    """An erasure with its proof and, once a checkpoint covers the entry, that checkpoint."""

    proof_digest: str | None = None
    proof: dict[str, Any] | None = None
    checkpoint: str | None = None


@router.post("", status_code=202)
def request(
    caller: Annotated[Caller, requires(Permission.ERASE, Reach.LISTED)], body: ErasureIn, site: SiteDep, db: Db
) -> ErasureOut:
    """Remove a person's rows permanently from everything that holds them. Refused while a legal hold keeps them."""
    for name in body.models or (None,):
        require_model(caller, name, "every model" if name is None else f"model {name[:100]!r}")
    models = [store.model(db, name).name for name in body.models]
    digest = site.events.subject_digest(body.subject)
    for name in models or [model.name for model in store.models(db)]:
        refuse_erasure(db, name, digest)
    now = site.clock.now()
    return ErasureOut.of(erasure.request(db, subject=digest, models=models, actor=caller.name, now=now))


@router.get("")
def list_erasures(
    caller: Annotated[Caller, requires(Permission.EVENTS_READ, Reach.LISTED)], db: ReadDb
) -> Page[ErasureOut]:
    """Newest first; those that search a model outside the caller's scope are left out."""
    return Page[ErasureOut].of(
        row for row in erasure.erasures(db) if all(caller.sees(name) for name in row.models or (None,))
    )


@router.get("/{erasure_id}")
def read(_: Reader, erasure_id: UUID, site: SiteDep, db: ReadDb) -> ErasureProofOut:
    row = erasure.erasure(db, erasure_id)
    found = ErasureProofOut(**ErasureOut.of(row).model_dump(), proof_digest=row.proof)
    if row.proof is None or row.done_entry is None:
        return found
    head = latest_checkpoint(db)
    covered = head.note if head is not None and head.size > row.done_entry else None
    proof = json.loads(site.artifacts.get(row.proof))
    return found.model_copy(update={"proof": proof, "checkpoint": covered})
