"""The graph of one model: every node, who made it and when, what is declared of it, and what the ledger has of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.ledger.read import ledger_entries
from governance.tables import LedgerEntry
from monitor.tables import Dataset, Explanation, Model
from reports.errors import NodeNotFoundError
from reports.tables import Report
from retrain.provenance.declarations import declarations
from retrain.provenance.nodes import Node, Nodes, Source, explanation_node, first_digest
from retrain.store import spec_at
from retrain.tables import ModelVersion, ProvenanceDeclaration, Run

MADE_BY: Final[Mapping[str, str]] = {
    "dataset": "dataset.registered", "run": "run.trained", "version": "version.registered",
    "report": "report.created", "explanation": "explanation.created",
}  # fmt: skip
BEFORE: Final = "made before provenance was recorded"
CHUNK: Final = 500  # subjects that one query names
MAX_EXPLANATIONS: Final = 1000  # in a graph, the newest


@dataclass(frozen=True, slots=True)
class Entry:
    index: int
    at: str
    node: str | None  # digest of the node as it was made; None of an earlier release
    made_from: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A node with what is known of it beside what its digest covers."""

    node: Node
    entry: Entry | None
    standing: str  # recorded, differs, not recorded, or BEFORE
    more: Mapping[str, Any] = field(default_factory=dict)
    declared: Mapping[str, Any] | None = None

    @property
    def document(self) -> dict[str, Any]:
        dated = self.entry if self.node.kind != "run" else None  # that of a run is made when its training has ended
        return {
            "node": self.node.digest, "kind": self.node.kind, "name": self.node.name, **self.node.facts, **self.more,
            "declared": self.declared, "entry": self.entry.index if self.entry else None,
            "at": dated.at if dated else self.more.get("at"), "standing": self.standing,
        }  # fmt: skip


@dataclass(frozen=True)
class Graph:
    model: Model
    shown: Mapping[str, Shown]  # by digest of the node, sources before what was made from them
    bounded: bool = False  # older runs, and what they used and made, are left out

    def edges(self) -> Iterable[tuple[str, str, str, Mapping[str, Any]]]:
        """(source, what was made from it, role, facts)."""
        for digest, made in self.shown.items():
            for source in made.node.sources:
                yield source.node, digest, source.role, source.facts

    def find(self, wanted: str) -> str:
        """The node of `KIND:NAME` (version:v2, run:ID, dataset:NAME or dataset:sha256:..., report:ID), or of a digest.

        Raises:
            NodeNotFoundError: there is none.
        """
        kind, _, name = wanted.partition(":")
        for key in reversed(tuple(self.shown)):  # of one name the newest
            one = self.shown[key]
            named = one.node.kind == kind and name in (one.node.name, one.node.facts.get("digest"))
            if named or wanted in (key, one.node.facts.get("digest")):
                return key
        raise NodeNotFoundError(self.model.name, wanted)

    def around(self, of: str, *, up: bool, down: bool, depth: int | None = None) -> "Graph":
        """The part of it that a node was made from (`up`), and that was made from it (`down`), so many steps far.

        Raises:
            NodeNotFoundError: there is no such node.
        """
        start, kept = self.find(of), set[str]()
        before: dict[str, list[str]] = {}
        after: dict[str, list[str]] = {}
        for source, made, _, _ in self.edges():
            before.setdefault(made, []).append(source)
            after.setdefault(source, []).append(made)
        for follow, reached in ((up, before), (down, after)):
            seen, edge, steps = {start}, [start], 0
            while follow and edge and (depth is None or steps < depth):
                edge = [near for key in edge for near in reached.get(key, ()) if near not in seen]
                edge = list(dict.fromkeys(edge))
                seen.update(edge)
                steps += 1
            kept |= seen
        return Graph(self.model, {key: one for key, one in self.shown.items() if key in kept}, self.bounded)

    @property
    def document(self) -> dict[str, Any]:
        return {
            "model": self.model.name, "nodes": [one.document for one in self.shown.values()],
            "edges": [
                {"from": source, "to": made, "role": role, **facts}
                for source, made, role, facts in self.edges()
                if source in self.shown
            ],
        }  # fmt: skip


def graph_of(db: Session, model: Model, newest: int | None = None) -> Graph:
    """The graph, made again from the rows and held against the ledger.

    Args:
        newest: only so many runs, with what they used and made, and as many reports; None for the whole.
    """
    nodes = Nodes.of(db, model, newest)
    entries = _entries(db, model, nodes)
    told = declarations(db, model.id)
    shown: dict[str, Shown] = {}

    def put(node: Node, more: Mapping[str, Any], declared: Mapping[str, Any] | None = None) -> None:
        entry = entries.get((node.kind, str(node.facts.get("id", node.name))))
        digest = node.digest
        shown[digest] = Shown(node, entry, _standing(node, entry, digest), more, declared)

    rows: dict[str, Dataset] = {str(d.id): d for d in nodes.datasets}
    for node in nodes.every():
        if node.kind == "dataset":
            row = rows[node.facts["id"]]
            put(node, _of_dataset(row), _declared(told, first_digest(row)) or inherited(db, model, row))
        elif node.kind == "run":
            put(node, _of_run(nodes.runs[UUID(node.name)]))
        elif node.kind == "version":
            put(node, _of_version(nodes.versions[node.name]))
        else:
            put(node, {}, _declared(told, node.facts["digest"]) if node.kind == "base_model" else None)
    for report, made in _reports(db, model, nodes, entries, newest):
        put(made, {"at": report.created_at.isoformat(), "pdf": (report.files or {}).get("pdf")})
    for told_why in _explanations(db, model, newest):
        version = nodes.versions.get(told_why.version)
        if version is not None:
            put(explanation_node(nodes.version(version), model.name, told_why.artifact), {"version": version.version})
    return Graph(model, shown, nodes.bounded)


def _standing(node: Node, entry: Entry | None, digest: str) -> str:
    if node.kind not in MADE_BY:
        return "named"  # by what was made from it
    if entry is None:
        return "not recorded"
    if entry.node is None:
        return BEFORE
    return "recorded" if entry.node == digest else "differs"


def _entries(db: Session, model: Model, nodes: Nodes) -> dict[tuple[str, str], Entry]:
    """The entry of what made each thing."""
    names = {"dataset": "dataset", "version": "version", "report": "report", "explanation": "explanation"}
    kinds = {kind: what for what, kind in MADE_BY.items() if what != "run"}
    found: dict[tuple[str, str], Entry] = {}
    for one in ledger_entries(db, tuple(kinds), f"model:{model.name}"):
        what = kinds[one["kind"]]
        found[what, str(one["body"][names[what]])] = _entry(one)
    subjects = [f"run:{run}" for run in nodes.runs]
    for part in (subjects[i : i + CHUNK] for i in range(0, len(subjects), CHUNK)):
        query = select(LedgerEntry.subject, LedgerEntry.entry).where(LedgerEntry.kind == MADE_BY["run"])
        for subject, line in db.execute(query.where(LedgerEntry.subject.in_(part)).order_by(LedgerEntry.index)):
            found["run", subject.removeprefix("run:")] = _entry(json.loads(line))
    return found


def _entry(one: Mapping[str, Any]) -> Entry:
    sources = tuple(Source(s["role"], s["node"]) for s in one["body"].get("made_from") or ())
    return Entry(int(one["index"]), str(one["at"]), one["body"].get("node"), sources)


def _declared(told: Sequence[ProvenanceDeclaration], content: str) -> dict[str, Any] | None:
    """The newest declaration about a content, which comes first."""
    row = next((row for row in told if row.content == content), None)
    if row is None:
        return None
    return {**row.document, "human_share": 1 - row.document["synthetic_share"], "declaration": row.digest,
            "declared_entry": row.entry}  # fmt: skip


def inherited(db: Session, model: Model, row: Dataset) -> dict[str, Any] | None:
    """What a curated set has of its sources: the spec's word about events, its own window, steps and shares."""
    revision = (row.provenance.get("spec") or {}).get("revision")
    if row.run_id is None or revision is None:
        return None
    told, synthetic = spec_at(db, model.id, revision).provenance, _synthetic(row)
    steps = [f"{s['step']}: {s['rows']} rows" for s in row.provenance.get("steps") or ()]
    return {
        "source": ", ".join(row.provenance.get("rows_of_sources") or {}),
        "collected": row.provenance.get("data_window"),
        "licence": told.licence if told else None, "consent": told.consent if told else None,
        "collector": told.collector if told else None, "known_biases": list(told.known_biases) if told else None,
        "processing": [{"step": step, "code": row.provenance.get("code"), "parameters": {}} for step in steps],
        "synthetic_share": synthetic, "human_share": None if synthetic is None else 1 - synthetic,
        "expires": told.expires if told else None,
    }  # fmt: skip


def _synthetic(row: Dataset) -> float | None:
    """The share of rows that come from sets marked synthetic; known of training sets."""
    if (
        row.role != "train"
        or "synthetic_rows" not in row.provenance
        or not sum((row.provenance.get("rows_by_source") or {}).values())
    ):
        return None
    return float(row.provenance["synthetic_rows"] / sum(row.provenance["rows_by_source"].values()))


def _of_dataset(row: Dataset) -> dict[str, Any]:
    kept = ("source", "synthetic", "sources", "filters", "dropped", "data_window", "rows_of_sources", "code", "target")
    return {
        **{name: row.provenance[name] for name in kept if name in row.provenance},
        "rows_now": row.rows, "erasures": [m["erasure"] for m in row.provenance.get("erasures") or ()],
        "at": row.created_at.isoformat(), "run": None if row.run_id is None else str(row.run_id),
    }  # fmt: skip


def _of_run(run: Run) -> dict[str, Any]:
    metrics = run.metrics or {}
    return {
        "state": run.state, "purpose": run.purpose, "recipe": (run.config or {}).get("recipe"),
        "libraries": metrics.get("libraries"), "train_seconds": metrics.get("train_seconds"),
        "candidate": run.candidate_version, "at": run.created_at.isoformat(),
        "ended_at": None if run.finished_at is None else run.finished_at.isoformat(),
    }  # fmt: skip


def _of_version(row: ModelVersion) -> dict[str, Any]:
    return {
        "stage": row.stage, "base_model": row.base_model, "labels": len(row.labels or ()),
        "at": row.created_at.isoformat(),
        "promoted_at": None if row.promoted_at is None else row.promoted_at.isoformat(),
        "trained_on_erased": list(row.trained_on_erased), "signed": row.signature is not None,
    }  # fmt: skip


def _reports(
    db: Session, model: Model, nodes: Nodes, entries: Mapping[tuple[str, str], Entry], newest: int | None
) -> Iterable[tuple[Report, Node]]:
    """Reports with their nodes; one that is not made yet has none. What a report describes, the ledger has."""
    query = select(Report).where(Report.model_id == model.id).order_by(Report.created_at.desc()).limit(newest)
    for row in db.scalars(query).all()[::-1]:
        if (row.files or {}).get("json"):
            entry = entries.get(("report", str(row.id)))
            sources = entry.made_from if entry is not None and entry.node else described(row, nodes)
            yield row, node_of_report(row, model, sources)


def described(row: Report, nodes: Nodes) -> tuple[Source, ...]:
    """What a report describes: the versions that were there, and the runs of its period that made one."""
    until, known = row.period_to, max(row.period_to, row.created_at)
    made = [v for v in nodes.versions.values() if v.created_at <= known]
    runs = [nodes.runs[v.run_id] for v in made if v.run_id in nodes.runs]
    seen = [*map(nodes.version, made), *(nodes.run(r) for r in runs if row.period_from <= r.created_at <= until)]
    return tuple(Source(f"describes_{node.kind}", node.digest) for node in seen)


def node_of_report(row: Report, model: Model, sources: tuple[Source, ...], content: str | None = None) -> Node:
    period = {"from": row.period_from.isoformat(), "to": row.period_to.isoformat()}
    facts = {"model": model.name, "digest": content or (row.files or {})["json"], "period": period}
    return Node("report", str(row.id), facts, sources)


def _explanations(db: Session, model: Model, newest: int | None) -> Sequence[Explanation]:
    query = select(Explanation).where(Explanation.model_id == model.id).order_by(Explanation.created_at.desc())
    return db.scalars(query.limit(newest or MAX_EXPLANATIONS)).all()[::-1]
