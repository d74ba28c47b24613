"""Was it fair over this period, for whom, and how sure: the answer as a document.

The page, the route, the command and the report print this one document. Every figure in it is computed from the counts
of the windows it names, which the ledger bound when the windows were recorded.
"""

from datetime import datetime
from typing import Final, Literal

from reports.parts import ReportPart, Unmeasured

Fair = Literal["fair", "not fair", "cannot say"]
Held = Literal["inside", "beyond", "cannot say", "no limit", "not measured"]
LEVEL: Final = 0.95  # of every interval
FOUR_FIFTHS: Final = 0.80  # a line to look at, of 29 CFR 1607.4(D); it says neither lawful nor unlawful


class RateLine(ReportPart):
    """One rate of one group: `hits` of `n` rows, with a 95 % interval.

    `value` is null with a `reason` where no row counts. `shrunk` is the rate drawn towards that of all rows, shown for
    cells below the minimum beside the raw value.
    """

    rate: str
    hits: int | None  # null of a mean
    n: int
    value: float | None
    low: float | None
    high: float | None
    shrunk: float | None
    reason: str | None


class CellLine(ReportPart):
    """One group: a value of a protected column, or of several (`by` names them, joined by ` and `)."""

    by: str
    group: str
    n: int  # rows with a prediction
    labelled: int  # of those, with an outcome
    small: bool  # below the declared minimum
    rates: tuple[RateLine, ...]


class NamedGroup(ReportPart):
    group: str
    n: int  # rows that the rate is a share of
    value: float | None


class HistoryLine(ReportPart):
    """The disparity in one window, as it was judged then."""

    window: str
    scale: str
    start: datetime
    end: datetime
    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    limit: float | None
    n: int
    alarm: bool
    not_judged: str | None


class DisparityLine(ReportPart):
    """One disparity over the whole period, with the groups behind it."""

    metric: str
    by: str
    definition: str
    positive: str | None
    assumed: bool  # whether the class was declared by nobody
    declared: bool  # whether the spec has a rule for it
    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    unit: str
    n: int
    limit: float | None
    limit_word: str
    verdict: Held
    rate: str  # in which the groups below lie apart; empty where none could be compared
    groups: tuple[NamedGroup, ...]  # the two that are furthest apart, the lower rate first
    method: str
    reference_line: float | None  # the 0.80 of the four-fifths rule, for a ratio; never a verdict
    possible_low: float | None  # whichever groups the rows of unknown membership belong to; null where all are known
    possible_high: float | None
    unknown: int  # rows of unknown membership
    windows: int  # judged in the period
    alarmed: int
    alerts: tuple[str, ...]
    history: tuple[HistoryLine, ...]


class ImpactLine(ReportPart):
    """One category of a table in the form of New York City's Local Law 144, 6 RCNY 5-301."""

    group: str
    n: int
    selected: int
    selection_rate: float | None
    low: float | None
    high: float | None
    impact_ratio: float | None  # to the most selected category; null with a reason
    reason: str | None
    p: float | None  # exact test of this rate and the highest one; null for the highest one
    adjusted_p: float | None  # for the number of categories
    scored: int | None  # rows above the median score of all; null without a score
    scoring_rate: float | None
    small: bool  # below 2 % of the rows; where two others are left, the ratio is taken without it


class ImpactTable(ReportPart):
    by: str
    positive: str
    unknown: int  # rows whose category is not known
    lines: tuple[ImpactLine, ...]


class FairnessAnswer(ReportPart):
    """The officer's question for one model and period. `sentences` follow `sentence`: for whom, how sure, what not."""

    model: str
    start: datetime
    end: datetime
    answer: Fair
    sentence: str
    sentences: tuple[str, ...]
    positive: str | None
    assumed: bool
    classes: tuple[str, ...]
    level: float
    min_cell: int | None
    depth: int
    windows: int
    counted: tuple[str, ...]  # the windows whose counts are added up, in order
    rows: int  # with a prediction
    labelled: int  # of those, with an outcome
    disparities: tuple[DisparityLine, ...]
    groups: tuple[CellLine, ...]
    impact: tuple[ImpactTable, ...]
    not_measured: tuple[Unmeasured, ...]
    withheld: tuple[str, ...]  # protected columns whose groups this caller may not read
