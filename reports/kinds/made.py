"""The document of every kind but the audit report: sections, and the facts of the first page, over one base."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from monitor.site import Site
from reports import document as doc
from reports.bounds import bounded
from reports.facts.gather import gather
from reports.kinds.listings import deeds_table, promotions_table
from reports.parts import Unmeasured
from reports.tables import Report

NOT_A_VERDICT = "The figures are evidence for these questions; they do not state conformity with any law or standard."


def fact(name: str, value: doc.Scalar, **more: Any) -> doc.Fact:
    """A fact; one without a value says why."""
    if value is None and not more.get("reason"):
        more["reason"] = "not recorded"
    return doc.Fact(name=name, value=value, **more)


def sections_report(
    row: Report, base: doc.AuditReport, *, title: str, format: str, about: str, sentence: str,
    facts: Sequence[doc.Fact], sections: Sequence[doc.ReportSection], not_measured: Sequence[Unmeasured] = (),
    status: str = "ok", terms: Sequence[str] | None = None, **lines: Any,
) -> doc.SectionsReport:  # fmt: skip
    """
    Args:
        base: the audit report over the same time, which holds the facts.
        terms: that are defined in the appendix; None for all.
        lines: lines that the tables were made of, by their part of the document.
    """
    told = tuple(d for d in base.definitions if terms is None or d.term in terms)
    changed = base.bound is not None and base.bound.changes > 0
    return doc.SectionsReport(
        format=format, report_id=base.report_id, kind=row.kind, title=title, about=about, subject=row.subject or "",
        regimes=base.regimes, created_at=base.created_at, requested_by=base.requested_by, period=base.period,
        identity=base.identity, checkpoint=base.checkpoint, status=base.status if changed else status,
        sentence=base.health if changed else sentence, facts=tuple(facts), sections=tuple(sections),
        not_measured=tuple(not_measured), bound=base.bound, definitions=told, software=base.software,
        verify=base.front.verify if base.front is not None else "", **lines,
    )  # fmt: skip


def base_of(site: Site, db: Session, row: Report) -> doc.AuditReport:
    """The audit report over the time of a request, its lists bounded as in print."""
    return bounded(gather(site, db, row))


def people_section(base: doc.AuditReport, deeds: Sequence[doc.DeedLine] | None = None) -> doc.ReportSection:
    """Who approved, and what people did."""
    front = base.front
    assert front is not None  # every report that is gathered today has one
    return doc.ReportSection(
        title="Who approved, and what people did", text=(front.approval_words,),
        tables=(promotions_table(front.promotions), deeds_table(front.deeds if deeds is None else deeds)),
    )  # fmt: skip
