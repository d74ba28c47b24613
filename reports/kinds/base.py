"""What a kind of report is: its name, what it is about, and who gathers its document."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from monitor.site import Site
from monitor.tables import Model
from reports.document import EvidenceDocument
from reports.tables import Report


@dataclass(frozen=True, slots=True)
class About:
    """The one thing that a report is about, as it is stored, and the time that it covers."""

    subject: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of report.

    Attributes:
        title: what the first page is headed with.
        says: what it says, in a sentence.
        format: version of its document.
        about: what its subject is, such as `run`; empty for a report on a period.
        find: reads a subject of a model; None for a report on a period. It raises ReportSubjectError.
        members: further files of the bundle.
        gather: makes the document of a requested report; an equal database gives an equal document.
    """

    name: str
    title: str
    says: str
    format: str
    gather: Callable[[Site, Session, Report], EvidenceDocument]
    about: str = ""
    find: Callable[[Site, Session, Model, str | None], About] | None = None
    members: Callable[[Site, Session, Report], dict[str, bytes]] | None = None
