"""Queries of the pages about runs: bounded, and without the large records that a list does not show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, defer

from api.pages.listing import Asked
from governance.tables import LedgerEntry
from monitor.tables import Dataset, Model
from reports.store import Entry, read_entry
from retrain.tables import GateRow, Run, TriggerDecision

LARGE: Final = (Run.metrics, Run.evaluation, Run.config, Run.rules)
OF_MODEL: Final = ("version.registered", "version.promoted", "version.staged", "version.rolled_back")


@dataclass(frozen=True, slots=True)
class Row:
    """A run in a list."""

    run: Run
    model: str
    decision: TriggerDecision | None
    gates: Sequence[tuple[str, str]]  # gate and verdict
    seconds: float | None
    kwh: float | None


def runs(db: Session, asked: Asked, ids: Sequence[UUID] | None) -> tuple[list[Row], int]:
    """One page of runs and how many match; `ids` are the models that may be seen, None for all."""
    where = _where(asked, ids)
    total = select(func.count()).select_from(Run).join(Model, Model.id == Run.model_id)
    query = (
        select(Run, Model.name, TriggerDecision)
        .join(Model, Model.id == Run.model_id)
        .outerjoin(TriggerDecision, TriggerDecision.id == Run.decision_id)
        .options(*(defer(column) for column in LARGE))
    )
    columns: dict[str, Any] = {
        "created": Run.created_at,
        "finished": Run.finished_at,
        "model": Model.name,
        "state": Run.state,
    }
    last: Any = Run.id
    order = asked.order(columns, Run.created_at.desc(), last)
    cause = asked.get("cause")
    if cause is not None:
        total = total.join(TriggerDecision, TriggerDecision.id == Run.decision_id)
        where.append(TriggerDecision.cause == cause)
    found = db.execute(query.where(*where).order_by(*order).limit(asked.limit).offset(asked.offset)).all()
    judged = verdicts(db, [run.id for run, _, _ in found])
    rows = [Row(run, name, made, judged.get(run.id, ()), *cost(run.used)) for run, name, made in found]
    return rows, db.scalar(total.where(*where)) or 0


def _where(asked: Asked, ids: Sequence[UUID] | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [] if ids is None else [Run.model_id.in_(ids)]
    if (model := asked.get("model")) is not None:
        where.append(Model.name == model)
    if states := asked.get("state"):
        where.append(Run.state.in_(states))
    if (version := asked.get("version")) is not None:
        where.append(or_(Run.candidate_version == version, Run.champion_version == version))
    if (since := asked.get("since")) is not None:
        where.append(Run.created_at >= datetime.combine(since, time(), UTC))
    if (until := asked.get("until")) is not None:
        where.append(Run.created_at < datetime.combine(until, time(), UTC) + timedelta(days=1))
    return where


def verdicts(db: Session, ids: Sequence[UUID]) -> Mapping[UUID, Sequence[tuple[str, str]]]:
    """Gate and verdict of each of these runs."""
    found: dict[UUID, list[tuple[str, str]]] = {}
    query = select(GateRow.run_id, GateRow.gate, GateRow.verdict).where(GateRow.run_id.in_(ids)).order_by(GateRow.gate)
    for run_id, gate, verdict in db.execute(query):
        found.setdefault(run_id, []).append((gate, verdict))
    return found


def cost(used: Mapping[str, Any] | None) -> tuple[float | None, float | None]:
    """Seconds and kWh of the processes of a run, as far as they were estimated."""
    parts = [part for name, part in (used or {}).items() if name in ("train", "evaluate") and isinstance(part, dict)]
    if not parts:
        return None, None
    seconds = [one for part in parts if isinstance(one := part.get("seconds"), int | float)]
    energy = [one for part in parts if isinstance(one := part.get("kwh"), int | float)]
    return sum(seconds), sum(energy) if len(energy) == len(parts) else None


def entries_of(db: Session, run: Run, model: str) -> list[Entry]:
    """Ledger entries about a run: its own, and of its model those that decided it or name its version."""
    own = select(LedgerEntry).where(LedgerEntry.subject == f"run:{run.id}")
    about = select(LedgerEntry).where(LedgerEntry.subject == f"model:{model}")
    ids = [str(run.decision_id), str(run.id)]
    named = or_(*(LedgerEntry.entry.contains(one, autoescape=True) for one in ids))
    decided = about.where(LedgerEntry.kind.in_(("trigger.decision", "dataset.registered")), named)
    specs = about.where(LedgerEntry.kind == "model.spec")
    rows = [*db.scalars(own), *db.scalars(decided), *db.scalars(specs)]
    if run.candidate_version is not None:
        moved = about.where(LedgerEntry.kind.in_(OF_MODEL))
        wanted = LedgerEntry.entry.contains(f'"{run.candidate_version}"', autoescape=True)
        rows += db.scalars(moved.where(wanted))
    return [read_entry(row) for row in sorted(rows, key=lambda row: row.index)]


def entry_of_dataset(db: Session, row: Dataset, model: str) -> int | None:
    """Index of the ledger entry that registered a set."""
    subjects = (f"model:{model}", f"run:{row.run_id}")
    query = select(LedgerEntry.index).where(
        LedgerEntry.kind == "dataset.registered", LedgerEntry.subject.in_(subjects),
        LedgerEntry.entry.contains(str(row.id), autoescape=True),
    )  # fmt: skip
    return db.scalars(query.order_by(LedgerEntry.index).limit(1)).first()
