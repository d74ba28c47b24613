"""A retrain of the story: its datasets, its run, what was evaluated and what the gates said."""

from datetime import datetime
from typing import Any
from uuid import UUID

from core.canonical import canonical, sha256, timestamp
from monitor.tables import Dataset
from retrain.tables import GateRow, Run, TriggerDecision
from tests.reports.story_teller import Teller


def _evaluated(rows: str, model: str, value: float, n: int) -> dict[str, Any]:
    return {"name": "accuracy", "rows": rows, "model": model, "value": value, "low": value - 0.02, "high": value + 0.02,
            "n": n, "unit": "share", "reason": None}  # fmt: skip


EVALUATION: dict[str, Any] = {
    "evaluations": [
        _evaluated("new", "champion", 0.741, 842),
        _evaluated("new", "challenger", 0.894, 842),
        _evaluated("old", "champion", 0.912, 2000),
        _evaluated("old", "challenger", 0.899, 2000),
    ],
    "differences": [
        {"name": "accuracy", "rows": "new", "value": 0.153, "low": 0.118, "high": 0.188, "n": 842},
        {"name": "accuracy", "rows": "old", "value": -0.013, "low": -0.021, "high": -0.005, "n": 2000},
    ],
    "config": {"output_dir": "/srv/assay/runs/1/evaluated"},
}


CONFIG: dict[str, Any] = {
    "base_dir": "/srv/assay/models/base-3m", "output_dir": "/srv/assay/runs/1/trained",
    "train": {"path": "/srv/assay/artifacts/tr", "sha256": sha256(b"train")},
    "labels": ["card lost", "transfer", "crypto"],
    "recipe": {
        "base_model": "/srv/assay/models/base-3m", "method": "qlora", "task": "sequence_classification", "r": 16,
        "lora_alpha": 32, "epochs": 5, "learning_rate": 0.001, "batch_size": 32, "seed": 7,
    },
    "threads": 2,
}  # fmt: skip
METRICS: dict[str, Any] = {
    "config": CONFIG, "loss": [2.0 / (1 + i / 40) for i in range(330)], "grad_norm": [1.0] * 330, "steps": 330,
    "train_seconds": 171.0, "peak_rss_bytes": 1411 * 2**20, "labels_new": ["crypto"], "rows_train": 4210,
    "device": "cpu", "threads": 2, "libraries": {"torch": "2.13.0", "peft": "0.21.2"},
    "quantisation": {"type": "nf4", "double": True}, "digests": {"base": sha256(b"base")},
}  # fmt: skip
GATES = (
    ("fairness", "equalized_odds_difference by age_band 0.061, limit 0.12, n = 842"),
    ("forgetting", "accuracy on the old hold-out 0.899 after 0.912, loss 0.013, limit 0.04, n = 2000"),
    ("integrity", "adapter has 24 tensors, all finite; logits change on 100 % of 64 rows"),
    ("no_regression", "accuracy 0.894 after 0.741 on the same 842 rows; interval of the gain 0.118 to 0.188"),
)


def run(t: Teller, decision: TriggerDecision, finished: datetime) -> Run:
    """Write a run that was promoted, with its datasets and its gates."""
    at, run_id = decision.at, t.id("run")
    subject = f"run:{run_id}"
    ids = {
        role: _dataset(t, role, rows, run_id, at) for role, rows in (("train", 4210), ("eval", 842), ("holdout", 2000))
    }
    row: Run = t.add(
        Run(
            id=run_id, model_id=t.model.id, decision_id=decision.id, spec_revision=2, state="promoted",
            champion_version="v1", candidate_version="v2", config=CONFIG, config_digest=sha256(canonical(CONFIG)),
            train_dataset_id=ids["train"], eval_dataset_id=ids["eval"], holdout_dataset_id=ids["holdout"],
            progress={"phase": "done", "step": 330, "steps": 330, "loss": 0.214}, metrics=METRICS,
            evaluation=EVALUATION, attempts=1, created_at=at, started_at=at, finished_at=finished,
            approvals=[{"actor": "m.ortiz", "at": timestamp(finished), "reason": "reviewed the gates"}],
        )
    )  # fmt: skip
    started = {"run": run_id, "decision": decision.id, "config": row.config_digest}
    t.log("run.started", "assay", at, started, subject)
    for gate, reason in GATES:
        t.add(GateRow(run_id=run_id, gate=gate, verdict="pass", reason=reason, evidence={}, at=finished))
        t.log("gate.result", "assay", finished, {"run": run_id, "gate": gate, "verdict": "pass"}, subject)
    t.log("run.approved", "m.ortiz", finished, {"run": run_id, "reason": "reviewed the gates"}, subject)
    return row


def _dataset(t: Teller, role: str, rows: int, run_id: UUID, at: datetime) -> UUID:
    digest = sha256(role.encode())
    provenance = {
        "sources": [
            {"table": "support-intents/events", "from_seq": 0, "to_seq": 11_000, "delta_version": 95},
            {"table": "support-intents/outcomes", "outcomes": 4600, "delta_version": 61},
        ],
        "filters": ["labelled"], "labels": {"card lost": rows - 400, "transfer": 300, "crypto": 100},
        "dropped": {"repeats a later text": 212}, "parents": [],
    }  # fmt: skip
    row: Dataset = t.add(
        Dataset(
            model_id=t.model.id, name=f"{role} 2026-03-12", role=role, digest=digest, rows=rows,
            provenance=provenance, run_id=run_id, created_at=at, created_by="assay",
        )
    )  # fmt: skip
    body = {"dataset": row.id, "digest": digest, "rows": rows, "role": role}
    t.log("dataset.registered", "assay", at, body, f"run:{run_id}")
    return row.id
