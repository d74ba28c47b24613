"""What became of one event: what turned out, where it was used, and decisions like it."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Model, ReferenceRow

if TYPE_CHECKING:
    from monitor.explore.similar import Similar


def outcome_history(site: Site, model: str, event_id: str, hidden: Collection[str]) -> list[dict[str, Any]]:
    """The outcomes of the event as they arrived, oldest first, without columns that the caller may not read."""
    rows = site.events.outcome_history(model, event_id)
    return [{name: value for name, value in row.items() if name not in hidden} for row in rows]


def used_in(site: Site, db: Session, model: Model, event_id: str) -> dict[str, Any]:
    """Windows, datasets, runs, versions and reports that the event went into."""
    from reports.lineage.events import ended_up_in  # polars is slow to import

    return ended_up_in(site, db, model, event_id=event_id)


def references_of(db: Session, model: Model, event: Mapping[str, Any]) -> list[str]:
    """The references whose rows include the event, in words."""
    seq = int(event["seq"])
    query = select(ReferenceRow).where(ReferenceRow.model_id == model.id).order_by(ReferenceRow.created_at)
    rows = [row for row in db.scalars(query) if holds(row, seq)]
    return [f"{row.reason}, {row.created_at:%Y-%m-%d}" for row in rows]


def holds(row: ReferenceRow, seq: int) -> bool:
    """Whether a reference was collected from rows among which is this one."""
    return row.to_seq is not None and row.from_seq <= seq < row.to_seq


def alike(site: Site, spec: ModelSpec, event: Mapping[str, Any], protected: Collection[str]) -> "Similar":
    """The most similar decisions; protected columns are not compared, whoever asks."""
    from monitor.explore.similar import similar

    return similar(site, spec, event, without=protected)
