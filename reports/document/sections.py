"""A report of shared sections: facts and tables, each value with what makes it checkable."""

from datetime import datetime
from typing import Literal

from core.canonical import canonical
from reports.document.alerts import AlertLine
from reports.document.identity import CheckpointLine, Definition, ModelIdentity, ReportPeriod, Software
from reports.document.measures import GroupLine, MeasureLine
from reports.document.records import BoundRows
from reports.document.retraining import DecisionLine
from reports.document.windows import WindowLine
from reports.fairness import FairnessAnswer
from reports.parts import ReportPart, Unmeasured

Scalar = str | int | float | bool | None
ColumnType = Literal["text", "count", "number", "share", "time", "digest", "entry", "mark"]


class Fact(ReportPart):
    """One value. It is null with a `reason`, never left out."""

    name: str
    value: Scalar
    type: ColumnType = "text"
    unit: str = ""
    reason: str | None = None
    low: float | None = None  # ends of its 95 % interval
    high: float | None = None
    n: int | None = None
    method: str = ""
    window: str = ""
    version: str = ""
    digest: str | None = None
    entry: int | None = None


class TableColumn(ReportPart):
    name: str
    type: ColumnType = "text"
    width: float = 1.0  # relative


class SectionTable(ReportPart):
    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Scalar, ...], ...]
    empty: str  # what is said where there is no row
    left: int = 0  # further rows that are not listed
    rule: str = ""  # which rows are listed, where some are left


class ReportSection(ReportPart):
    title: str
    text: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    tables: tuple[SectionTable, ...] = ()
    supply: tuple[str, ...] = ()  # what only people can supply


class SectionsReport(ReportPart):
    """Every kind of report but the audit report. Canonical JSON of it is what the ledger entry's digest covers."""

    format: str
    report_id: str
    kind: str
    title: str
    about: str  # what the subject is, such as `run`; empty for a report on a period
    subject: str
    regimes: tuple[str, ...]
    created_at: datetime
    requested_by: str
    period: ReportPeriod
    identity: ModelIdentity
    checkpoint: CheckpointLine | None
    status: str
    sentence: str
    facts: tuple[Fact, ...]  # of the first page
    sections: tuple[ReportSection, ...]
    not_measured: tuple[Unmeasured, ...]
    verify: str  # the command
    fair: FairnessAnswer | None = None
    # Lines that the tables were made of, which `assay verify` holds against the ledger.
    windows: tuple[WindowLine, ...] = ()
    kpi: tuple[MeasureLine, ...] = ()
    fairness: tuple[MeasureLine, ...] = ()
    groups: tuple[GroupLine, ...] = ()
    alerts: tuple[AlertLine, ...] = ()
    decisions: tuple[DecisionLine, ...] = ()
    bound: BoundRows | None
    definitions: tuple[Definition, ...]
    software: tuple[Software, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump())
