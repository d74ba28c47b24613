"""The audit report as a document: what is claimed, by which numbers, and which ledger entry holds each claim."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from core.canonical import canonical
from reports.fairness import FairnessAnswer
from reports.parts import ReportPart, Unmeasured

FORMAT = "assay-audit-report/1"
Answer = Literal["held", "not held", "not measured", "none"]


class ReportPeriod(ReportPart):
    start: datetime
    end: datetime


class ModelIdentity(ReportPart):
    model: str
    task: str
    owner: str
    purpose: str
    risk: str
    spec_revision: int
    spec_digest: str
    spec_recorded_at: datetime
    spec_author: str
    spec_entry: int | None
    origin: str
    vkey: str
    champion: str | None
    champion_promoted_at: datetime | None


class CheckpointLine(ReportPart):
    """The signed head of the log the report was gathered under; `report.created` follows it."""

    origin: str
    size: int
    root: str
    at: datetime


class VerdictLine(ReportPart):
    question: str
    answer: Answer
    finding: str
    section: str


class PlanLine(ReportPart):
    planned: str
    due: int | None
    done: int
    missed: int | None
    why: str
    own: bool = False  # missed through a fault of the service, and not for want of rows or outcomes


class SpecLine(ReportPart):
    revision: int
    digest: str
    author: str
    recorded_at: datetime
    entry: int | None


class BaselineLine(ReportPart):
    reason: str
    state: str
    rows: int | None
    start: datetime | None
    end: datetime | None
    digest: str | None
    entry: int | None
    notices: tuple[str, ...] = ()  # what moved within it, which rows it leaves out


class WindowLine(ReportPart):
    id: str
    scale: str
    number: int
    start: datetime
    end: datetime
    rows: int
    labels: int
    coverage: float | None
    versions: tuple[str, ...]
    verdict: str
    drift: str
    p: float | None
    alpha: float | None
    sentence: str
    events_version: int
    spec_revision: int
    entry: int | None  # the alert opened by this window
    corrections: int  # times the verdict was computed again for late rows
    corrected_at: datetime | None
    previous_verdict: str | None
    corrected_why: str | None


class MeasureLine(ReportPart):
    """One KPI or fairness value of one window."""

    metric: str
    column: str
    segment: str
    unit: str
    scale: str
    start: datetime
    end: datetime
    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    n: int
    labels: int
    rows: int
    limit: float | None
    limit_word: str
    alarm: bool
    not_judged: str | None  # why a value was not judged against its limit
    method: str
    window: str
    estimated: float | None  # before outcomes arrived, with its band
    estimated_low: float | None
    estimated_high: float | None
    estimate_held: bool | None  # whether the realised value lay in the band
    estimate_note: str | None  # how often the band covered the value; why there is no estimate, or why it is invalid
    agents: str | None  # which part of a model of models got worse first, and how much of the change it explains
    previous: float | None  # what the value was before late or changed outcomes corrected it
    corrected_at: datetime | None
    definition: str | None = None  # of a fairness metric: what was computed
    positive: str | None = None  # the class whose rates were compared
    class_assumed: bool = False  # whether nobody declared it
    between: str | None = None  # the groups behind a disparity


class GroupLine(ReportPart):
    metric: str
    column: str
    group: str
    window: str
    end: datetime
    n: int
    rate: str  # which rate; empty where none could be taken
    value: float | None
    reason: str | None
    low: float | None = None  # ends of its 95 % interval
    high: float | None = None


class ThresholdLine(ReportPart):
    monitor: str
    metric: str
    rule: str
    since: datetime
    revision: int
    entry: int | None


class DriftLine(ReportPart):
    window: str
    end: datetime
    column: str
    effect: str
    value: float
    unit: str
    adjusted_p: float


class VisibleLine(ReportPart):
    column: str
    smallest: float
    largest: float
    unit: str
    windows: int


class IncidentLine(ReportPart):
    """Alerts of one cause."""

    id: str
    headline: str
    severity: str
    state: str
    alerts: int  # of those in the report
    opened_at: datetime
    resolved_at: datetime | None


class SeriousLine(ReportPart):
    """A serious incident (AI Act, Article 73) as it stood when the report was built."""

    id: str
    incident: str
    kind: str
    aware_at: datetime
    deadline: datetime
    clock: str  # running, overdue, kept, late, closed without a report
    state: str
    reported_at: str | None  # first report
    complete: bool  # whether a complete report is recorded
    entry: int | None


class AlertLine(ReportPart):
    id: str
    severity: str = ""  # empty in reports of before
    incident: str = ""  # id
    monitor: str
    metric: str
    column: str
    value: float | None
    limit: float | None
    sentence: str
    windows: int
    episodes: int  # runs of consecutive alarms, each announced once
    withdrawn_windows: int  # that alarmed until late rows or outcomes corrected them
    withdrawn_at: datetime | None  # since when no window of it alarms any more
    state: str
    opened_at: datetime
    opened_entry: int | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledged_entry: int | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolved_entry: int | None
    confirmation: str
    why: str = ""  # what drove it, in a sentence; empty where nothing was looked for, and in reports of before


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


class ExplanationLine(ReportPart):
    """Residuals only: words and attributions are personal data and stay out of the report."""

    version: str
    digest: str
    additivity_residual: float
    created_at: datetime


class LedgerLine(ReportPart):
    index: int
    at: str
    kind: str
    actor: str
    subject: str


class ChangedRow(ReportPart):
    """A row that is not as the ledger bound it: changed, missing, or added outside Assay."""

    what: str
    row: str
    bound: str
    found: str


class BoundRows(ReportPart):
    """The rows of the installation against the ledger, when the report was gathered."""

    rows: int  # that the ledger knows, of all models
    unbound: int  # of those, from before binding began, held only to what they were then
    since: datetime | None  # when binding began
    changed: tuple[ChangedRow, ...]  # of this model, or of none; the first of `changes`
    changes: int
    entries: int | None = None  # of the ledger then, which the rows were held against; null in reports of before


class Definition(ReportPart):
    term: str
    meaning: str
    source: str


class Software(ReportPart):
    name: str
    version: str


class AuditReport(ReportPart):
    """Everything the PDF prints and more. Canonical JSON of it is what the ledger entry's digest is taken over."""

    format: str
    report_id: str
    kind: str
    regimes: tuple[str, ...]
    created_at: datetime
    requested_by: str
    period: ReportPeriod
    identity: ModelIdentity
    checkpoint: CheckpointLine | None
    health: str
    status: str
    verdicts: tuple[VerdictLine, ...]
    not_measured: tuple[Unmeasured, ...]
    false_alarm_budget: str
    thresholds: tuple[ThresholdLine, ...]
    plan: tuple[PlanLine, ...]
    specs: tuple[SpecLine, ...]
    baselines: tuple[BaselineLine, ...]
    windows: tuple[WindowLine, ...]
    drift: tuple[DriftLine, ...]
    visible: tuple[VisibleLine, ...]
    kpi: tuple[MeasureLine, ...]
    fairness: tuple[MeasureLine, ...]
    groups: tuple[GroupLine, ...]
    fair: FairnessAnswer | None = None  # null in reports of before
    incidents: tuple[IncidentLine, ...] = ()
    serious: tuple[SeriousLine, ...] = ()
    alerts: tuple[AlertLine, ...]
    decisions: tuple[DecisionLine, ...]
    runs: tuple[RunLine, ...]
    versions: tuple[VersionLine, ...]
    explanations: tuple[ExplanationLine, ...]
    ledger: tuple[LedgerLine, ...]
    bound: BoundRows | None = None  # null in reports of before
    definitions: tuple[Definition, ...]
    software: tuple[Software, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump())
