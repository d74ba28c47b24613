"""The lines of a report about training data, runs and versions."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from monitor.tables import Dataset
from reports import document as doc
from reports.facts.citations import Citations
from reports.paths import without_paths
from retrain.runs.change_check import said
from retrain.runs.change_document import used_of
from retrain.runs.change_limits import limits_of, verdict_of
from retrain.tables import GateRow, ModelVersion, Run


def dataset_line(d: Dataset, citations: Citations) -> doc.DatasetLine:
    return doc.DatasetLine(
        name=d.name,
        role=d.role,
        digest=d.digest,
        rows=d.rows,
        provenance=without_paths(d.provenance),
        created_at=d.created_at,
        created_by=d.created_by,
        entry=citations.find("dataset.registered", d.id) or citations.find("dataset.registered", d.digest),
    )


def limit_line(line: Mapping[str, Any], citations: Citations) -> doc.LimitLine:
    unit = f" {line['unit']}" if line["unit"] else ""
    who = "; ".join(f"{e['owner'] or e['actor']}: {e['why']}" for e in line["allowed_by"])
    return doc.LimitLine(
        revision=line["revision"],
        limit=line["limit"],
        declared=f"{without_paths(said(line['declared']))}{unit}",
        measured="–" if line["measured"] is None else f"{without_paths(said(line['measured']))}{unit}",
        verdict=line["verdict"],
        allowed=who,
        entry=citations.find("model.spec", revision=line["revision"]),
    )


def run_line(
    r: Run, gates: Sequence[GateRow], datasets: Mapping[UUID, Dataset], citations: Citations,
    evidence: Mapping[str, Any],
) -> doc.RunLine:  # fmt: skip
    """`evidence` is what `retrain.runs.change_document.evidence_of` gives of the run."""
    limits = limits_of(evidence)
    ids = (r.train_dataset_id, r.eval_dataset_id, r.holdout_dataset_id)
    used = [datasets[i] for i in ids if i is not None and i in datasets]
    return doc.RunLine(
        id=str(r.id),
        state=r.state,
        decision=str(r.decision_id),
        champion=r.champion_version,
        candidate=r.candidate_version,
        config=without_paths(r.config),
        config_digest=r.config_digest,
        datasets=tuple(dataset_line(d, citations) for d in used),
        metrics=without_paths(r.metrics),
        evaluation=without_paths(r.evaluation),
        gates=tuple(
            doc.GateLine(
                gate=g.gate,
                verdict=g.verdict,
                reason=without_paths(g.reason),
                entry=citations.find("gate.result", r.id, g.gate, last=True),
            )
            for g in gates
        ),
        inside=verdict_of(limits, r.state),
        limits=tuple(limit_line(line, citations) for line in limits if line["verdict"] != "no limit"),
        used=used_of(r),
        approvals=tuple(
            doc.ApprovalLine(
                actor=f"{a['owner']} (key {a['actor']})" if a.get("owner") else str(a.get("actor")),
                at=str(a.get("at")),
                reason=str(a.get("reason") or ""),
                entry=citations.find("run.approved", r.id),
            )
            for a in r.approvals
        ),
        attempts=r.attempts,
        # What a failed trainer printed may quote data; its reason stays on the run.
        error=without_paths(r.error) if r.state == "rejected" else None,
        created_at=r.created_at,
        finished_at=r.finished_at,
        started_entry=citations.find("run.started", r.id),
        promoted_entry=None
        if r.state != "promoted"
        else citations.find("version.promoted", version=r.candidate_version),
    )


def promotion_entry(v: ModelVersion, citations: Citations) -> int | None:
    """The entry that made a version champion last."""
    found = [citations.find(kind, version=v.version, last=True) for kind in ("version.promoted", "version.rolled_back")]
    return max((i for i in found if i is not None), default=None)


def version_line(v: ModelVersion, citations: Citations) -> doc.VersionLine:
    return doc.VersionLine(
        version=v.version,
        stage=v.stage,
        base_model=without_paths(v.base_model),
        base_digest=v.base_digest,
        adapter=v.adapter,
        signed=v.signature is not None,
        created_at=v.created_at,
        promoted_at=v.promoted_at,
        retired_at=v.retired_at,
        entry=citations.find("version.registered", version=v.version),
        promoted_entry=promotion_entry(v, citations),
    )
