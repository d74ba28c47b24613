"""The page of a dataset: where its rows come from, what is declared of them, and which runs and versions used it.

Its rows are not shown: they are those of people.
"""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.datasets.store import declared, users, versions_of
from api.pages.render import PageRoute, page
from api.pages.runs.store import entry_of_dataset
from core.errors import AppError
from governance.access.roles import Caller, Permission
from monitor.site import Site
from monitor.tables import Dataset
from reports import store
from reports.errors import DatasetNotFoundError
from reports.facts.runs import source
from reports.lineage.graph import inherited
from retrain.provenance.nodes import first_rows, parents_of
from retrain.store import datasets, run

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MOST_LABELS: Final = 60


@router.get("/datasets/{dataset_id}")
def dataset_page(
    caller: Annotated[Caller, requires(Permission.READ)], dataset_id: UUID, site: SiteDep, db: ReadDb
) -> HTMLResponse:
    row = db.get(Dataset, dataset_id)
    if row is None:
        raise DatasetNotFoundError(dataset_id)
    model = store.model_of(db, row.model_id)
    told, unreadable = declared(db, [row]).get(row.id), ""
    if told is None and row.run_id is not None:
        try:
            told = inherited(db, model, row)
        except (AppError, ValueError) as error:
            unreadable = f"What the spec declares of its sources cannot be read: {error}"
    used = users(db, row)
    labels = row.provenance.get("labels")
    counted = sorted(labels.items(), key=lambda pair: (-pair[1], pair[0])) if isinstance(labels, dict) else []
    parents = parents_of(row, datasets(db, row.model_id)) if row.provenance.get("parents") else []
    return page(
        "datasets/dataset.html", caller=caller, row=row, model=model, told=told, unreadable=unreadable, used=used,
        made=None if row.run_id is None else run(db, row.run_id), versions=versions_of(db, used), parents=parents,
        labels=counted[:MOST_LABELS], labels_left=max(0, len(counted) - MOST_LABELS), columns=_columns(site, row),
        origin=source(row.role, row.provenance), first=first_rows(row), entry=entry_of_dataset(db, row, model.name),
        window=row.provenance.get("data_window"), steps=row.provenance.get("steps") or (),
        dropped={why: n for why, n in (row.provenance.get("dropped") or {}).items() if n},
    )  # fmt: skip


def _columns(site: Site, row: Dataset) -> tuple[list[tuple[str, str]], str]:
    """Names and types of the columns of its file, or why they are not known."""
    import polars as pl  # slow to import

    try:
        found: dict[str, Any] = dict(pl.read_parquet_schema(site.artifacts.path(row.digest)))
    except AppError:
        return [], "its file is not there any more"
    except (OSError, pl.exceptions.PolarsError) as error:
        return [], f"its file cannot be read: {type(error).__name__}"
    return [(name, str(kind).lower()) for name, kind in list(found.items())[:200]], ""
