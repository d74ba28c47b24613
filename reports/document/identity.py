"""Whose report it is, over which period, under which head of the ledger."""

from datetime import datetime

from reports.parts import ReportPart


class ReportPeriod(ReportPart):
    """Half-open, in UTC. The rest is empty in reports of before."""

    start: datetime
    end: datetime
    zone: str = "UTC"  # in which its days begin
    name: str = ""  # such as 2026-Q3
    words: str = ""  # for people, in the zone
    notes: tuple[str, ...] = ()  # what a reader should know about it: a change of the spec within it, an erasure


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
