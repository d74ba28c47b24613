"""Fairness audit of a period: the table of Local Law 144, the measures of lending, groups, definitions, unknowns."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from monitor.site import Site
from reports import document as doc
from reports.fairness import FOUR_FIFTHS, DisparityLine, FairnessAnswer
from reports.kinds import kind_named
from reports.kinds.fairness_tables import bounds_table, disparities_table, group_tables, impact_listing
from reports.kinds.listings import measures_table, specs_table, table, trained_tables
from reports.kinds.made import NOT_A_VERDICT, base_of, fact, people_section, sections_report
from reports.tables import Report

KIND: Final = kind_named("fairness")
STATUS: Final = {"fair": "ok", "not fair": "alarm", "cannot say": "unknown"}
LENDING: Final = (
    "demographic_parity_ratio",
    "adverse_impact_ratio",
    "impact_ratio",
    "four_fifths",
    "standardised_mean_difference",
    "mean_prediction_difference",
)


def fairness_audit(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The document of a fairness audit."""
    base = base_of(site, db, row)
    fair = base.fair
    assert fair is not None
    assert base.front is not None
    sections = (
        doc.ReportSection(
            title="The answer, and how sure it is",
            text=(fair.sentence, *fair.sentences),
            tables=(disparities_table(fair), bounds_table(fair)),
        ),
        _law_144(fair),
        _lending(fair),
        doc.ReportSection(
            title="Groups",
            text=(f"Intervals are {100 * fair.level:g} %.",),
            tables=group_tables(fair) or (_none(fair),),
        ),
        doc.ReportSection(title="Definitions", tables=(_definitions(fair.disparities),)),
        doc.ReportSection(
            title="Window by window",
            tables=(
                measures_table(
                    "Disparities as they were judged then",
                    base.fairness,
                    "No window of the period was judged for fairness.",
                ),
            ),
        ),
        _unknown(fair),
        doc.ReportSection(
            title="Data and versions", tables=(*trained_tables(base.front.trained), specs_table(base.specs))
        ),
        people_section(base),
    )
    return sections_report(
        row,
        base,
        title=KIND.title,
        format=KIND.format,
        about="",
        sentence=fair.sentence,
        status=STATUS[fair.answer],
        facts=_facts(base, fair),
        sections=sections,
        not_measured=fair.not_measured,
        fair=fair,
        fairness=base.fairness,
        groups=base.groups,
    )


def _facts(base: doc.AuditReport, fair: FairnessAnswer) -> list[doc.Fact]:
    front = base.front
    assert front is not None
    worst, window = front.worst, f"{fair.start:%Y-%m-%d} to {fair.end:%Y-%m-%d}"
    found = [
        fact("Answer", fair.answer, type="mark"),
        fact("Rows with a prediction", fair.rows, type="count", window=window),
        fact("of these with an outcome", fair.labelled, type="count", window=window),
        fact("Windows added up", fair.windows, type="count", method="of one length, so no row is counted twice"),
    ]
    if worst is None:
        found.append(fact("Worst disparity", None, reason="none was measured"))
    else:
        found.append(
            fact(
                f"Worst: {worst.metric.replace('_', ' ')} by {worst.by}",
                worst.value,
                type="number",
                low=worst.low,
                high=worst.high,
                n=worst.n,
                window=window,
                method=f"{worst.verdict}; {worst.rate.replace('_', ' ')} {' and '.join(worst.groups)}"
                + ("" if worst.limit is None else f"; {worst.limit_word} {worst.limit:g}"),
            )
        )
    found.append(fact("Independent auditor", None, reason="people must supply the name and the signature"))
    return found


def _law_144(fair: FairnessAnswer) -> doc.ReportSection:
    """Source: 6 RCNY 5-301; New York City, Local Law 144 of 2021."""
    text = (
        "In the form of 6 RCNY 5-301. Each selection rate is divided by that of the most selected category; the "
        "scoring rate is the share above the median score of all. Intervals and the exact test are additions.",
        f"The line of {FOUR_FIFTHS:.2f} of 29 CFR 1607.4(D) is a line to look at: a ratio on either side of it says "
        "neither that a law is met nor that it is broken.",
        *(f"By {one.by}, {one.unknown:,} rows are left out because their category is unknown." for one in fair.impact),
    )
    tables = tuple(impact_listing(one) for one in fair.impact)
    if not tables:
        text = (*text, f"There is no table: {_why_none(fair)}.")
    return doc.ReportSection(
        title="Selection rates and impact ratios (New York City, Local Law 144)",
        text=text,
        tables=tables,
        supply=(
            "who the independent auditor is, and that person's signature",
            "the date on which the tool was first used, and where the summary is published",
            "the notice to candidates, and why a category under 2 % is left out, if one is",
        ),
    )


def _why_none(fair: FairnessAnswer) -> str:
    if not fair.groups:
        return "no group was counted in the period"
    return "no class is declared favourable" if fair.positive is None else "the task has no selection"


def _lending(fair: FairnessAnswer) -> doc.ReportSection:
    """Adverse impact ratio, standardised mean difference and the four-fifths line, beside the exact tests."""
    found = [d for d in fair.disparities if d.metric in LENDING or d.reference_line is not None]
    rows = (
        (
            d.metric.replace("_", " "),
            d.by,
            d.value,
            d.low,
            d.high,
            d.n,
            d.reference_line,
            d.reason
            or (
                "no line"
                if d.reference_line is None or d.value is None
                else "below the line"
                if d.value < d.reference_line
                else "not below the line"
            ),
        )
        for d in found
    )
    tests = (
        (one.by, li.group, li.selection_rate, li.n, li.impact_ratio, li.p, li.adjusted_p)
        for one in fair.impact
        for li in one.lines
    )
    return doc.ReportSection(
        title="Adverse impact and mean differences (lending)",
        text=("Kept available for state regimes and for Regulation B; the line of four fifths is no verdict.",),
        tables=(
            table(
                "Ratios and standardised differences",
                "measure text 1.5; by text 0.8; value number 0.5; low number 0.5; high number 0.5; "
                "n count 0.5; line number 0.5; note text 1.2",
                rows,
                "None was measured: a classifier with a favourable class, or a number with groups, has them.",
            ),
            table(
                "Exact test of each rate and the highest one",
                "by text 0.8; group text 1.2; rate number 0.6; n count 0.6; ratio number 0.6; "
                "p number 0.6; p, adjusted number 0.7",
                tests,
                "No rate was tested.",
            ),
        ),
    )


def _definitions(lines: Sequence[DisparityLine]) -> doc.SectionTable:
    seen = {d.metric: (d.metric.replace("_", " "), d.definition, d.method) for d in lines}
    return table(
        "What each disparity is",
        "disparity text 1.0; definition text 2.4; interval text 1.4",
        seen.values(),
        "No disparity is declared or shown.",
    )


def _none(fair: FairnessAnswer) -> doc.SectionTable:
    why = f"No group is printed: the values of {', '.join(fair.withheld)} are people's own." if fair.withheld else ""
    return table("Groups", "group text 1.0", (), why or "No group was counted in the period.")


def _unknown(fair: FairnessAnswer) -> doc.ReportSection:
    rows = ((m.what, m.count, m.why) for m in fair.not_measured)
    withheld = tuple(f"The groups of {name} are left out: its values are people's own." for name in fair.withheld)
    return doc.ReportSection(
        title="What was unknown or not measured",
        text=(*withheld, NOT_A_VERDICT),
        tables=(
            table(
                "Not measured",
                "what text 1.2; rows count 0.5; why text 2.4",
                rows,
                "Nothing that was declared is missing.",
            ),
        ),
    )
