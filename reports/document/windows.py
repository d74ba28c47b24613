"""Windows, references, and what was seen to change in them."""

from datetime import datetime

from reports.parts import ReportPart


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


class ExplanationLine(ReportPart):
    """Residuals only: words and attributions are personal data and stay out of the report."""

    version: str
    digest: str
    additivity_residual: float
    created_at: datetime
