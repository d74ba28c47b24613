"""KPIs and fairness values of windows."""

from datetime import datetime

from reports.parts import ReportPart


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
