"""What is told about one alert, with everything that its message needs, as it was when it was announced."""

from typing import Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from monitor.tables import SEVERITIES

Occasion = Literal["opened", "again", "worse", "released", "resolved", "withdrawn", "test", "report"]
SEVERITY_RANK: Final = {name: rank for rank, name in enumerate(SEVERITIES)}


class ReportFile(BaseModel):
    """One file of a report: its name says model and period."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    media_type: str
    digest: str
    bytes: int


class ReportNotice(BaseModel):
    """A report that is sent to a channel."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    kind: str
    period: str  # in words, with the time zone
    name: str  # of the period, such as 2026-Q3
    files: tuple[ReportFile, ...]
    by: str  # who asked for the delivery


class Announcement(BaseModel):
    """One item of a message.

    Attributes:
        thread: what it is about; items of one thread are grouped.
        occasion: why it is told now.
        model: its name; None for what concerns the installation itself.
        since: when it began, in the time of the events.
        sentence: of the alert.
        consequence: what it costs, such as `accuracy is estimated at 0.70, limit 0.85`; empty if nothing is known.
        context: what else happened then, such as `version v2 was deployed 2 h before`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # another release may have written it

    thread: str
    occasion: Occasion
    severity: Literal["info", "warning", "critical"]
    at: AwareDatetime
    sentence: str
    model: str | None = None
    model_id: UUID | None = None
    owner: str = ""
    alert_id: UUID | None = None
    incident_id: UUID | None = None
    window_id: UUID | None = None
    monitor: str = ""
    metric: str = ""
    column: str = ""
    value: float | None = None
    limit: float | None = None
    since: AwareDatetime | None = None
    consequence: str = ""
    context: tuple[str, ...] = ()
    runbook: str | None = None
    report: ReportNotice | None = None  # of the occasion `report` alone


def most_severe(*severities: str) -> str:
    """The highest of at least one severity."""
    return max(severities, key=SEVERITY_RANK.__getitem__)
