"""The audit report as a document: what is claimed, by which numbers, and which ledger entry holds each claim."""

from datetime import datetime
from typing import Final

from core.canonical import canonical
from reports.document.alerts import AlertLine, IncidentLine, SeriousLine
from reports.document.answers import PlanLine, ThresholdLine, VerdictLine
from reports.document.changes import PeriodChanges
from reports.document.front import FrontPage
from reports.document.identity import CheckpointLine, Definition, ModelIdentity, ReportPeriod, Software, SpecLine
from reports.document.measures import GroupLine, MeasureLine
from reports.document.records import BoundLine, BoundRows, LedgerLine
from reports.document.retraining import DecisionLine, RunLine, VersionLine
from reports.document.windows import BaselineLine, DriftLine, ExplanationLine, VisibleLine, WindowLine
from reports.fairness import FairnessAnswer
from reports.parts import ReportPart, Unmeasured
from reports.regimes.lines import RegimeLines

FORMAT: Final = "assay-audit-report/1"


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
    front: FrontPage | None = None  # null in reports of before
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
    bounds: tuple[BoundLine, ...] = ()  # of lists that were too long to hold whole
    bound: BoundRows | None = None  # null in reports of before
    definitions: tuple[Definition, ...]
    software: tuple[Software, ...]
    changes: PeriodChanges | None = None  # against the period before; null in reports of before
    regime_packs: tuple[RegimeLines, ...] = ()  # requirement by requirement, where the evidence for it is

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump())
