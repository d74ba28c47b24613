"""Trigger decisions, runs, gate results and model versions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed
from monitor.levels import level

RUN_STATES = (
    "queued", "curating", "training", "evaluating", "awaiting_approval", "promoted", "rejected", "failed",
)  # fmt: skip
STAGES = ("candidate", "champion", "challenger", "shadow", "canary", "retired", "rejected")
PURPOSES = ("train", "promote")  # make a new version, or judge one that exists again
GATE_VERDICTS = ("pass", "fail", "unknown", "not_applicable")


class TriggerDecision(Keyed, Bound, Base):
    """One consideration of the retrain policy, recorded whether it fired or not."""

    __tablename__ = "trigger_decision"
    __table_args__ = (
        Index("ix_trigger_decision_model_at", "model_id", "at"),
        Index("uq_trigger_decision_request", "model_id", "request_key", unique=True),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    spec_revision: Mapped[int]
    window_id: Mapped[UUID | None]
    cause: Mapped[str] = mapped_column(String(32))  # window | schedule | hours | manual | request
    fired: Mapped[bool]
    reason: Mapped[str]
    triggers: Mapped[list[Any]]  # [{name, fire, reason, evidence, focus?}]
    blocked_by: Mapped[list[Any]]  # [{name, reason}]
    request_key: Mapped[str | None] = mapped_column(String(255))  # the Idempotency-Key that asked for it
    request_digest: Mapped[str | None] = mapped_column(String(80))  # of what was asked with it
    at: Mapped[datetime]


class PolicyState(Keyed, Base):
    """What the next consideration of a model's policy needs to know of the earlier ones."""

    __tablename__ = "policy_state"
    __table_args__ = (UniqueConstraint("model_id"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    held: Mapped[dict[str, Any]]  # trigger -> condition -> {at, size}: what a run was started for, while it lasts
    ticks: Mapped[dict[str, Any]]  # schedule -> its last tick that was considered


class Run(Keyed, Bound, Base):
    unbound: ClassVar[Mapping[str, str]] = {
        "progress": "how far a process is, many times a minute",
    }

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(f"state in {RUN_STATES}", name="state"),
        Index("ix_run_model_created", "model_id", "created_at"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    decision_id: Mapped[UUID] = mapped_column(ForeignKey("trigger_decision.id"))
    spec_revision: Mapped[int]
    started_by: Mapped[str | None] = mapped_column(String(100))  # name of the key that asked; null: the policy
    purpose: Mapped[str] = mapped_column(String(16), default="train", server_default="train")
    to_stage: Mapped[str] = mapped_column(String(16), default="champion", server_default="champion")
    traffic_share: Mapped[float | None]  # of a canary
    state: Mapped[str] = mapped_column(String(32), default="queued")
    champion_version: Mapped[str] = mapped_column(String(64))
    candidate_version: Mapped[str | None] = mapped_column(String(64))
    config: Mapped[dict[str, Any] | None]  # retrain.train.config.RunConfig
    config_digest: Mapped[str | None] = mapped_column(String(80))
    train_dataset_id: Mapped[UUID | None]
    eval_dataset_id: Mapped[UUID | None]
    holdout_dataset_id: Mapped[UUID | None]
    progress: Mapped[dict[str, Any] | None]  # phase, step, steps, loss, eta_s, bytes; while it trains, series
    metrics: Mapped[dict[str, Any] | None]  # run.json of the trainer
    evaluation: Mapped[dict[str, Any] | None]  # champion and challenger on the same rows
    attempts: Mapped[int] = mapped_column(default=0)
    approvals: Mapped[list[Any]]  # [{actor, key, owner, at, reason, spec_revision, terms}]
    rules: Mapped[dict[str, Any] | None]  # under which the gates were judged: {terms, start, now}
    outside: Mapped[list[Any]] = mapped_column(default=list)  # limits that the run waits for a person to allow
    waits_at: Mapped[str | None] = mapped_column(String(32))  # the state in which it goes on once they are allowed
    exceptions: Mapped[list[Any]] = mapped_column(default=list)  # [{limit, declared, measured, granted, actor, at}]
    used: Mapped[dict[str, Any] | None]  # by process and by day: seconds, kWh, CO2e; what was granted of the budgets
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class GateRow(Keyed, Bound, Base):
    __tablename__ = "gate_result"
    __table_args__ = (
        UniqueConstraint("run_id", "gate"),
        CheckConstraint(f"verdict in {GATE_VERDICTS}", name="verdict"),
    )

    run_id: Mapped[UUID] = mapped_column(ForeignKey("run.id"))
    gate: Mapped[str] = mapped_column(String(32))
    verdict: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class ModelVersion(Keyed, Bound, Base):
    """A version of a model: base plus adapter. Exactly one per model may be champion."""

    __tablename__ = "model_version"
    __table_args__ = (
        UniqueConstraint("model_id", "version"),
        CheckConstraint(f"stage in {STAGES}", name="stage"),
        Index(
            "uq_model_version_champion", "model_id", unique=True,
            sqlite_where=text("stage = 'champion'"), postgresql_where=text("stage = 'champion'"),
        ),
    )  # fmt: skip

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    version: Mapped[str] = mapped_column(String(64))
    stage: Mapped[str] = mapped_column(String(16))
    base_model: Mapped[str]
    base_digest: Mapped[str] = mapped_column(String(80))
    adapter: Mapped[str | None] = mapped_column(String(80))  # folder artifact; null for the base itself
    labels: Mapped[list[Any] | None]
    traffic_share: Mapped[float | None]  # of a canary: share of requests that serving should send to it, 0..1
    run_id: Mapped[UUID | None]
    trained_on_erased: Mapped[list[Any]] = mapped_column(default=list)  # erasures of rows it had learned from
    signature: Mapped[str | None]  # signed note over the champion document, made at promotion
    created_at: Mapped[datetime]
    promoted_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]

    @property
    def answers(self) -> tuple[str, ...]:
        """Its labels as it answers them, which is as levels: those of an older version may be stored otherwise."""
        return tuple(dict.fromkeys(level(str(name)) or str(name) for name in self.labels or ()))


class ExplanationBatch(Keyed, Base):
    """Decisions that are explained together; what of them is explained stands in the table of explanations."""

    __tablename__ = "explanation_batch"
    __table_args__ = (CheckConstraint("state in ('queued', 'running', 'done', 'failed')", name="state"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    asked: Mapped[dict[str, Any]]  # from, to, sample, seed, event_ids, to_seq
    state: Mapped[str] = mapped_column(String(16))
    total: Mapped[int]
    explained: Mapped[int] = mapped_column(default=0)  # withheld ones too
    withheld: Mapped[int] = mapped_column(default=0)
    failed: Mapped[dict[str, Any]] = mapped_column(default=dict)  # by code of the error, how many
    error: Mapped[str | None]
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class FairnessFlip(Keyed, Bound, Base):
    """A flip test: how many answers of a version change when a term, or a value, of its inputs is swapped."""

    __tablename__ = "fairness_flip"
    __table_args__ = (Index("ix_fairness_flip_model_at", "model_id", "at"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    version: Mapped[str] = mapped_column(String(256))
    alert_id: Mapped[UUID | None] = mapped_column(ForeignKey("alert.id"))  # for which it was asked
    document: Mapped[dict[str, Any]]  # retrain.flips.flip_document; examples by the ids of events
    at: Mapped[datetime]


class ProvenanceDeclaration(Keyed, Bound, Base):
    """What a person declared about a registered dataset or a base model; it holds for one content."""

    __tablename__ = "provenance_declaration"
    __table_args__ = (
        CheckConstraint("kind in ('dataset', 'base_model')", name="kind"),
        Index("ix_provenance_declaration_model_entry", "model_id", "entry"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str]  # of the dataset, or of the base as a spec names it
    content: Mapped[str] = mapped_column(String(80))  # digest of the rows as registered, or of the base's files
    document: Mapped[dict[str, Any]]  # governance.provenance.declaration.Declaration
    digest: Mapped[str] = mapped_column(String(80))  # of the document
    entry: Mapped[int]  # index of its entry in the ledger; the last one about a content counts
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))


class DecisionReasons(Keyed, Bound, Base):
    """Reason codes of one decision under one spec revision, or why there are none. Once issued, they stay."""

    __tablename__ = "decision_reasons"
    __table_args__ = (
        UniqueConstraint("model_id", "event_id", "spec_revision"),
        CheckConstraint("state in ('issued', 'none', 'withheld')", name="state"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    event_id: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(256))  # that was explained
    spec_revision: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    table_version: Mapped[str] = mapped_column(String(64))
    artifact: Mapped[str] = mapped_column(String(80))  # monitor.reasons.record: personal data, outside the ledger
    created_at: Mapped[datetime]


class AttributionReference(Keyed, Bound, Base):
    """Attributions of rows of a population, without their inputs: what decisions and windows are compared with."""

    __tablename__ = "attribution_reference"
    __table_args__ = (UniqueConstraint("model_id", "key"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    key: Mapped[str] = mapped_column(String(80))  # digest of all that they follow from
    population: Mapped[str] = mapped_column(String(100))  # `reference`, or the name of a data set
    version: Mapped[str] = mapped_column(String(256))
    rows: Mapped[int]
    artifact: Mapped[str] = mapped_column(String(80))  # retrain.reasons.block
    created_at: Mapped[datetime]
