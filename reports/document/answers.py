"""The questions of the first page with their answers, and what was planned and done."""

from datetime import datetime
from typing import Literal

from reports.parts import ReportPart

Answer = Literal["held", "not held", "not yet", "not measured", "none"]


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


class ThresholdLine(ReportPart):
    monitor: str
    metric: str
    rule: str
    since: datetime
    revision: int
    entry: int | None
