"""Routes for the explanations of many decisions: ask for them, and see how far they are."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, ReadDb, SiteDep, StorableText
from api.http.protected import refuse_explained_protected
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from monitor import store
from retrain.explain import requests
from retrain.tables import ExplanationBatch

router = APIRouter(prefix="/api/v1/models/{model}/explanations", tags=["explanations"])
Reader = Annotated[Caller, requires(Permission.EVENTS_READ)]


class BatchIn(In):
    from_: Moment | None = Field(None, alias="from", description="first event time, with zone; without it, the first")
    to: Moment | None = Field(None, description="time at which the period ends, outside it; without it, the last")
    sample: int | None = Field(None, ge=1, description="so many events of the period, the same ones for a seed")
    seed: int = Field(0, ge=0, lt=2**32)
    event_ids: tuple[StorableText, ...] | None = Field(
        None, min_length=1, max_length=requests.MOST_NAMED, description="these events instead of a period"
    )


class BatchOut(Out):
    id: UUID
    model: str
    state: str = Field(description="queued, running, done or failed")
    asked: dict[str, Any]
    total: int = Field(description="events; those that were erased meanwhile no longer count")
    explained: int = Field(description="decisions that have their record, withheld ones too")
    withheld: int = Field(description="of those computed here, records without reasons, because they do not add up")
    failed: dict[str, int] = Field(description="by code of the error, decisions that cannot be explained")
    error: str | None
    created_by: str
    created_at: datetime
    finished_at: datetime | None


class BatchNotFoundError(NotFoundError):
    code = "batch_not_found"


@router.post("", status_code=202)
def request(caller: Reader, model: str, body: BatchIn, site: SiteDep, db: Db) -> BatchOut:
    """Explain the decisions of a period, a sample of them, or named ones; what is explained already stays as it is."""
    refuse_explained_protected(site, db, caller, model)
    batch = requests.request(
        site, db, model, since=body.from_, until=body.to, sample=body.sample, seed=body.seed,
        event_ids=body.event_ids or (), actor=caller.name,
    )  # fmt: skip
    return _shown(batch, model)


@router.get("/{batch_id}")
def read(_: Reader, model: str, batch_id: UUID, db: ReadDb) -> BatchOut:
    """How far the explanations of a request are."""
    batch = db.get(ExplanationBatch, batch_id)
    if batch is None or batch.model_id != store.model(db, model).id:
        raise BatchNotFoundError(f"model {model} has no batch {batch_id} of explanations", batch=str(batch_id))
    return _shown(batch, model)


def _shown(batch: ExplanationBatch, model: str) -> BatchOut:
    values = {name: getattr(batch, name) for name in BatchOut.model_fields if name != "model"}
    return BatchOut(model=model, **values)
