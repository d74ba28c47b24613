"""Queries of the pages about datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, func, or_, select
from sqlalchemy.orm import Session, defer

from api.pages.listing import Asked
from monitor.tables import Dataset, Model
from retrain.provenance.nodes import digests_of, first_digest
from retrain.tables import ModelVersion, ProvenanceDeclaration, Run

USERS = 50  # runs that are listed as users of a dataset, the newest


@dataclass(frozen=True, slots=True)
class Row:
    dataset: Dataset
    model: str
    declared: Mapping[str, Any] | None  # of a registered set, what a person declared about this content
    state: str | None  # of the run that made it


def datasets(db: Session, asked: Asked, ids: Sequence[UUID] | None) -> tuple[list[Row], int]:
    """One page of datasets and how many match; `ids` are the models that may be seen, None for all."""
    where = _where(asked, ids)
    total = select(func.count()).select_from(Dataset).join(Model, Model.id == Dataset.model_id).where(*where)
    query = (
        select(Dataset, Model.name, Run.state)
        .join(Model, Model.id == Dataset.model_id)
        .outerjoin(Run, Run.id == Dataset.run_id)
        .where(*where)
    )
    columns: dict[str, Any] = {
        "created": Dataset.created_at, "model": Model.name, "role": Dataset.role, "rows": Dataset.rows,
        "name": Dataset.name,
    }  # fmt: skip
    last: Any = Dataset.id
    order = asked.order(columns, Dataset.created_at.desc(), last)
    found = db.execute(query.order_by(*order).limit(asked.limit).offset(asked.offset)).all()
    told = declared(db, [row for row, _, _ in found if row.run_id is None])
    return [Row(row, name, told.get(row.id), state) for row, name, state in found], db.scalar(total) or 0


def _where(asked: Asked, ids: Sequence[UUID] | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [] if ids is None else [Dataset.model_id.in_(ids)]
    if (model := asked.get("model")) is not None:
        where.append(Model.name == model)
    if roles := asked.get("role"):
        where.append(Dataset.role.in_(roles))
    if (made := asked.get("made")) is not None:
        where.append(Dataset.run_id.is_(None) if made == "registered" else Dataset.run_id.is_not(None))
    if (named := asked.get("name")) is not None:
        where.append(
            or_(Dataset.name.contains(named, autoescape=True), Dataset.digest.contains(named, autoescape=True))
        )
    if (since := asked.get("since")) is not None:
        where.append(Dataset.created_at >= datetime.combine(since, time(), UTC))
    if (until := asked.get("until")) is not None:
        where.append(Dataset.created_at < datetime.combine(until, time(), UTC) + timedelta(days=1))
    return where


def declared(db: Session, rows: Sequence[Dataset]) -> dict[UUID, Mapping[str, Any]]:
    """What was declared last about the content of each registered set."""
    if not rows:
        return {}
    contents = {first_digest(row) for row in rows}
    query = select(ProvenanceDeclaration).where(ProvenanceDeclaration.content.in_(contents))
    newest: dict[tuple[UUID, str], ProvenanceDeclaration] = {
        (one.model_id, one.content): one for one in db.scalars(query.order_by(ProvenanceDeclaration.entry))
    }
    found = {row.id: newest.get((row.model_id, first_digest(row))) for row in rows}
    return {
        row: {**one.document, "entry": one.entry, "by": one.created_by} for row, one in found.items() if one is not None
    }


def users(db: Session, row: Dataset) -> Sequence[Run]:
    """Runs that used a set, newest first: of a registered one those whose sets were chosen from it."""
    query = select(Run).options(defer(Run.metrics), defer(Run.evaluation), defer(Run.config))
    query = query.where(Run.model_id == row.model_id)
    if row.run_id is not None:
        columns = (Run.train_dataset_id, Run.eval_dataset_id, Run.holdout_dataset_id)
        query = query.where(or_(Run.id == row.run_id, *(column == row.id for column in columns)))
    else:
        text = cast(Dataset.provenance, String)
        named = or_(*(text.contains(digest, autoescape=True) for digest in digests_of(row)))
        made = select(Dataset.run_id).where(Dataset.model_id == row.model_id, Dataset.run_id.is_not(None), named)
        query = query.where(Run.id.in_(made))
    return db.scalars(query.order_by(Run.created_at.desc()).limit(USERS)).all()


def versions_of(db: Session, runs: Sequence[Run]) -> dict[UUID, str]:
    """By run, the version that it trained."""
    query = select(ModelVersion.run_id, ModelVersion.version).where(ModelVersion.run_id.in_([run.id for run in runs]))
    return {run: version for run, version in db.execute(query).all() if run is not None}
