"""Entries of the ledger, and rows held against it."""

from datetime import datetime

from reports.parts import ReportPart


class LedgerLine(ReportPart):
    index: int
    at: str
    kind: str
    actor: str
    subject: str


class ChangedRow(ReportPart):
    """A row that is not as the ledger bound it: changed, missing, or added outside Assay."""

    what: str
    row: str
    bound: str
    found: str


class BoundRows(ReportPart):
    """The rows of the installation against the ledger, when the report was gathered."""

    rows: int  # that the ledger knows, of all models
    unbound: int  # of those, from before binding began, held only to what they were then
    since: datetime | None  # when binding began
    changed: tuple[ChangedRow, ...]  # of this model, or of none; the first of `changes`
    changes: int
    entries: int | None = None  # of the ledger then, which the rows were held against; null in reports of before


class BoundLine(ReportPart):
    """A list of which the document holds only some lines (`reports.bounds`)."""

    part: str
    held: int
    of: int
    rule: str  # which lines are held, in words
    digest: str  # of the whole list, line by line
