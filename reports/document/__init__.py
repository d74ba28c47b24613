"""Reports as documents: what is claimed, by which numbers, and which ledger entry holds each claim."""

from reports.document.alerts import AlertLine, IncidentLine, SeriousLine
from reports.document.answers import Answer, PlanLine, ThresholdLine, VerdictLine
from reports.document.audit import FORMAT, AuditReport
from reports.document.changes import ChangeLine, ChangeSide, PeriodChanges, UsedValue, UsedWindow
from reports.document.front import (
    ApprovedBy,
    DeclaredData,
    DeedLine,
    FrontPage,
    LearnedSet,
    LengthLine,
    PromotionLine,
    TrainedLine,
    WorstDisparity,
)
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
from reports.document.sections import (
    ColumnType,
    Fact,
    ReportSection,
    Scalar,
    SectionsReport,
    SectionTable,
    TableColumn,
)
from reports.document.windows import BaselineLine, DriftLine, ExplanationLine, VisibleLine, WindowLine

EvidenceDocument = AuditReport | SectionsReport

__all__ = [
    "FORMAT",
    "AlertLine",
    "Answer",
    "ApprovalLine",
    "ApprovedBy",
    "AuditReport",
    "BaselineLine",
    "BoundLine",
    "BoundRows",
    "ChangeLine",
    "ChangeSide",
    "ChangedRow",
    "CheckpointLine",
    "ColumnType",
    "DatasetLine",
    "DecisionLine",
    "DeclaredData",
    "DeedLine",
    "Definition",
    "DriftLine",
    "EvidenceDocument",
    "ExplanationLine",
    "Fact",
    "FrontPage",
    "GateLine",
    "GroupLine",
    "IncidentLine",
    "LearnedSet",
    "LedgerLine",
    "LengthLine",
    "LimitLine",
    "MeasureLine",
    "ModelIdentity",
    "PeriodChanges",
    "PlanLine",
    "PromotionLine",
    "ReportPeriod",
    "ReportSection",
    "RunLine",
    "Scalar",
    "SectionTable",
    "SectionsReport",
    "SeriousLine",
    "Software",
    "SpecLine",
    "TableColumn",
    "ThresholdLine",
    "TrainedLine",
    "UsedValue",
    "UsedWindow",
    "VerdictLine",
    "VersionLine",
    "VisibleLine",
    "WindowLine",
    "WorstDisparity",
]
