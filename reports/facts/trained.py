"""On which data each version in service was trained: its sets with times and counts, and what was declared of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from governance.provenance.declaration import Declaration
from monitor.spec.model import ModelSpec
from monitor.tables import Dataset, Model, Window
from reports import document as doc
from reports.facts.citations import Citations
from reports.facts.versions import promotion_entry
from reports.paths import without_paths
from retrain import store as retrained
from retrain.provenance.declarations import declarations
from retrain.provenance.nodes import first_digest, parents_of
from retrain.tables import ModelVersion, ProvenanceDeclaration

MOST_NAMED = 50  # versions that are named without a row of the registry


def trained_lines(
    db: Session, model: Model, versions: Sequence[ModelVersion], windows: Sequence[Window], since: datetime,
    until: datetime, citations: Citations,
) -> tuple[doc.TrainedLine, ...]:  # fmt: skip
    """Versions that answered in a period or were champion in it, those of the registry first, in order of time."""
    seen = dict.fromkeys(str(v) for w in windows for v in w.versions)
    known = {v.version: v for v in versions}
    served = [v for v in versions if v.version in seen or _in_service(v, since, until)]
    told, every = declarations(db, model.id), retrained.datasets(db, model.id)
    lines = [_line(db, model, v, told, every, citations) for v in served]
    unknown = [name for name in seen if name not in known][:MOST_NAMED]
    return (*lines, *map(_unknown, unknown))


def trained_line(db: Session, model: Model, version: ModelVersion, citations: Citations) -> doc.TrainedLine:
    """Of one version."""
    told, every = declarations(db, model.id), retrained.datasets(db, model.id)
    return _line(db, model, version, told, every, citations)


def _in_service(v: ModelVersion, since: datetime, until: datetime) -> bool:
    if v.promoted_at is None or v.promoted_at > until:
        return False
    return v.retired_at is None or v.retired_at >= since


def _unknown(version: str) -> doc.TrainedLine:
    why = "the events name this version and no registry has it: nothing about its training was recorded here"
    return doc.TrainedLine(
        version=version, stage=None, since=None, until=None, base=None, sets=(), data=(), run=None, erased=0,
        reason=why, entry=None,
    )  # fmt: skip


def _line(
    db: Session, model: Model, v: ModelVersion, told: Sequence[ProvenanceDeclaration], every: Sequence[Dataset],
    citations: Citations,
) -> doc.TrainedLine:  # fmt: skip
    sets: tuple[doc.LearnedSet, ...] = ()
    data: tuple[doc.DeclaredData, ...] = ()
    if v.run_id is None:
        reason: str | None = (
            "it is the base model: nothing was trained here, and what its makers trained it on is not recorded"
        )
    else:
        rows = retrained.run_datasets(db, v.run_id)
        spec = retrained.spec_at(db, model.id, retrained.run(db, v.run_id).spec_revision)
        sets = tuple(_set(rows[role], citations) for role in ("train", "eval", "holdout") if role in rows)
        data = tuple(_data(model, rows["train"], spec, told, every)) if "train" in rows else ()
        reason = None if sets else "its run recorded no dataset"
    return doc.TrainedLine(
        version=v.version, stage=v.stage, since=v.promoted_at, until=v.retired_at,
        base=_declared("base_model", str(without_paths(v.base_model)), v.base_digest, told, None), sets=sets, data=data,
        run=None if v.run_id is None else str(v.run_id), erased=len(v.trained_on_erased), reason=reason,
        entry=promotion_entry(v, citations),
    )  # fmt: skip


def _set(row: Dataset, citations: Citations) -> doc.LearnedSet:
    dropped = {str(why): n for why, n in (row.provenance.get("dropped") or {}).items() if isinstance(n, int) and n}
    span = row.provenance.get("data_window") or {}
    return doc.LearnedSet(
        role=row.role, rows=row.rows, dropped=sum(dropped.values()), dropped_for=dropped, digest=row.digest,
        start=span.get("from"), end=span.get("to"),
        entry=citations.find("dataset.registered", row.id) or citations.find("dataset.registered", row.digest),
    )  # fmt: skip


def _data(
    model: Model, row: Dataset, spec: ModelSpec, told: Sequence[ProvenanceDeclaration], every: Sequence[Dataset]
) -> list[doc.DeclaredData]:
    """The model's own events, and each registered dataset that rows were chosen from."""
    found = []
    counts: Mapping[str, Any] = row.provenance.get("rows_of_sources") or row.provenance.get("rows_by_source") or {}
    if row.provenance.get("sources"):
        own, span = spec.provenance, row.provenance.get("data_window") or {}
        found.append(
            doc.DeclaredData(
                kind="events", name=model.name, source="production events and their outcomes",
                licence=own.licence if own else None, consent=own.consent if own else None,
                collected_from=span.get("from"), collected_to=span.get("to"),
                rows=_count(counts, ("events", model.name)), entry=None,
                reason=None if own else "the spec has no section `provenance`",
            )
        )  # fmt: skip
    for parent in parents_of(row, every):
        rows = _count(counts, (f"dataset:{parent.name}", parent.name))
        found.append(_declared("dataset", parent.name, first_digest(parent), told, rows))
    return found


def _count(counts: Mapping[str, Any], names: Sequence[str]) -> int | None:
    return next((int(counts[name]) for name in names if isinstance(counts.get(name), int)), None)


def _declared(
    kind: str, name: str, content: str, told: Sequence[ProvenanceDeclaration], rows: int | None
) -> doc.DeclaredData:
    """The newest declaration about a content, which comes first."""
    row = next((d for d in told if d.content == content), None)
    if row is None:
        other = any((d.kind, d.name) == (kind, name) for d in told)
        why = "declared for other files than it has" if other else "nobody declared it"
        return doc.DeclaredData(
            kind=kind, name=name, source=None, licence=None, consent=None, collected_from=None, collected_to=None,
            rows=rows, entry=None, reason=why,
        )  # fmt: skip
    said = Declaration.of(row.document)
    return doc.DeclaredData(
        kind=kind, name=name, source=str(without_paths(said.source)), licence=said.licence, consent=said.consent,
        collected_from=said.collected.first.isoformat(), collected_to=said.collected.last.isoformat(), rows=rows,
        entry=row.entry, reason=None,
    )  # fmt: skip
