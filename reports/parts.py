"""The base of everything that a report, or an answer over a period, states."""

from pydantic import BaseModel, ConfigDict


class ReportPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Unmeasured(ReportPart):
    what: str
    why: str
    count: int | None
