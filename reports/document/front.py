"""What the first page answers: what happened, who approved, was it fair, on which data, what people did."""

from collections.abc import Mapping
from datetime import datetime

from reports.parts import ReportPart


class LengthLine(ReportPart):
    """Windows of one length. Windows of one length never overlap, so its rows and labels are counted once."""

    scale: str
    windows: int
    rows: int
    labels: int
    alarmed: int


class ApprovedBy(ReportPart):
    """What one person said of a promotion: approved it, attested it, or allowed it outside a limit once."""

    did: str
    who: str
    at: str
    reason: str
    entry: int | None


class PromotionLine(ReportPart):
    """A version that was put into service, and who let it. `needed` is null where nobody recorded what was asked."""

    did: str  # promoted, rolled back to, placed as canary
    version: str
    previous: str | None
    at: str
    by: str
    reason: str
    run: str | None
    needed: int | None  # people whose approval was asked for
    asked: str  # what was asked for, and by what
    approved: tuple[ApprovedBy, ...]
    entry: int | None


class DeclaredData(ReportPart):
    """What was declared of data or a base model. A field is null where nobody declared it."""

    kind: str  # events, dataset, base_model
    name: str
    source: str | None
    licence: str | None
    consent: str | None
    collected_from: str | None
    collected_to: str | None
    rows: int | None
    entry: int | None  # of the declaration
    reason: str | None  # why nothing is declared


class LearnedSet(ReportPart):
    """A set of rows of a run: those it learned from, or was judged on."""

    role: str
    rows: int
    dropped: int
    dropped_for: Mapping[str, int]
    digest: str
    start: str | None  # times of the first and the last event
    end: str | None
    entry: int | None


class TrainedLine(ReportPart):
    """On which data a version was trained that answered in the period."""

    version: str
    stage: str | None
    since: datetime | None
    until: datetime | None
    base: DeclaredData | None
    sets: tuple[LearnedSet, ...]
    data: tuple[DeclaredData, ...]
    run: str | None
    erased: int  # erasures of rows that it had learned from
    reason: str | None  # why nothing is known
    entry: int | None


class DeedLine(ReportPart):
    """What somebody did, and why. `reason` is without what looks like personal data.

    `digest` is that of the whole text, with a key of the installation, where the ledger holds it instead of the text.
    """

    did: str
    about: str
    who: str
    at: str
    reason: str | None  # null where none is asked for
    digest: str | None
    entry: int | None


class WorstDisparity(ReportPart):
    """The disparity that lies worst against its limit, with the groups that are furthest apart."""

    metric: str
    by: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    limit: float | None
    limit_word: str
    verdict: str
    rate: str  # in which the groups lie apart
    groups: tuple[str, ...]  # each with its rate and rows


class FrontPage(ReportPart):
    """The facts of the first page. Of deeds at most some hundred are held: decisions before answers to alerts."""

    rows: int  # of the period, each counted once however many windows saw it
    labels: int
    lengths: tuple[LengthLine, ...]
    promotions: tuple[PromotionLine, ...]
    approval_words: str  # in a sentence, also where nobody was asked
    fair: str
    fair_sentence: str
    worst: WorstDisparity | None
    trained: tuple[TrainedLine, ...]
    deeds: tuple[DeedLine, ...]
    deeds_left: int  # answers to alerts that are not listed, the oldest
    verify: str  # the command
