"""Each requirement of a regime beside the evidence that a report holds for it; no line says that something complies."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final, Literal

from reports.parts import ReportPart
from reports.regimes.evidence import EVIDENCE, MOST_ENTRIES, found_evidence
from reports.regimes.packs import RegimePack, Requirement, pack_of

PRESENT: Final = "evidence present"
ABSENT: Final = "not in this period"
PEOPLE: Final = "people must supply"
LATER: Final = "not yet applicable"
RequirementState = Literal["evidence present", "not in this period", "people must supply", "not yet applicable"]


class EvidenceLine(ReportPart):
    """One item of evidence: how many figures of the report it is, in which section, held by which ledger entries."""

    id: str
    words: str
    section: str
    figures: int
    entries: tuple[int, ...]  # the first of them
    more_entries: int


class RequirementLine(ReportPart):
    id: str
    ref: str
    title: str
    asks: str
    applicable_from: str | None  # a day; null where the regime names none
    state: RequirementState
    finding: str
    evidence: tuple[EvidenceLine, ...]
    people: str  # what only people can supply


class RegimeChangeLine(ReportPart):
    date: str
    note: str


class RegimeLines(ReportPart):
    """A pack against a report. `digest` is that of the pack, as `GET /api/v1/regimes` gives it."""

    id: str
    title: str
    version: str
    digest: str
    applicable_from: str | None
    scope: str
    basis: str
    changes: tuple[RegimeChangeLine, ...]
    requirements: tuple[RequirementLine, ...]


def regime_lines(document: Any, names: Sequence[str], start: datetime, end: datetime) -> tuple[RegimeLines, ...]:
    """The packs of these ids against a document and its period, half-open in UTC.

    Raises:
        UnknownRegimeError: there is no such pack.
    """
    return tuple(_pack_lines(document, pack_of(name), start, end) for name in names)


def _pack_lines(document: Any, pack: RegimePack, start: datetime, end: datetime) -> RegimeLines:
    return RegimeLines(
        id=pack.id, title=pack.title, version=pack.version, digest=pack.digest,
        applicable_from=_day(pack.applicable_from), scope=pack.scope, basis=pack.basis,
        changes=tuple(RegimeChangeLine(date=c.date.isoformat(), note=c.note) for c in pack.changes),
        requirements=tuple(_line(document, one, start, end) for one in pack.requirements),
    )  # fmt: skip


def _line(document: Any, one: Requirement, start: datetime, end: datetime) -> RequirementLine:
    evidence = tuple(_evidence(document, name) for name in one.evidence)
    state, finding = _state(one, evidence, start, end)
    return RequirementLine(
        id=one.id, ref=one.ref, title=one.title, asks=one.asks, applicable_from=_day(one.applicable_from),
        state=state, finding=finding, evidence=evidence, people=one.people,
    )  # fmt: skip


def _evidence(document: Any, name: str) -> EvidenceLine:
    found, item = found_evidence(document, name), EVIDENCE[name]
    return EvidenceLine(
        id=name, words=item.words, section=item.section, figures=found.figures, entries=found.entries[:MOST_ENTRIES],
        more_entries=max(0, len(found.entries) - MOST_ENTRIES),
    )  # fmt: skip


def _state(
    one: Requirement, evidence: Sequence[EvidenceLine], start: datetime, end: datetime
) -> tuple[RequirementState, str]:
    there = [item for item in evidence if item.figures]
    lacking = ", ".join(item.words for item in evidence if not item.figures)
    held = f"Evidence for {len(there)} of {len(evidence)} items." + (
        f" None in this period: {lacking}." * bool(lacking)
    )
    since = None if one.applicable_from is None else datetime.combine(one.applicable_from, time(), UTC)
    if since is not None and end <= since:
        return LATER, f"Applies from {one.applicable_from}, after this period." + (f" {held}" if there else "")
    within = f" Applies from {one.applicable_from}, within this period." if since is not None and start < since else ""
    if not evidence:
        return PEOPLE, f"Nothing that is measured here is evidence for it.{within}"
    if not there:
        return ABSENT, f"None in this period: {lacking}.{within}"
    return PRESENT, held + within


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
