"""Decisions, training data, runs and versions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reports.parts import ReportPart


class DecisionLine(ReportPart):
    id: str
    at: datetime
    cause: str
    fired: bool
    reason: str
    triggers: tuple[Mapping[str, Any], ...]
    blocked_by: tuple[Mapping[str, Any], ...]
    spec_revision: int
    entry: int | None


class DatasetLine(ReportPart):
    name: str
    role: str
    digest: str
    rows: int
    provenance: Mapping[str, Any]
    created_at: datetime
    created_by: str
    entry: int | None


class GateLine(ReportPart):
    gate: str
    verdict: str
    reason: str
    entry: int | None


class ApprovalLine(ReportPart):
    actor: str
    at: str
    reason: str
    entry: int | None


class LimitLine(ReportPart):
    """One limit of the envelope that a run was held to; `verdict` is inside, outside, exception, not measured."""

    revision: int
    limit: str
    declared: str
    measured: str
    verdict: str
    allowed: str  # who allowed an exception, and why
    entry: int | None  # of the revision that declares it


class RunLine(ReportPart):
    """Complete records; local paths keep only their last part. `config_digest` covers the unshortened record."""

    id: str
    state: str
    decision: str
    champion: str
    candidate: str | None
    config: Mapping[str, Any] | None
    config_digest: str | None
    datasets: tuple[DatasetLine, ...]
    metrics: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    gates: tuple[GateLine, ...]
    inside: str  # whether the run stayed within what was determined beforehand
    limits: tuple[LimitLine, ...]
    used: Mapping[str, Any] | None  # time, energy and CO2e, estimated
    approvals: tuple[ApprovalLine, ...]
    attempts: int
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    started_entry: int | None
    promoted_entry: int | None


class VersionLine(ReportPart):
    version: str
    stage: str
    base_model: str
    base_digest: str
    adapter: str | None
    signed: bool
    created_at: datetime
    promoted_at: datetime | None
    retired_at: datetime | None
    entry: int | None
    promoted_entry: int | None
