"""Certificate of retention: the rules in force, what was removed when, the oldest rows that are kept, the holds."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy.orm import Session

from governance.ledger.read import ledger_entries
from governance.policy.holds import LegalHold, holds
from monitor.events.columns import KINDS
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import SpecRevision
from reports import document as doc
from reports import store
from reports.facts.said import SaidBy
from reports.kinds import kind_named
from reports.kinds.listings import table
from reports.kinds.made import base_of, fact, sections_report
from reports.parts import Unmeasured
from reports.tables import Report

KIND: Final = kind_named("retention")
TERMS: Final = ("ledger entry",)
REMOVED: Final = "lake.retention"


def certificate(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The document of a certificate over a period."""
    base = base_of(site, db, row)
    name, known = base.identity.model, max(row.period_to, row.created_at)
    removed = [
        e
        for e in ledger_entries(db, (REMOVED,), f"model:{name}")
        if row.period_from <= datetime.fromisoformat(e["at"]) <= row.period_to
    ]
    revisions = [r for r in store.spec_revisions(db, row.model_id) if r.created_at <= known]
    kept = [h for h in holds(db) if h.model == name and h.added_at <= known]
    standing = [h for h in kept if h.released_at is None or h.released_at > row.period_to]
    stored = _stored(site, name)
    rule = parse_spec(revisions[-1].document).retention if revisions else None
    rows = sum(int(e["body"]["rows"]) for e in removed)
    sections = (
        doc.ReportSection(title="Rules in force", tables=(_rules(revisions, row.period_to, base.specs),),
                          supply=("the law or contract that each rule follows",)),
        doc.ReportSection(title="What was removed, and when", tables=(table(
            "Days that were removed", "at time 0.9; table text 0.7; rule text 0.5; first day kept text 0.8; "
            "days count 0.5; rows count 0.6; files count 0.5; entry entry 0.4",
            ((e["at"], e["body"]["table"], e["body"]["retention"], e["body"]["first_day_kept"], len(e["body"]["dates"]),
              e["body"]["rows"], len(e["body"]["files"]), e["index"]) for e in removed),
            "Nothing was removed in the period."),)),
        doc.ReportSection(title="What is kept", text=(f"As found on {row.created_at:%Y-%m-%d %H:%M} UTC.",),
                          tables=(table("Rows by table", "table text 0.8; oldest day text 0.8; newest day text 0.8; "
                                  "days count 0.5; days without rows count 0.9; rows count 0.7", stored,
                                  "No row is stored."),)),
        doc.ReportSection(title="Legal holds", tables=(_holds(kept, SaidBy(site.keys.subject)),)),
    )  # fmt: skip
    sentence = (
        f"Rows of {name} are kept {'for ' + rule if rule else 'without an end: the spec declares no retention'}; "
        f"{rows:,} rows were removed in the period in {len(removed):,} steps; {len(standing):,} legal holds stand."
    )
    oldest = min((str(line[1]) for line in stored if line[1]), default=None)
    return sections_report(
        row, base, title=KIND.title, format=KIND.format, about="", sentence=sentence, status="ok",
        facts=(
            fact("Retention of rows", rule, reason="the spec declares none, so nothing is removed"),
            fact("Rows removed in the period", rows, type="count"),
            fact("Oldest day kept", oldest, reason="no row is stored"),
            fact("Legal holds that stand", len(standing), type="count"),
            fact("Retention of the ledger", "for ever: entries are never removed"),
        ),
        sections=sections, terms=TERMS,
        not_measured=() if rule else (
            Unmeasured(what="removal after an end", why="the spec declares no retention", count=None),),
    )  # fmt: skip


def _rules(revisions: Sequence[SpecRevision], until: datetime, lines: Sequence[doc.SpecLine]) -> doc.SectionTable:
    """Each revision that changed a rule, oldest first."""
    entries, told, rows = {line.revision: line.entry for line in lines}, None, []
    for revision in revisions:
        spec = parse_spec(revision.document)
        rule = (spec.retention, spec.history)
        if revision.created_at <= until and rule != told:
            rows.append((
                revision.created_at.isoformat(), revision.revision, spec.retention or "no end", str(spec.history),
                revision.author, entries.get(revision.revision),
            ))  # fmt: skip
            told = rule
    columns = (
        "since time 0.9; revision count 0.5; rows are kept text 0.8; replaced files are kept text 1.0; "
        "author text 0.9; entry entry 0.4"
    )
    return table("Rules", columns, rows, "No spec was in force.")


def _stored(site: Site, model: str) -> list[tuple[doc.Scalar, ...]]:
    """Oldest and newest day of each table, the days within that hold no row, and its rows."""
    found = list[tuple[doc.Scalar, ...]]()
    for kind in KINDS:
        snapshot = site.events.table(model, kind).snapshot()
        if snapshot.version < 0:
            continue
        days = sorted({f.day for f in snapshot.files if f.day is not None})
        rows = sum(f.rows for f in snapshot.files)
        if days:
            found.append((kind, str(days[0]), str(days[-1]), len(days), _gaps(days), rows))
    return found


def _gaps(days: Sequence[date]) -> int:
    return (days[-1] - days[0]).days + 1 - len(days)


def _holds(kept: Sequence[LegalHold], said: SaidBy) -> doc.SectionTable:
    words = said.words([h.reason for h in kept])
    rows = (
        (h.added_at.isoformat(), h.added_by, "one person's rows" if h.subject else "rows",
         f"{h.begin:%Y-%m-%d}" if h.begin else "the beginning", f"{h.end:%Y-%m-%d}" if h.end else "no end", reason,
         f"released {h.released_at:%Y-%m-%d} by {h.released_by}" if h.released_at else "in force", h.id)
        for h, reason in zip(kept, words, strict=True)
    )  # fmt: skip
    columns = (
        "since time 0.9; by text 0.8; of text 0.8; from text 0.7; to text 0.7; reason text 1.4; state text 1.0; "
        "entry entry 0.4"
    )
    return table("Holds", columns, rows, "No legal hold was ever added.")
