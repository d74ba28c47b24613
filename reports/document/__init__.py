"""Reports as documents: what is claimed, by which numbers, and which ledger entry holds each claim."""

from reports.document.alerts import AlertLine, IncidentLine, SeriousLine
from reports.document.answers import Answer, PlanLine, ThresholdLine, VerdictLine
from reports.document.audit import FORMAT, AuditReport
from reports.document.identity import CheckpointLine, Definition, ModelIdentity, ReportPeriod, Software, SpecLine
from reports.document.measures import GroupLine, MeasureLine
from reports.document.records import BoundLine, BoundRows, ChangedRow, LedgerLine
from reports.document.retraining import (
    ApprovalLine,
    DatasetLine,
    DecisionLine,
    GateLine,
    LimitLine,
    RunLine,
    VersionLine,
)
from reports.document.windows import BaselineLine, DriftLine, ExplanationLine, VisibleLine, WindowLine

__all__ = [
    "FORMAT",
    "AlertLine",
    "Answer",
    "ApprovalLine",
    "AuditReport",
    "BaselineLine",
    "BoundLine",
    "BoundRows",
    "ChangedRow",
    "CheckpointLine",
    "DatasetLine",
    "DecisionLine",
    "Definition",
    "DriftLine",
    "ExplanationLine",
    "GateLine",
    "GroupLine",
    "IncidentLine",
    "LedgerLine",
    "LimitLine",
    "MeasureLine",
    "ModelIdentity",
    "PlanLine",
    "ReportPeriod",
    "RunLine",
    "SeriousLine",
    "Software",
    "SpecLine",
    "ThresholdLine",
    "VerdictLine",
    "VersionLine",
    "VisibleLine",
    "WindowLine",
]
