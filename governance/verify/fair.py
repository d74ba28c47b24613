"""Hold the fairness figures that a report prints against the counts that its windows stored.

A bundle carries the counts of each window as `fairness/WINDOW.counts`. The leaf of that row, which the ledger bound,
holds their digest; added up they give every group, its rows and its rates, and by the closed form of Wilson (1927) the
interval of each share. A group that is left out, or a rate that is not the counted one, is a finding. Where a protected
column has values of people instead of groups, the counts hold these values, and are in no bundle.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from core.canonical import sha256
from governance.verify.findings import Finding
from governance.verify.group_counts import Tally, WindowCounts
from governance.verify.rows import Key, RowState, shown

TABLE: Final = "fairness_counts"
PART: Final = "fair"
Z95: Final = 1.959963984540054
CLOSE: Final = 1e-9
Parts = Callable[[Tally], tuple[int, int]]  # rows that count, and rows in all
RATES: Final[Mapping[str, Parts]] = {
    "selection_rate": lambda t: (t.of((0, 1, 2), (1,)), t.of((0, 1, 2))),
    "base_rate": lambda t: (t.of((1,)), t.of((0, 1))),
    "accuracy": lambda t: (t.of((1,), (1,)) + t.of((0,), (0,)), t.of((0, 1))),
    "true_positive_rate": lambda t: (t.of((1,), (1,)), t.of((1,))),
    "false_negative_rate": lambda t: (t.of((1,), (0,)), t.of((1,))),
    "false_positive_rate": lambda t: (t.of((0,), (1,)), t.of((0,))),
    "true_negative_rate": lambda t: (t.of((0,), (0,)), t.of((0,))),
    "positive_predictive_value": lambda t: (t.of((1,), (1,)), t.of((0, 1), (1,))),
    "false_discovery_rate": lambda t: (t.of((0,), (1,)), t.of((0, 1), (1,))),
    "negative_predictive_value": lambda t: (t.of((0,), (0,)), t.of((0, 1), (0,))),
    "false_omission_rate": lambda t: (t.of((1,), (0,)), t.of((0, 1), (0,))),
}


# Rates that are means of a measure, or a share of the rows that have it.
MEANS: Final[Mapping[str, tuple[str, ...]]] = {
    "mean_score": ("score", "confidence"), "mean_prediction": ("predicted",), "mean_error": ("error",),
    "mean_absolute_error": ("absolute error",), "answer_length": ("length",),
}  # fmt: skip
SHARES: Final[Mapping[str, str]] = {"refusal_rate": "refused", "exact_match": "exact match"}
ANSWERED: Final[Mapping[str, tuple[str, str]]] = {  # by task: the measure that each answer, and each labelled one, has
    "regression": ("predicted", "error"), "generation": ("length", "exact match"),
}  # fmt: skip


def member_of(window: str) -> str:
    """The member of a bundle that carries the counts of a window."""
    return f"fairness/{window}.counts"


def counted_keys(report: Mapping[str, Any], rows: Mapping[Key, RowState]) -> set[Key]:
    """The rows whose counts a report adds up."""
    fair = report.get(PART) or {}
    windows = set() if fair.get("withheld") else set(fair.get("counted") or ())
    return {key for key, _ in _stored(rows) if _window(rows[key]) in windows}


def hold_fairness(
    report: Mapping[str, Any], members: Mapping[str, bytes], rows: Mapping[Key, RowState]
) -> tuple[int, list[Finding]]:
    """Lines of groups that were computed again, and what is otherwise than counted.

    Args:
        report: the document of the report.
        members: of the bundle, by path.
        rows: what the leaves in the bundle say of each row.
    """
    fair = report.get(PART)
    if not isinstance(fair, dict) or fair["withheld"]:
        return 0, []
    where, counts, findings = "report.json fair", WindowCounts(), list[Finding]()
    bound = {_window(state): state for _, state in _stored(rows)}
    for window in fair["counted"]:
        data, state = members.get(member_of(window)), bound.get(window)
        if data is None or state is None:
            lacking = "its counts" if data is None else "a leaf in the ledger"
            findings.append(Finding("report.unbound", f"{where} counted {window}", lacking, "none in the bundle"))
            continue
        if state.read().get("data") != sha256(data):
            told = f"{shown(state.read().get('counts'))} (entry {state.entry})"
            findings.append(Finding("report.line", member_of(window), told, sha256(data)))
            continue
        try:
            counts.add(data)
        except ValueError as error:
            findings.append(Finding("report.line", member_of(window), "counts of groups", str(error)))
    if findings:
        return 0, findings
    return len(fair["groups"]), list(_differ(fair, counts, str(report["identity"]["task"]), where))


def _stored(rows: Mapping[Key, RowState]) -> Iterator[tuple[Key, RowState]]:
    return ((key, state) for key, state in rows.items() if key[0] == TABLE and not state.withheld)


def _window(state: RowState) -> str:
    return str(state.read().get("window_id"))


def _differ(fair: Mapping[str, Any], counts: WindowCounts, task: str, where: str) -> Iterator[Finding]:
    computed = dict[str, dict[str, Tally]]()
    printed: dict[tuple[str, str], Mapping[str, Any]] = {}
    for position, line in enumerate(fair["groups"]):
        by, group, at = line["by"], line["group"], f"{where} groups[{position}]"
        if by not in computed:
            columns = counts.columns_of(by)
            computed[by] = counts.groups(columns, fair["positive"]) if columns else {}
        printed[by, group] = line
        tally = computed[by].pop(group, None)
        if tally is None:
            yield Finding("report.line", at, f"a group of {by} that was counted, once", group)
            continue
        yield from _line(line, tally, task, at)
    for by, left in computed.items():
        for group in left:
            yield Finding("report.line", where, f"group {group} of {by}", "no line for it")
    for name in counts.columns:
        if name not in computed and name not in fair["withheld"]:
            yield Finding("report.line", where, f"the groups of {name}", "none")
    whole = counts.groups(counts.columns, fair["positive"]).values()
    rows = sum(_sizes(tally, task)["n"] for tally in whole)
    if fair["rows"] != rows:
        yield Finding("report.line", where, f"rows {rows}", f"rows {fair['rows']}")
    yield from _between(fair, printed, where)
    yield from _impact(fair, printed, where)


def _sizes(tally: Tally, task: str) -> dict[str, int]:
    if task not in ANSWERED:
        return {"n": tally.of((0, 1, 2)), "labelled": tally.of((0, 1))}
    answered, labelled = ANSWERED[task]
    return {"n": tally.having(answered), "labelled": tally.having(labelled)}


def _line(line: Mapping[str, Any], tally: Tally, task: str, at: str) -> Iterator[Finding]:
    told = _sizes(tally, task)
    yield from (Finding("report.line", at, f"{k} {v}", f"{k} {line[k]}") for k, v in told.items() if line[k] != v)
    for rate in line["rates"]:
        if rate["rate"] in MEANS:
            yield from _mean(rate, tally, at)
        if rate["rate"] in SHARES:
            parts = tally.sums.get(SHARES[rate["rate"]], (0.0, 0.0, 0.0))
            hits, n = round(parts[1]), round(parts[0])
        elif rate["rate"] in RATES:
            hits, n = RATES[rate["rate"]](tally)
        else:
            continue
        low, high = wilson(hits, n) if n else (None, None)
        value = hits / n if n else None
        for name, expected in (("hits", hits if n or rate["hits"] is not None else None), ("n", n), ("value", value),
                               ("low", low), ("high", high)):  # fmt: skip
            if not close(expected, rate[name]):
                yield Finding("report.line", f"{at} {rate['rate']}", f"{name} {shown(expected)}",
                              f"{name} {shown(rate[name])}")  # fmt: skip


def _mean(rate: Mapping[str, Any], tally: Tally, at: str) -> Iterator[Finding]:
    name = next((name for name in MEANS[rate["rate"]] if name in tally.sums), "")
    n, total, _ = tally.sums.get(name, (0.0, 0.0, 0.0))
    value = total / n if n else None
    if rate["n"] != round(n) or not close(value, rate["value"], scale=abs(value or 0.0)):
        expected = f"value {shown(value)}, n {round(n)}"
        found = f"value {shown(rate['value'])}, n {rate['n']}"
        yield Finding("report.line", f"{at} {rate['rate']}", expected, found)


def _between(fair: Mapping[str, Any], printed: Mapping[Any, Mapping[str, Any]], where: str) -> Iterator[Finding]:
    """The groups named behind a disparity have the rates that their lines say; and make it, where it is theirs."""
    for position, line in enumerate(fair["disparities"]):
        at, values = f"{where} disparities[{position}]", list[float]()
        if line["positive"] != fair["positive"]:
            continue  # of another class than the groups are shown for
        for named in line["groups"]:
            cell = printed.get((line["by"], named["group"]))
            rates = {rate["rate"]: rate for rate in cell["rates"]} if cell is not None else {}
            known = rates.get(line["rate"])
            if known is None:
                continue
            if not close(known["value"], named["value"]) or known["n"] != named["n"]:
                expected = f"{named['group']} {shown(known['value'])}, n {known['n']}"
                yield Finding("report.line", at, expected, f"{shown(named['value'])}, n {named['n']}")
            values.append(named["value"])
        made = _made(str(line["metric"]), values) if len(values) == len(line["groups"]) == 2 else None
        if made is not None and not close(made, line["value"]):
            yield Finding("report.line", at, f"value {made}", f"value {shown(line['value'])}")


def _made(metric: str, values: list[float]) -> float | None:
    low, high = min(values), max(values)
    if metric.endswith("_difference"):
        return high - low
    return low / high if metric.endswith("_ratio") and high else None


def _impact(fair: Mapping[str, Any], printed: Mapping[Any, Mapping[str, Any]], where: str) -> Iterator[Finding]:
    for position, table in enumerate(fair["impact"]):
        for line in table["lines"]:
            cell = printed.get((table["by"], line["group"]))
            rates = {rate["rate"]: rate for rate in cell["rates"]} if cell is not None else {}
            known = rates.get("selection_rate")
            if known is None or table["positive"] != fair["positive"]:
                continue
            told = (line["n"], line["selected"], line["selection_rate"])
            if told[:2] != (known["n"], int(known["hits"] or 0)) or not close(known["value"], told[2]):
                expected = f"{line['group']} {known['n']}, {known['hits']}, {shown(known['value'])}"
                yield Finding("report.line", f"{where} impact[{position}]", expected, ", ".join(map(str, told)))
        within = [line for line in table["lines"] if not line["small"]]
        within = within if len(within) > 1 else table["lines"]
        best = max((line["selection_rate"] or 0.0 for line in within), default=0.0)
        for line in table["lines"]:
            made = line["selection_rate"] / best if best and line in within else None
            if not close(made, line["impact_ratio"]):
                expected = f"{line['group']} ratio {shown(made)}"
                yield Finding("report.line", f"{where} impact[{position}]", expected, shown(line["impact_ratio"]))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share, n at least 1 (Wilson, 1927)."""
    share, z = hits / n, Z95
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half) if hits else 0.0, min(1.0, middle + half) if hits < n else 1.0


def close(expected: float | None, told: Any, scale: float = 0.0) -> bool:
    if expected is None or told is None:
        return expected is told
    return (
        isinstance(told, int | float) and not isinstance(told, bool) and abs(told - expected) <= CLOSE * max(1.0, scale)
    )
