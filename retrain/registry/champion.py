"""The champion of a model: what serving should load, with its signature."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from monitor.site import Site
from monitor.store import model as model_named
from retrain import store
from retrain.errors import (
    NoChampionError,
)


@dataclass(frozen=True, slots=True)
class Champion:
    """What serving should load."""

    model: str
    version: str
    base_model: str
    base_digest: str
    adapter_uri: str | None
    adapter_digest: str | None
    labels: tuple[str, ...] | None
    run_id: UUID | None
    promoted_at: datetime
    signature: str


def champion_of(site: Site, db: Session, model_name: str) -> Champion:
    """Raises ModelNotFoundError, NoChampionError."""
    model = model_named(db, model_name)
    row = store.champion(db, model.id)
    if row is None or row.promoted_at is None or row.signature is None:
        raise NoChampionError(model_name)
    return Champion(
        model=model.name, version=row.version, base_model=row.base_model, base_digest=row.base_digest,
        adapter_uri=site.artifacts.path(row.adapter).as_uri() if row.adapter else None, adapter_digest=row.adapter,
        labels=tuple(row.labels) if row.labels is not None else None, run_id=row.run_id, promoted_at=row.promoted_at,
        signature=row.signature,
    )  # fmt: skip
