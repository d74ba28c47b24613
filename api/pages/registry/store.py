"""Queries of the registry: one page of versions with what each scored, without the large records of their runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from api.pages.listing import Asked
from monitor.tables import Model
from reports.charts.text import number
from retrain.tables import ModelVersion, Run


@dataclass(frozen=True, slots=True)
class Score:
    """What a version scored on the new held-out rows when its run judged it, with a 95 % interval."""

    metric: str
    value: str
    interval: str
    n: int | None


@dataclass(frozen=True, slots=True)
class Row:
    version: ModelVersion
    model: str
    score: Score | None


def versions(db: Session, asked: Asked, ids: Sequence[UUID] | None) -> tuple[list[Row], int]:
    """One page of versions and how many match; `ids` are the models that may be seen, None for all."""
    where = _where(asked, ids)
    total = select(func.count()).select_from(ModelVersion).join(Model, Model.id == ModelVersion.model_id).where(*where)
    query = select(ModelVersion, Model.name).join(Model, Model.id == ModelVersion.model_id).where(*where)
    columns: dict[str, Any] = {
        "created": ModelVersion.created_at, "promoted": ModelVersion.promoted_at, "retired": ModelVersion.retired_at,
        "model": Model.name, "stage": ModelVersion.stage,
    }  # fmt: skip
    last: Any = ModelVersion.id
    order = asked.order(columns, ModelVersion.created_at.desc(), last)
    found = db.execute(query.order_by(*order).limit(asked.limit).offset(asked.offset)).all()
    scores = scores_of(db, [row.run_id for row, _ in found if row.run_id is not None])
    rows = [Row(row, name, scores.get(row.run_id) if row.run_id is not None else None) for row, name in found]
    return rows, db.scalar(total) or 0


def _where(asked: Asked, ids: Sequence[UUID] | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [] if ids is None else [ModelVersion.model_id.in_(ids)]
    if (model := asked.get("model")) is not None:
        where.append(Model.name == model)
    if stages := asked.get("stage"):
        where.append(ModelVersion.stage.in_(stages))
    if (base := asked.get("base")) is not None:
        where.append(ModelVersion.base_model.contains(base, autoescape=True))
    if (since := asked.get("since")) is not None:
        where.append(ModelVersion.created_at >= datetime.combine(since, time(), UTC))
    if (until := asked.get("until")) is not None:
        where.append(ModelVersion.created_at < datetime.combine(until, time(), UTC) + timedelta(days=1))
    return where


def scores_of(db: Session, runs: Sequence[UUID]) -> Mapping[UUID, Score]:
    """By run, what its candidate scored."""
    query = select(Run.id, Run.evaluation).where(Run.id.in_(runs))
    return {run: score for run, evaluation in db.execute(query) if (score := score_of(evaluation)) is not None}


def score_of(evaluation: Mapping[str, Any] | None) -> Score | None:
    """The first metric of the challenger on new rows."""
    for one in (evaluation or {}).get("evaluations") or ():
        if one.get("model") == "challenger" and one.get("rows") == "new" and isinstance(one.get("value"), int | float):
            low, high = one.get("low"), one.get("high")
            ends = f"{number(low)} to {number(high)}" if low is not None and high is not None else "no interval"
            n = one.get("n")
            return Score(str(one.get("name")).replace("_", " "), number(one["value"]), ends,
                         n if isinstance(n, int) else None)  # fmt: skip
    return None


def names(db: Session, model_id: UUID, most: int = 200) -> list[str]:
    """Names of the newest versions of a model."""
    query = select(ModelVersion.version).where(ModelVersion.model_id == model_id)
    return list(db.scalars(query.order_by(ModelVersion.created_at.desc()).limit(most)))
