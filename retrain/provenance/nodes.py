"""The nodes of a model's provenance: what each thing was made from, by digest. A node's digest covers its sources'.

A node is made of what never changes about a thing, so whoever has the rows computes it again and finds the digest that
was put into the ledger when the thing was made. No node holds a row, a text or a name of a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import digest
from monitor.tables import Dataset, Model
from retrain import store
from retrain.provenance.code import code_version
from retrain.tables import ModelVersion, Run


@dataclass(frozen=True, slots=True)
class Source:
    """One edge: what role another node had in the making."""

    role: str
    node: str  # digest of the other node
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    kind: str  # events, base_model, dataset, run, version, report, explanation
    name: str  # unique among those of its kind and model
    facts: Mapping[str, Any]
    sources: tuple[Source, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """What the digest is taken over."""
        sources = [{"role": s.role, "node": s.node, **s.facts} for s in self.sources]
        return {"kind": self.kind, "name": self.name, **self.facts, "made_from": sources}

    @property
    def digest(self) -> str:
        return digest(self.document)

    def entry(self) -> dict[str, Any]:
        """What the ledger keeps of it, in the entry of what made it."""
        return {"node": self.digest, "made_from": [{"role": s.role, "node": s.node} for s in self.sources]}


def events_node(model: str) -> Node:
    return Node("events", model, {})


def base_node(name: str, content: str) -> Node:
    return Node("base_model", name, {"digest": content})


def first_digest(row: Dataset) -> str:
    """Digest of a dataset as it was registered, before rows of it were erased."""
    marks = row.provenance.get("erasures") or ()
    return str(marks[0]["digest_before"]) if marks else row.digest


def first_rows(row: Dataset) -> int:
    return row.rows + sum(int(mark["rows_removed"]) for mark in row.provenance.get("erasures") or ())


def digests_of(row: Dataset) -> set[str]:
    """Every digest that a dataset had."""
    return {row.digest, *(str(mark["digest_before"]) for mark in row.provenance.get("erasures") or ())}


def parents_of(row: Dataset, every: Sequence[Dataset]) -> list[Dataset]:
    """Registered datasets that a dataset was chosen from, oldest first."""
    named = set(row.provenance.get("parents") or ())
    return [d for d in reversed(every) if d.run_id is None and digests_of(d) & named]


class Nodes:
    """The nodes of one model, made from its rows on demand."""

    def __init__(self, db: Session, model: Model) -> None:
        self.db, self.model = db, model
        self.datasets = store.datasets(db, model.id)
        self.runs: dict[UUID, Run] = {run.id: run for run in reversed(store.runs(db, model.id))}
        self.versions: dict[str, ModelVersion] = {v.version: v for v in store.versions(db, model.id)}
        self._by_run: dict[UUID | None, dict[str, Dataset]] = {}
        for row in self.datasets:
            self._by_run.setdefault(row.run_id, {})[row.role] = row
        self._made: dict[tuple[str, str], Node] = {}

    @classmethod
    def of(cls, db: Session, model: Model) -> Self:
        return cls(db, model)

    def sets_of(self, run: Run) -> dict[str, Dataset]:
        """Datasets of a run by role."""
        return self._by_run.get(run.id, {})

    def dataset(self, row: Dataset) -> Node:
        key = ("dataset", str(row.id))
        if key not in self._made:
            kept = {k: v for k, v in row.provenance.items() if k != "erasures"}
            sources = [
                Source("rows_of", self.dataset(parent).digest) for parent in parents_of(row, self.datasets)
            ] if row.run_id is not None else []  # fmt: skip
            if row.provenance.get("sources"):
                sources.append(Source("rows_of", events_node(self.model.name).digest, _span(row)))
            facts = {"model": self.model.name, "id": str(row.id), "role": row.role, "digest": first_digest(row),
                     "rows": first_rows(row), "record": digest(kept)}  # fmt: skip
            self._made[key] = Node("dataset", row.name, facts, tuple(sources))
        return self._made[key]

    def run(self, run: Run) -> Node:
        """A run that trained: the sets it read, the base and the adapter it went on from, and its configuration."""
        key = ("run", str(run.id))
        if key not in self._made:
            sources = [Source(role, self.dataset(row).digest) for role, row in sorted(self.sets_of(run).items())]
            version = next((v for v in self.versions.values() if v.run_id == run.id), None)
            if version is not None:
                sources.append(Source("base_model", base_node(version.base_model, version.base_digest).digest))
            before = self.versions.get(run.champion_version)
            if before is not None and (run.config or {}).get("parent_adapter"):
                sources.append(Source("goes_on_from", self.version(before).digest))
            teacher = (run.config or {}).get("teacher")
            if teacher and (taught := self.versions.get(str(teacher.get("version")))) is not None:
                sources.append(Source("teacher", self.version(taught).digest))
            code = next((d.provenance.get("code") for d in self.sets_of(run).values()), None)
            facts = {"model": self.model.name, "spec_revision": run.spec_revision, "decision": str(run.decision_id),
                     "config": run.config_digest, "code": code or code_version()}  # fmt: skip
            self._made[key] = Node("run", str(run.id), facts, tuple(sources))
        return self._made[key]

    def version(self, row: ModelVersion) -> Node:
        key = ("version", row.version)
        if key not in self._made:
            run = self.runs.get(row.run_id) if row.run_id is not None else None
            if run is None:
                sources = [Source("base_model", base_node(row.base_model, row.base_digest).digest)]
            else:
                sources = [Source("made_by", self.run(run).digest)]
            facts = {"model": self.model.name, "adapter": row.adapter, "base_digest": row.base_digest}
            self._made[key] = Node("version", row.version, facts, tuple(sources))
        return self._made[key]

    def every(self) -> list[Node]:
        """All of them but reports and explanations, sources before what was made from them."""
        bases = {v.base_digest: base_node(v.base_model, v.base_digest) for v in self.versions.values()}
        trained = [run for run in self.runs.values() if self.sets_of(run)]
        return [
            events_node(self.model.name), *bases.values(), *(self.dataset(d) for d in reversed(self.datasets)),
            *(self.run(run) for run in trained), *(self.version(v) for v in self.versions.values()),
        ]  # fmt: skip


def _span(row: Dataset) -> dict[str, Any]:
    """Which events a dataset was chosen from."""
    found: dict[str, Any] = {}
    for source in row.provenance["sources"]:
        if "to_seq" in source:
            found |= {name: source[name] for name in ("from_seq", "to_seq", "delta_version") if name in source}
        elif "next_outcome" in source:
            found["outcomes_version"] = source.get("delta_version")
    return found


def explanation_node(version: Node, model: str, artifact: str) -> Node:
    """An explanation of one decision, which its artifact alone names."""
    return Node("explanation", artifact, {"model": model}, (Source("explains", version.digest),))
