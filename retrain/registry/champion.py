"""The champion of a model: what serving should load, with its signature."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import NotFoundError
from monitor.site import Site
from monitor.store import model as model_named
from retrain import store
from retrain.errors import NoChampionError
from retrain.tables import ModelVersion
from retrain.train.shape import is_merged, is_whole
from retrain.train.tabular.files import is_tabular


@dataclass(frozen=True, slots=True)
class Champion:
    """What serving should load."""

    model: str
    version: str
    base_model: str
    base_digest: str
    adapter_uri: str | None
    adapter_digest: str | None
    artifact: str | None  # what the adapter digest names: `adapter`, `merged`, `whole` or `table`
    labels: tuple[str, ...] | None
    run_id: UUID | None
    promoted_at: datetime
    signature: str


def artifact_of(site: Site, row: ModelVersion) -> str | None:
    """What serving loads of a version beside, or in place of, its base; None of the base itself, or of lost files."""
    if row.adapter is None:
        return None
    try:
        folder = site.artifacts.path(row.adapter)
    except NotFoundError:
        return None
    if is_tabular(folder):
        return "table"
    if is_merged(folder):
        return "merged"
    return "whole" if is_whole(folder) else "adapter"


def champion_of(site: Site, db: Session, model_name: str) -> Champion:
    """Raises ModelNotFoundError, NoChampionError."""
    model = model_named(db, model_name)
    row = store.champion(db, model.id)
    if row is None or row.promoted_at is None or row.signature is None:
        raise NoChampionError(model_name)
    return Champion(
        model=model.name, version=row.version, base_model=row.base_model, base_digest=row.base_digest,
        adapter_uri=site.artifacts.path(row.adapter).as_uri() if row.adapter else None, adapter_digest=row.adapter,
        artifact=artifact_of(site, row),
        labels=tuple(row.labels) if row.labels is not None else None, run_id=row.run_id, promoted_at=row.promoted_at,
        signature=row.signature,
    )  # fmt: skip
