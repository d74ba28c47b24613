"""Whose report it is, over which period, under which head of the ledger."""

from datetime import datetime

from reports.parts import ReportPart


class ReportPeriod(ReportPart):
    start: datetime
    end: datetime


class ModelIdentity(ReportPart):
    model: str
    task: str
    owner: str
    purpose: str
    risk: str
    spec_revision: int
    spec_digest: str
    spec_recorded_at: datetime
    spec_author: str
    spec_entry: int | None
    origin: str
    vkey: str
    champion: str | None
    champion_promoted_at: datetime | None


class CheckpointLine(ReportPart):
    """The signed head of the log the report was gathered under; `report.created` follows it."""

    origin: str
    size: int
    root: str
    at: datetime


class SpecLine(ReportPart):
    revision: int
    digest: str
    author: str
    recorded_at: datetime
    entry: int | None


class Definition(ReportPart):
    term: str
    meaning: str
    source: str


class Software(ReportPart):
    name: str
    version: str
