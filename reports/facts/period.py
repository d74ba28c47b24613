"""The period of a report: its days in its time zone, and what a reader should know about it."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from governance import erasure
from monitor.tables import Model, SpecRevision, Window
from reports import document as doc
from reports.periods import period_name, period_words
from reports.tables import Report


def period_line(
    db: Session, report: Report, model: Model, revisions: Sequence[SpecRevision], windows: Sequence[Window]
) -> doc.ReportPeriod:
    """
    Args:
        revisions: of the spec, in force in the period, oldest first.
        windows: that end in the period.
    """
    since, until, zone = report.period_from, report.period_to, report.zone or "UTC"
    notes = (
        *_ahead(until, report.created_at), *_nothing(windows), *_revised(revisions, since), *_erased(db, model, report),
        *_made_up(report),
    )  # fmt: skip
    return doc.ReportPeriod(
        start=since, end=until, zone=zone, name=period_name(since, until, zone),
        words=period_words(since, until, zone), notes=notes,
    )  # fmt: skip


def _ahead(until: datetime, asked: datetime) -> Iterator[str]:
    if until > asked:
        yield f"The period had not ended when the report was asked for, on {asked:%Y-%m-%d %H:%M} UTC."


def _nothing(windows: Sequence[Window]) -> Iterator[str]:
    if not windows:
        yield "No window ended in this period, so nothing was judged in it."


def _revised(revisions: Sequence[SpecRevision], since: datetime) -> Iterator[str]:
    """Changes of the spec within the period: what it declares holds from then on, never before."""
    within = [r for r in revisions[1:] if r.created_at > since]
    if within:
        told = ", ".join(f"revision {r.revision} on {r.created_at:%Y-%m-%d %H:%M}" for r in within[-5:])
        more = f" and {len(within) - 5} before them" if len(within) > 5 else ""
        yield f"The spec changed within the period: {told} UTC{more}. Each window is judged by the one in force then."


def _erased(db: Session, model: Model, report: Report) -> Iterator[str]:
    """Erasures since the period began: rows they removed are in no figure that was computed after them."""
    found = [e for e in erasure.completed_since(db, report.period_from) if model.name in e.models]
    known = [e for e in found if e.completed_at is not None and e.completed_at <= report.created_at]
    if known:
        count = "1 person" if len(known) == 1 else f"{len(known):,} people"
        yield (
            f"Rows of {count} were erased since the period began, the last time on "
            f"{max(e.completed_at for e in known if e.completed_at):%Y-%m-%d %H:%M} UTC. Figures of windows that were "
            "judged before keep the counts they had; events cannot be counted again."
        )


def _made_up(report: Report) -> Iterator[str]:
    if report.missed:
        ticks = "1 tick" if report.missed == 1 else f"{report.missed:,} ticks"
        yield f"This report makes up for {ticks} that its schedule missed while no scheduler ran."
