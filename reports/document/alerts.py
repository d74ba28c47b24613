"""Incidents and alerts, and what people answered."""

from datetime import datetime

from reports.parts import ReportPart


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
