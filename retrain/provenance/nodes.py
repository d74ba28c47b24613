"""The nodes of a model's provenance: what each thing was made from, by digest. A node's digest covers its sources'.

A node is made of what never changes about a thing, so whoever has the rows computes it again and finds the digest that
was put into the ledger when the thing was made. No node holds a row, a text or a name of a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import digest
from governance.ledger.read import ledger_entries
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


@dataclass(frozen=True)
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

    @cached_property
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
    if not named:
        return []
    return [d for d in reversed(every) if d.run_id is None and digests_of(d) & named]


class Nodes:
    """The nodes of one model, made from its rows on demand."""

    def __init__(self, db: Session, model: Model, newest: int | None = None) -> None:
        self.db, self.model = db, model
        runs = store.runs(db, model.id, newest)
        self.runs: dict[UUID, Run] = {run.id: run for run in reversed(runs)}
        self.bounded = newest is not None and len(runs) == newest
        kept = list(self.runs) if self.bounded else None
        self.datasets = store.datasets(db, model.id, kept)
        self.versions: dict[str, ModelVersion] = {v.version: v for v in store.versions(db, model.id, kept)}
        self._made_by = {v.run_id: v for v in reversed(self.versions.values()) if v.run_id is not None}
        self._registered = [row for row in self.datasets if row.run_id is None]
        self._by_run: dict[UUID | None, dict[str, Dataset]] = {}
        for row in self.datasets:
            self._by_run.setdefault(row.run_id, {})[row.role] = row
        self._made: dict[tuple[str, str], Node] = {}
        self._told = _recorded(db, model) if self.bounded else {}

    @classmethod
    def of(cls, db: Session, model: Model, newest: int | None = None) -> Self:
        """
        Args:
            newest: so many runs, with what they used and made. What older ones made is named by the digest that the
                ledger has of it.
        """
        return cls(db, model, newest)

    def sets_of(self, run: Run) -> dict[str, Dataset]:
        """Datasets of a run by role."""
        return self._by_run.get(run.id, {})

    def dataset(self, row: Dataset) -> Node:
        key = ("dataset", str(row.id))
        if key not in self._made:
            kept = {k: v for k, v in row.provenance.items() if k != "erasures"}
            sources = [
                Source("rows_of", self.dataset(parent).digest) for parent in parents_of(row, self._registered)
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
            version = self._made_by.get(run.id)
            if version is not None:
                sources.append(Source("base_model", base_node(version.base_model, version.base_digest).digest))
            named = [(role, self._digest(name)) for role, name in _goes_on_from(run)]
            sources += [Source(role, found) for role, found in named if found is not None]
            code = next((d.provenance.get("code") for d in self.sets_of(run).values()), None)
            facts = {"model": self.model.name, "spec_revision": run.spec_revision, "decision": str(run.decision_id),
                     "config": run.config_digest, "code": code or code_version()}  # fmt: skip
            self._made[key] = Node("run", str(run.id), facts, tuple(sources))
        return self._made[key]

    def version(self, row: ModelVersion) -> Node:
        for one in self._line(row):
            self._version(one)
        return self._made["version", row.version]

    def _digest(self, version: str) -> str | None:
        """Of a version's node; of one that an older run made, as the ledger has it. None of one that is not there."""
        row = self.versions.get(version)
        return self._told.get(version) if row is None else self.version(row).digest

    def _line(self, row: ModelVersion) -> list[ModelVersion]:
        """The version and those that its training went on from, without a node yet, the oldest first.

        A model may have been retrained more often than functions can call each other.
        """
        found: dict[str, ModelVersion] = {}
        waiting = [row]
        while waiting:
            one = waiting.pop()
            if one.version in found or ("version", one.version) in self._made:
                continue
            found[one.version] = one
            run = self.runs.get(one.run_id) if one.run_id is not None else None
            if run is not None:
                waiting += [self.versions[name] for _, name in _goes_on_from(run) if name in self.versions]
        return sorted(found.values(), key=lambda one: one.created_at)

    def _version(self, row: ModelVersion) -> Node:
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


def _goes_on_from(run: Run) -> list[tuple[str, str]]:
    """Role and name of the versions that a training began with."""
    config = run.config or {}
    found = [("goes_on_from", run.champion_version)] if config.get("parent_adapter") else []
    if teacher := config.get("teacher"):
        found.append(("teacher", str(teacher.get("version"))))
    return found


def _recorded(db: Session, model: Model) -> dict[str, str]:
    """Digests of the nodes of all versions, as they were put into the ledger when each was made."""
    entries = ledger_entries(db, ("version.registered",), f"model:{model.name}")
    return {e["body"]["version"]: e["body"]["node"] for e in entries if e["body"].get("node")}


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
