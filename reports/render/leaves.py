"""The leaves of the rows that a report prints, for the bundle: `governance.verify.printed` says what they are."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.canonical import canonical
from governance.binding.entries import binding_entries
from governance.verify.fair import member_of
from governance.verify.printed import printed_keys
from governance.verify.rows import KINDS, WITHHELD, ExpectedRows, Key, hash_of, unpack
from monitor.tables import FairnessCounts
from reports.facts.bound import UNPRINTED

AT_ONCE: Final = 500  # variables of one statement
_WHOLE = ("measurement", "trigger_decision", "fairness_counts")  # everything that a report prints anyway


def printed_leaves(db: Session, report: Mapping[str, Any]) -> bytes:
    """The member of the bundle.

    Args:
        report: the report's document as JSON; `bound.entries` says how many entries it was gathered under.
    """
    until = int(report["bound"]["entries"])
    expected = ExpectedRows()
    for index, entry, leaves in _entries(db, until):
        for leaf in leaves:
            if _wanted(leaf):
                expected.take(index, entry["kind"], leaf)
    keys = printed_keys(report, expected.rows)
    del expected
    lines = []
    for index, _, leaves in _entries(db, until):
        shown = [_shown(leaf, keys) for leaf in leaves]
        if any(leaf.count(" ") > 1 for leaf in shown):
            lines.append(canonical({"entry": index, "leaves": shown}) + b"\n")
    return b"".join(lines)


def _entries(db: Session, until: int) -> Iterator[tuple[int, dict[str, Any], list[str]]]:
    """The entries that bind rows, up to where the report was gathered, with their leaves."""
    for index, line, _, packed in binding_entries(db, KINDS):
        if packed is not None and index < until:
            yield index, json.loads(line), unpack(packed)


def _wanted(leaf: str) -> bool:
    """Whether a leaf may be of a row that a report prints: most measurements are of columns, and none prints those."""
    op, table, _, values = leaf.split(" ", 3)
    if table != "measurement" or op not in ("+", "="):
        return True
    return '"monitor":"kpi"' in values or '"monitor":"fairness"' in values


def counts_members(db: Session, report: Mapping[str, Any]) -> dict[str, bytes]:
    """The stored counts that the answers about fairness add up, as members of the bundle."""
    answers = [answer for answer in (report.get("fair"), (report.get("changes") or {}).get("fair_before")) if answer]
    if any(answer["withheld"] for answer in answers):
        return {}  # counts of a column that is no category hold values of people
    windows = list(dict.fromkeys(UUID(window) for answer in answers for window in answer["counted"]))
    found = dict[str, bytes]()
    for at in range(0, len(windows), AT_ONCE):
        query = select(FairnessCounts.window_id, FairnessCounts.data)
        rows = db.execute(query.where(FairnessCounts.window_id.in_(windows[at : at + AT_ONCE])))
        found |= {member_of(str(window)): data for window, data in rows}
    return found


def _shown(leaf: str, keys: set[Key]) -> str:
    op, table, ident, values = leaf.split(" ", 3)
    if (table, ident) not in keys:
        return f"{WITHHELD} {hash_of(leaf).hex()}"
    if op == WITHHELD or table in _WHOLE or not _told(json.loads(values)):
        return leaf
    return f"{WITHHELD} {table} {ident} {hash_of(leaf).hex()}"


def _told(values: Any) -> bool:
    """Whether a leaf tells more than a report may: words of people, or a level or word of a column."""
    if isinstance(values, list):
        return any(map(_told, values))
    if not isinstance(values, dict):
        return False
    return any(
        (name in UNPRINTED and _filled(value)) or (name == "detail" and isinstance(value, str)) or _told(value)
        for name, value in values.items()
        if name != "reason"  # of a verdict or a value, which is printed
    )


def _filled(value: Any) -> bool:
    """Whether a column holds something, before or after a change."""
    return any(map(_filled, value)) if isinstance(value, list) else value not in (None, "", {})
