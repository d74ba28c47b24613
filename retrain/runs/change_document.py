"""The change document of a run: the proof that it stayed inside what was determined beforehand, from its records."""

import json
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import digest
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import ledger_leaves, ledger_rows
from governance.proof import merkle
from monitor.site import Site
from monitor.store import spec_revision
from monitor.tables import Dataset, Model
from retrain import store
from retrain.runs.change_limits import FORMAT, LAW, limits_of, verdict_of
from retrain.tables import Run

LIMIT: Final = 100_000  # entries about one run or model
MOVES: Final = ("version.promoted", "version.staged")


def change_document(site: Site, db: Session, run_id: UUID) -> dict[str, Any]:
    """Everything that shows, and lets be checked without this installation, what a run was allowed and what it did.

    Raises:
        RunNotFoundError.
    """
    run = store.run(db, run_id)
    model = db.get_one(Model, run.model_id)
    evidence = evidence_of(db, run)
    lines = limits_of(evidence)
    made = {
        "format": FORMAT, "law": list(LAW), "run": str(run.id), "model": model.name, "state": run.state,
        "champion": run.champion_version, "candidate": run.candidate_version,
        "verdict": verdict_of(lines, run.state), "limits": lines, "used": used_of(run), "evidence": evidence,
    }  # fmt: skip
    return {**made, "digest": digest(made), "ledger": _ledger(site, db, run, model)}


def evidence_of(db: Session, run: Run) -> dict[str, Any]:
    """All that the limits of a run are read from, as recorded."""
    revisions = dict.fromkeys([run.spec_revision, *([run.rules["now"]] if run.rules and run.rules.get("now") else [])])
    specs = [(at, spec_revision(db, run.model_id, at)) for at in revisions]
    datasets = store.run_datasets(db, run.id)
    return {
        "created_at": run.created_at.isoformat(),
        "specs": [{"revision": at, "digest": row.digest, "document": row.document} for at, row in specs],
        "config": run.config, "record": run.metrics,
        "datasets": {role: _dataset(row) for role, row in sorted(datasets.items())},
        "gates": {
            gate.gate: {"verdict": gate.verdict, "reason": gate.reason, "evidence": gate.evidence}
            for gate in store.gates(db, run.id)
        },
        "outside": run.outside, "exceptions": run.exceptions, "approvals": run.approvals,
    }  # fmt: skip


def _dataset(row: Dataset) -> dict[str, Any]:
    return {"digest": row.digest, "rows": row.rows, "provenance": row.provenance}


def used_of(run: Run) -> dict[str, Any] | None:
    """Time and energy of all processes of the run, as estimated."""
    parts = {name: part for name, part in (run.used or {}).items() if name in ("train", "evaluate")}
    if not parts:
        return None
    total = {
        figure: None if any(part[figure] is None for part in parts.values()) else sum(p[figure] for p in parts.values())
        for figure in ("seconds", "kwh", "co2e_kg")
    }
    return {**total, "estimated": True, "by_process": parts}


def _ledger(site: Site, db: Session, run: Run, model: Model) -> dict[str, Any]:
    """The entries that the evidence is checked against, each with its way to the newest signed checkpoint."""
    revisions = {run.spec_revision, *([run.rules["now"]] if run.rules else [])}
    rows = list(ledger_rows(db, limit=LIMIT, subject=f"run:{run.id}"))
    for row in ledger_rows(db, limit=LIMIT, subject=f"model:{model.name}"):
        entry = json.loads(row.entry)
        body = entry["body"]
        spec = entry["kind"] == "model.spec" and body["revision"] in revisions
        moved = entry["kind"] in MOVES and body["version"] == run.candidate_version
        if spec or moved or str(run.id) == body.get("run") or str(run.decision_id) == body.get("decision"):
            rows.append(row)
    head = latest_checkpoint(db)
    leaves = ledger_leaves(db, head.size) if head is not None else []
    entries = []
    for row in sorted(rows, key=lambda r: r.index):
        signed = row.index < len(leaves)
        proof = [node.hex() for node in merkle.inclusion_proof(leaves, row.index)] if signed else None
        entries.append({"index": row.index, "entry": row.entry, "proof": proof})
    return {
        "vkeys": [site.keys.vkey], "checkpoint": head.note if head is not None else None,
        "size": head.size if head is not None else None, "entries": entries,
    }  # fmt: skip
