"""How many lines of each list a document holds, and how many of those its faces print, whatever the traffic was.

A list that is longer keeps the lines a reader needs most, by a stated rule, in their own order. `bounds` of the
document says how many there were and which digest the whole list has, so that a rebuilt list can be held against it.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reports.document import AuditReport, BoundLine

Rank = Callable[[Any], tuple[Any, ...]]  # of a line; the highest are kept


@dataclass(frozen=True, slots=True)
class Bound:
    """Of one list: the most lines in report.json, the most in print, the order of keeping and its words."""

    held: int
    printed: int
    rank: Rank
    rule: str


def _newest(name: str, *first: str) -> Rank:
    """Lines with any of `first` set come first, then the newest."""

    def rank(line: Any) -> tuple[Any, ...]:
        at = getattr(line, name)
        return (any(getattr(line, one) for one in first), at is not None, at if at is not None else "")

    return rank


def _window(line: Any) -> tuple[Any, ...]:
    return (line.verdict == "alarm", line.end)


def _of_whole(line: Any) -> tuple[Any, ...]:
    return (not line.segment, line.alarm, line.end)


def _standing(line: Any) -> tuple[Any, ...]:
    return (line.resolved_at is None, line.opened_at)


NEWEST: Final = "the newest"
BOUNDS: Final[dict[str, Bound]] = {
    "windows": Bound(1000, 60, _window, "the alarms first, then the newest"),
    "kpi": Bound(1500, 150, _of_whole, "those of the whole before those of its parts, alarms first, then the newest"),
    "fairness": Bound(1000, 150, _newest("end", "alarm"), "the alarms first, then the newest"),
    "groups": Bound(1000, 100, _newest("end"), NEWEST),
    "drift": Bound(1000, 60, _newest("end"), NEWEST),
    "visible": Bound(1000, 60, lambda v: (v.largest,), "the columns that hid the largest changes"),
    "alerts": Bound(400, 40, _standing, "the unresolved first, then the newest"),
    "incidents": Bound(400, 40, _standing, "the unresolved first, then the newest"),
    "serious": Bound(200, 40, lambda s: (s.reported_at is None, s.aware_at), "the untold first, then the newest"),
    "decisions": Bound(400, 40, _newest("at", "fired"), "those that fired first, then the newest"),
    "runs": Bound(40, 8, _newest("created_at", "promoted_entry"), "the promoted first, then the newest"),
    "versions": Bound(200, 40, _newest("created_at"), NEWEST),
    "explanations": Bound(400, 30, _newest("created_at"), NEWEST),
    "thresholds": Bound(500, 60, _newest("since"), "the last changed"),
    "specs": Bound(200, 30, _newest("recorded_at"), NEWEST),
    "baselines": Bound(200, 30, _newest("start"), NEWEST),
    "ledger": Bound(1000, 60, lambda e: (e.index,), NEWEST),
}  # fmt: skip


def chosen(lines: Sequence[Any], most: int, rank: Rank) -> list[Any]:
    """The highest-ranked lines, in the order they had."""
    if len(lines) <= most:
        return list(lines)
    order = sorted(range(len(lines)), key=lambda i: (rank(lines[i]), i), reverse=True)
    return [lines[i] for i in sorted(order[:most])]


def digest_of(lines: Iterable[Any]) -> str:
    """Digest of a whole list: SHA-256 over the JSON of each line, fields in their order, with a newline after each."""
    running = hashlib.sha256()
    for line in lines:
        running.update(line.model_dump_json().encode() + b"\n")
    return "sha256:" + running.hexdigest()


def bounded(document: AuditReport) -> AuditReport:
    """The document with each list at its most; unchanged where every list fits."""
    changes: dict[str, Any] = {}
    lines = []
    for part, bound in BOUNDS.items():
        whole = getattr(document, part)
        if len(whole) > bound.held:
            changes[part] = tuple(chosen(whole, bound.held, bound.rank))
            lines.append(BoundLine(part=part, held=bound.held, of=len(whole), rule=bound.rule, digest=digest_of(whole)))
    return document.model_copy(update={**changes, "bounds": tuple(lines)}) if lines else document
