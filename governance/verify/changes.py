"""Hold what a report says of the period before against the leaves that the ledger bound, and compute it again.

Of a KPI every window's value is held against its measurement; the mean weighted by rows, its interval, the difference
and its interval (MOVER; Zou and Donner, 2008) follow from them. A disparity must be the one of the answer about
fairness of its period, which `governance.verify.fair` computes from counts.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from governance.verify.fair import Z95, close
from governance.verify.findings import Finding
from governance.verify.rows import Key, RowState, shown

PART: Final = "changes"
WHERE: Final = "report.json changes"
MOST_IDS: Final = 200
Measured = Mapping[tuple[Any, ...], Key]


def compared_keys(report: Mapping[str, Any], measured: Measured) -> set[Key]:
    """The rows that a comparison was computed from: of windows, and of the KPIs in them."""
    changes = report.get(PART) or {}
    found = set[Key]()
    metrics = [str(line["metric"]) for line in changes.get("lines") or () if line["kind"] == "kpi"]
    for window in (*(changes.get("windows") or ()), *(changes.get("windows_before") or ())):
        found.add(("window", str(window["id"])))
        keys = (measured.get(_kpi(str(window["id"]), metric)) for metric in metrics)
        found |= {key for key in keys if key is not None}
    return found


def fairness_before(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer about fairness of the period before, as a report of its own; None where there is none."""
    fair = (report.get(PART) or {}).get("fair_before")
    return None if fair is None else {"fair": fair, "identity": report["identity"]}


def hold_changes(
    report: Mapping[str, Any], measured: Measured, rows: Mapping[Key, RowState]
) -> tuple[int, list[Finding]]:
    """Lines of the comparison that were computed again, and what is otherwise than computed."""
    changes = report.get(PART)
    if not isinstance(changes, dict):
        return 0, []
    findings = list(_windows(report, changes, rows))
    for position, line in enumerate(changes["lines"]):
        where = f"{WHERE} lines[{position}]"
        for side, windows in (("now", "windows"), ("before", "windows_before")):
            findings += _side(f"{where} {side}", line, line[side], changes[windows], measured, rows)
        if line["kind"] == "fairness":
            findings += _disparity(f"{where} now", line, line["now"], report.get("fair"))
            findings += _disparity(f"{where} before", line, line["before"], changes["fair_before"])
        findings += _difference(where, line)
    return len(changes["lines"]), findings


def _windows(report: Mapping[str, Any], changes: Mapping[str, Any], rows: Mapping[Key, RowState]) -> Iterator[Finding]:
    if changes["end"] != report["period"]["start"]:
        yield Finding("report.line", WHERE, f"end {report['period']['start']}", f"end {changes['end']}")
    for part in ("windows", "windows_before"):
        for position, window in enumerate(changes[part]):
            state = rows.get(("window", str(window["id"])))
            if state is None:
                yield Finding("report.unbound", f"{WHERE} {part}[{position}]", "a leaf in the ledger", "none for it")
            elif not state.withheld and state.read().get("rows") != window["rows"]:
                told = f"rows {state.read().get('rows')} (entry {state.entry})"
                yield Finding("report.line", f"{WHERE} {part}[{position}]", told, f"rows {window['rows']}")


def _side(
    where: str, line: Mapping[str, Any], side: Mapping[str, Any], windows: Sequence[Mapping[str, Any]],
    measured: Measured, rows: Mapping[Key, RowState],
) -> Iterator[Finding]:  # fmt: skip
    if line["kind"] == "kpi":
        yield from _values(where, line, side, windows, measured, rows)
        expected = _mean(side["values"])
        yield from _numbers(where, expected | {"n": sum(v["n"] for v in side["values"])}, side)
    elif line["kind"] == "volume":
        yield from _numbers(
            where, {"value": sum(w["rows"] for w in windows), "n": sum(w["rows"] for w in windows)}, side
        )
    elif line["kind"] != "fairness":
        yield from _numbers(where, {"value": side["n"]}, side)
        if len(side["ids"]) != min(side["n"], MOST_IDS):
            yield Finding("report.line", where, f"{side['n']} ids", f"{len(side['ids'])} ids")


def _values(
    where: str, line: Mapping[str, Any], side: Mapping[str, Any], windows: Sequence[Mapping[str, Any]],
    measured: Measured, rows: Mapping[Key, RowState],
) -> Iterator[Finding]:  # fmt: skip
    told = {str(value["window"]): value for value in side["values"]}
    for window in (str(one["id"]) for one in windows):
        key = measured.get(_kpi(window, str(line["metric"])))
        row = rows[key].read() if key is not None else {}
        value = told.pop(window, None)
        counts = row.get("value") is not None and (row.get("n") or 0) > 0
        if value is None and counts:
            yield Finding("report.line", where, f"the value of window {window}", "none")
        elif value is not None and not counts:
            yield Finding("report.unbound", f"{where} window {window}", "a leaf in the ledger", "none for it")
        elif value is not None:
            bound = {name: row.get(name) for name in ("value", "low", "high", "n")}
            yield from _numbers(f"{where} window {window}", bound, value)
    for window in told:
        yield Finding("report.line", where, "a window of its period", window)


def _mean(values: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    total = sum(v["n"] for v in values)
    if not total:
        return {"value": None, "low": None, "high": None}
    mean = math.fsum(v["value"] * v["n"] for v in values) / total
    if any(v["low"] is None or v["high"] is None for v in values):
        return {"value": mean, "low": None, "high": None}
    half = Z95 * math.sqrt(math.fsum(((v["high"] - v["low"]) / (2 * Z95) * v["n"] / total) ** 2 for v in values))
    return {"value": mean, "low": mean - half, "high": mean + half}


def _disparity(
    where: str, line: Mapping[str, Any], side: Mapping[str, Any], fair: Mapping[str, Any] | None
) -> Iterator[Finding]:
    found = next(
        (
            d
            for d in (fair or {}).get("disparities") or ()
            if (d["metric"], d["by"]) == (line["metric"], line["column"])
        ),
        {"value": None, "low": None, "high": None, "n": 0, "limit": None},
    )
    yield from _numbers(where, {name: found[name] for name in ("value", "low", "high", "n", "limit")}, side)


def _difference(where: str, line: Mapping[str, Any]) -> Iterator[Finding]:
    now, before = line["now"], line["before"]
    expected: dict[str, float | None] = {"difference": None, "low": None, "high": None}
    if line["why"] is None and now["value"] is not None and before["value"] is not None:
        difference = now["value"] - before["value"]
        expected["difference"] = difference
        if None not in (now["low"], now["high"], before["low"], before["high"]):
            down = math.hypot(now["value"] - now["low"], before["high"] - before["value"])
            up = math.hypot(now["high"] - now["value"], before["value"] - before["low"])
            expected |= {"low": difference - down, "high": difference + up}
    yield from _numbers(where, expected, line)


def _numbers(where: str, expected: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[Finding]:
    for name, value in expected.items():
        if not close(value, told.get(name), scale=abs(value or 0.0)):
            yield Finding("report.line", where, f"{name} {shown(value)}", f"{name} {shown(told.get(name))}")


def _kpi(window: str, metric: str) -> tuple[str, ...]:
    return window, "kpi", metric, "", ""
