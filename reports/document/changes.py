"""What changed against the period before: both values, the difference, and why two values cannot be compared."""

from datetime import datetime

from reports.fairness import FairnessAnswer
from reports.parts import ReportPart


class UsedWindow(ReportPart):
    """A window whose rows are counted; windows of one length never overlap."""

    id: str
    rows: int


class UsedValue(ReportPart):
    """The value of a KPI in one window, as the ledger bound it."""

    window: str
    value: float
    low: float | None
    high: float | None
    n: int


class ChangeSide(ReportPart):
    """One period: the value over it, its 95 % interval, and what it was computed from."""

    value: float | None
    low: float | None
    high: float | None
    n: int  # rows that count; of alerts, runs and promotions, these
    windows: int
    limit: float | None
    values: tuple[UsedValue, ...] = ()  # of a KPI
    ids: tuple[str, ...] = ()  # of alerts, runs and promotions: the first of them


class ChangeLine(ReportPart):
    """One fact in both periods. `difference` is null where `why` says that the values are not comparable."""

    kind: str  # kpi, fairness, volume, alerts, runs, promotions
    what: str  # metric, in words
    metric: str
    column: str  # of fairness: the groups
    unit: str
    method: str
    now: ChangeSide
    before: ChangeSide
    difference: float | None
    low: float | None  # 95 % interval of the difference
    high: float | None
    why: str | None


class PeriodChanges(ReportPart):
    """A report's period against the one before: the quarter, month or year before, or the same length before."""

    start: datetime
    end: datetime
    words: str
    name: str
    scale: str | None  # length of the windows whose values are used; null where the periods share none
    windows: tuple[UsedWindow, ...]
    windows_before: tuple[UsedWindow, ...]
    lines: tuple[ChangeLine, ...]
    fair_before: FairnessAnswer | None  # without histories and tables
    why: str | None  # why there is nothing to compare
