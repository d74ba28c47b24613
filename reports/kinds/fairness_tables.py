"""Tables of groups, disparities and impact ratios."""

from collections.abc import Sequence
from typing import Final

from reports import document as doc
from reports.fairness import CellLine, FairnessAnswer, ImpactTable
from reports.kinds.listings import table

_RATES: Final = (
    "selection_rate", "accuracy", "true_positive_rate", "false_positive_rate", "mean_prediction", "mean_error",
    "refusal_rate", "answer_length",
)  # fmt: skip


def disparities_table(fair: FairnessAnswer) -> doc.SectionTable:
    rows = (
        (
            d.metric.replace("_", " "),
            d.by,
            d.value,
            d.low,
            d.high,
            d.n,
            d.limit,
            d.verdict + (f": {d.reason}" if d.reason else ""),
            ", ".join(
                f"{g.group} {'–' if g.value is None else format(g.value, '.3f')} (n = {g.n:,})" for g in d.groups
            ),
        )
        for d in fair.disparities
    )
    return table(
        "Disparities over the period",
        "disparity text 1.3; by text 0.8; value number 0.5; low number 0.5; high number 0.5; "
        "n count 0.5; limit number 0.5; verdict text 1.1; between text 1.6",
        rows,
        "None was measured.",
    )


def bounds_table(fair: FairnessAnswer) -> doc.SectionTable:
    """What a disparity may be, whichever groups the rows of unknown membership belong to."""
    rows = (
        (d.metric.replace("_", " "), d.by, d.value, d.unknown, d.possible_low, d.possible_high)
        for d in fair.disparities
        if d.possible_low is not None
    )
    return table(
        "Whichever groups the rows of unknown membership belong to",
        "disparity text 1.4; by text 0.9; value number 0.6; unknown count 0.6; "
        "at the least number 0.7; at the most number 0.7",
        rows,
        "The membership of every row is known.",
    )


def group_tables(fair: FairnessAnswer) -> tuple[doc.SectionTable, ...]:
    return tuple(
        _groups(by, [c for c in fair.groups if c.by == by]) for by in dict.fromkeys(cell.by for cell in fair.groups)
    )


def _groups(by: str, cells: Sequence[CellLine]) -> doc.SectionTable:
    rows = [
        (
            c.group + (" (under the minimum)" if c.small else ""),
            c.n,
            c.labelled,
            r.rate.replace("_", " "),
            r.value,
            r.low,
            r.high,
            r.n,
        )
        for c in sorted(cells, key=lambda c: -c.n)
        for r in c.rates
        if r.rate in _RATES
    ]
    return table(
        f"Groups by {by}",
        "group text 1.4; rows count 0.6; with outcome count 0.6; rate text 1.1; value number 0.5; "
        "low number 0.5; high number 0.5; n count 0.5",
        rows,
        "No group was counted.",
        rule="those of the most rows",
    )


def impact_listing(found: ImpactTable) -> doc.SectionTable:
    """One table in the form of 6 RCNY 5-301, with intervals and the exact test as further columns."""
    rows = (
        (
            li.group,
            li.n,
            li.selected,
            li.selection_rate,
            li.low,
            li.high,
            li.impact_ratio,
            li.scoring_rate,
            li.adjusted_p,
            li.reason or ("under 2 % of the rows" if li.small else ""),
        )
        for li in found.lines
    )
    return table(
        f"By {found.by}: selected means {found.positive}",
        "category text 1.2; applicants count 0.7; selected count 0.6; selection rate number 0.6; "
        "low number 0.5; high number 0.5; impact ratio number 0.6; scoring rate number 0.6; "
        "exact test p number 0.6; note text 1.1",
        rows,
        "No category was counted.",
    )
