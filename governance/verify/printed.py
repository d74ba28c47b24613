"""Hold the figures that a report prints against the leaves that the ledger bound of them.

A bundle carries them in `ledger/rows.jsonl`: a line for each entry that bound a printed row, `{"entry": N, "leaves":
[...]}`, with every leaf of it in order. Leaves of rows that the report does not print are there as `# HASH`, those with
words of people or of rows as `# TABLE ID HASH`: the root still holds.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from governance.proof import merkle
from governance.verify.changes import compared_keys, fairness_before, hold_changes
from governance.verify.entries import canonical_object
from governance.verify.fair import counted_keys, hold_fairness
from governance.verify.findings import Finding
from governance.verify.rows import KINDS, ExpectedRows, Key, RowState, hash_of, shown

ROWS: Final = "ledger/rows.jsonl"
_TIMES: Final = frozenset({"start", "end", "at", "opened_at", "corrected_at", "withdrawn_at"})
_MEASURED: Final = {
    "value": "value", "low": "low", "high": "high", "reason": "reason", "unit": "unit", "limit": "limit",
    "alarm": "alarm", "n": "n", "start": "from_ts", "end": "to_ts", "estimated": "estimated",
    "estimated_low": "estimated_low", "estimated_high": "estimated_high", "estimate_held": "estimate_inside",
    "previous": "previous_value", "corrected_at": "corrected_at",
}  # fmt: skip
_DECIDED: Final = {
    name: name for name in ("at", "cause", "fired", "reason", "triggers", "blocked_by", "spec_revision")
}  # fmt: skip
_RAISED: Final = {
    name: name
    for name in (
        "severity", "monitor", "metric", "column", "value", "limit", "sentence", "windows", "withdrawn_windows",
        "withdrawn_at", "opened_at",
    )
}  # fmt: skip
_JUDGED: Final = {
    "scale": "scale", "number": "number", "start": "from_ts", "end": "to_ts", "rows": "rows", "labels": "labels",
    "versions": "versions", "verdict": "verdict", "sentence": "sentence", "events_version": "events_version",
    "spec_revision": "spec_revision", "corrections": "corrections", "corrected_at": "corrected_at",
}  # fmt: skip
# Part of the report, table, columns by field, and whether each line must have its leaves in the bundle.
_PARTS: Final = (
    ("kpi", "measurement", _MEASURED, True), ("fairness", "measurement", _MEASURED, True),
    ("decisions", "trigger_decision", _DECIDED, True), ("alerts", "alert", _RAISED, False),
    ("windows", "window", _JUDGED, False),
)  # fmt: skip


@dataclass
class Printed:
    """Lines of a report that were held against the ledger, and those whose leaves the bundle does not show."""

    held: int = 0
    unshown: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def words(self) -> str:
        said = f"{self.held:,} printed lines are as the ledger bound them"
        return f"{said}; of {self.unshown:,} the rows are not shown" if self.unshown else said


def printed_keys(report: Mapping[str, Any], rows: Mapping[Key, RowState]) -> set[Key]:
    """The rows that a report prints."""
    measured = _measured(rows)
    found = {_key(part, table, line, measured) for part, table, _, _ in _PARTS for line in report.get(part) or ()}
    before = fairness_before(report)
    counted = counted_keys(report, rows) | (counted_keys(before, rows) if before is not None else set())
    return {key for key in found if key is not None} | counted | compared_keys(report, measured)


def hold_printed(report: Mapping[str, Any], members: Mapping[str, bytes], entries: Sequence[bytes]) -> Printed:
    """Hold a report's lines against leaves, and the leaves against the roots in the entries of the log.

    Args:
        members: of the bundle, by path; `ledger/rows.jsonl` is one of them.
    """
    printed, expected, until = Printed(), ExpectedRows(), int(report["bound"]["entries"])
    last = -1
    for number, line in enumerate(members[ROWS].splitlines()):
        try:
            index, leaves = _read(line)
            entry = canonical_object(entries[index])[0] if last < index < min(until, len(entries)) else None
            if entry is None or entry.get("kind") not in KINDS:
                raise ValueError(f"entry {index} is not one that binds rows, or not in order")
            root = merkle.root([hash_of(leaf) for leaf in leaves]).hex()
            if (root, len(leaves)) != (entry["body"]["root"], entry["body"]["leaves"]):
                raise ValueError(f"entry {index} has the root {entry['body']['root']}, the leaves have {root}")
            for leaf in leaves:
                if leaf.count(" ") > 1:
                    expected.take(index, entry["kind"], leaf)
            last = index
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            printed.findings.append(
                Finding("rows.leaves", f"{ROWS} line {number + 1}", "leaves of an entry", str(error))
            )
    printed.findings += expected.findings
    measured = _measured(expected.rows)
    for part, table, columns, needed in _PARTS:
        for position, line in enumerate(report.get(part) or ()):
            where = f"report.json {part}[{position}]"
            key = _key(part, table, line, measured)
            state = expected.rows.get(key) if key is not None else None
            if state is None or state.withheld:
                printed.unshown += 1
                if needed:
                    printed.findings.append(
                        Finding("report.unbound", where, "a leaf in the ledger", "none for this line")
                    )
                continue
            printed.held += 1
            printed.findings += _differ(where, line, columns, state)
            if part == "fairness":
                printed.findings += _differ_in_details(where, line, state)
    _hold_groups(printed, report, expected, measured)
    held, found = hold_fairness(report, members, expected.rows)
    printed.held += held
    printed.unshown += 0 if held or found else len((report.get("fair") or {}).get("groups") or ())
    printed.findings += found
    held, found = hold_changes(report, measured, expected.rows)
    if (before := fairness_before(report)) is not None:
        found += hold_fairness(before, members, expected.rows)[1]
    printed.held += held
    printed.findings += found
    return printed


def _hold_groups(
    printed: Printed, report: Mapping[str, Any], expected: ExpectedRows, measured: Mapping[tuple[Any, ...], Key]
) -> None:
    """The groups of each window's fairness against what its measurement says of them."""
    for position, line in enumerate(report.get("groups") or ()):
        where = f"report.json groups[{position}]"
        key = measured.get((str(line["window"]), "fairness", str(line["metric"]), str(line["column"]), ""))
        if key is None:
            printed.findings.append(Finding("report.unbound", where, "a leaf in the ledger", "none for this line"))
            continue
        state = expected.rows[key]
        groups = {str(g.get("group")): g for g in (state.read().get("details") or {}).get("groups") or ()}
        group = groups.get(str(line["group"]), {})
        low, high = (group.get("intervals") or {}).get(line["rate"]) or (None, None)
        bound = {"n": group.get("n"), "value": (group.get("rates") or {}).get(line["rate"]), "low": low, "high": high}
        printed.held += 1
        for name, value in bound.items():
            if not _equal(value, line.get(name), time=False):
                expects = f"{line['group']} {name} {shown(value)} (entry {state.entry})"
                printed.findings.append(Finding("report.line", where, expects, f"{name} {shown(line.get(name))}"))


def _read(line: bytes) -> tuple[int, list[str]]:
    document = json.loads(line)
    index, leaves = document["entry"], document["leaves"]
    if type(index) is not int or not all(type(leaf) is str for leaf in leaves):
        raise ValueError("give entry, a number, and leaves, a list of text")
    return index, leaves


def _measured(rows: Mapping[Key, RowState]) -> dict[tuple[Any, ...], Key]:
    """Ids of measurements by what a report says of them."""
    found = {}
    for key, state in rows.items():
        if key[0] == "measurement" and not state.withheld:
            row = state.read()
            named = ("window_id", "monitor", "metric", "column", "segment")
            found[tuple(str(row.get(name)) for name in named)] = key
    return found


def _key(part: str, table: str, line: Mapping[str, Any], measured: Mapping[tuple[Any, ...], Key]) -> Key | None:
    if table != "measurement":
        return table, str(line.get("id"))
    return measured.get((str(line["window"]), part, str(line["metric"]), str(line["column"]), str(line["segment"])))


def _differ(where: str, line: Mapping[str, Any], columns: Mapping[str, str], state: RowState) -> Iterator[Finding]:
    row = state.read()
    for name, column in columns.items():
        bound, told = row.get(column), line.get(name)
        if not _equal(bound, told, name in _TIMES):
            expected = f"{name} {shown(bound)} (entry {state.entry})"
            yield Finding("report.line", where, expected, f"{name} {shown(told)}")


def _differ_in_details(where: str, line: Mapping[str, Any], state: RowState) -> Iterator[Finding]:
    """What a measurement of fairness says beside its value: what was computed, of which class, between which groups."""
    details = state.read().get("details") or {}
    bound = {
        "definition": details.get("definition"), "positive": details.get("positive"),
        "class_assumed": bool(details.get("class_assumed")),
        "between": " and ".join(details.get("between") or ()) or None,
    }  # fmt: skip
    for name, value in bound.items():
        if name in line and not _equal(value, line[name], time=False):
            expected = f"{name} {shown(value)} (entry {state.entry})"
            yield Finding("report.line", where, expected, f"{name} {shown(line[name])}")


def _equal(bound: Any, told: Any, time: bool) -> bool:
    if time and isinstance(bound, str) and isinstance(told, str):
        return datetime.fromisoformat(bound) == datetime.fromisoformat(told)
    if isinstance(bound, bool) or isinstance(told, bool):
        return bound is told
    if isinstance(bound, float) and (bound - bound != 0):  # infinite: a report prints none
        return told is None
    return bool(bound == told)
