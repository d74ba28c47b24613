"""The evidence that a report may hold, by stable ids: the path of a field in its document, and where it is printed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_ENTRIES: Final = 5  # of the ledger that one item names; the others are counted


@dataclass(frozen=True, slots=True)
class Item:
    """What is evidence: in words, the section that prints it, and the field beside it that names a ledger entry."""

    words: str
    section: str
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class FoundEvidence:
    """How many figures of an item a report holds, and the entries of the ledger that hold them."""

    figures: int
    entries: tuple[int, ...]


_RUNS: Final = "Retraining"
_ALERTS: Final = "Alerts and answers"
_SUMMARY: Final = "Summary"
_PERIOD: Final = "The period over time"
_KPI: Final = "Task KPIs"
_FAIR: Final = "Fairness between groups"
EVIDENCE: Final[Mapping[str, Item]] = {
    "identity.model": Item("the name of the model", _SUMMARY, "spec_entry"),
    "identity.task": Item("the task", _SUMMARY, "spec_entry"),
    "identity.owner": Item("the owner", _SUMMARY, "spec_entry"),
    "identity.purpose": Item("the purpose", _SUMMARY, "spec_entry"),
    "identity.risk": Item("the risk tier", _SUMMARY, "spec_entry"),
    "identity.vkey": Item("the key that checks the proof", _SUMMARY),
    "verdicts.finding": Item("findings of the period", _SUMMARY),
    "not_measured.why": Item("what was not measured, and why", _SUMMARY),
    "checkpoint.root": Item("the signed head of the ledger", _SUMMARY),
    "bound.rows": Item("rows held against the ledger", _SUMMARY),
    "bound.since": Item("since when rows are bound", _SUMMARY),
    "bound.changes": Item("rows changed outside Assay", _SUMMARY),
    "plan.due": Item("checks that were planned", _PERIOD),
    "plan.done": Item("checks that were done", _PERIOD),
    "plan.missed": Item("checks that were missed", _PERIOD),
    "thresholds.since": Item("thresholds and since when they hold", _PERIOD, "entry"),
    "specs.digest": Item("versions of the spec", _PERIOD, "entry"),
    "specs.author": Item("who changed the spec", _PERIOD, "entry"),
    "baselines.digest": Item("reference data by digest", _PERIOD, "entry"),
    "windows.verdict": Item("verdicts of windows", _PERIOD, "entry"),
    "windows.rows": Item("events of windows", _PERIOD),
    "windows.versions": Item("versions that answered", _PERIOD),
    "windows.events_version": Item("versions of the table of events", _PERIOD),
    "windows.p": Item("drift tests", "Drift", "entry"),
    "drift.column": Item("columns named for drift", "Drift"),
    "drift.adjusted_p": Item("columns named for drift, with their p values", "Drift"),
    "visible.smallest": Item("the smallest shift that would have been seen", "Drift"),
    "kpi.value": Item("KPI values", _KPI),
    "kpi.low": Item("KPI values with an interval", _KPI),
    "kpi.estimated": Item("KPIs estimated before outcomes", _KPI),
    "kpi.estimate_held": Item("estimates held against outcomes", _KPI),
    "fairness.value": Item("disparities between groups", _FAIR),
    "groups.value": Item("rates of groups", _FAIR),
    "groups.n": Item("sizes of groups", _FAIR),
    "fair.groups": Item("groups over the whole period", _FAIR),
    "incidents.headline": Item("incidents", _ALERTS),
    "incidents.severity": Item("severities of incidents", _ALERTS),
    "incidents.resolved_at": Item("incidents that were resolved", _ALERTS),
    "serious.deadline": Item("serious incidents with their deadline", _ALERTS, "entry"),
    "serious.reported_at": Item("reports to authorities", _ALERTS, "entry"),
    "alerts.sentence": Item("alerts", _ALERTS, "opened_entry"),
    "alerts.severity": Item("severities of alerts", _ALERTS, "opened_entry"),
    "alerts.acknowledged_by": Item("who acknowledged alerts", _ALERTS, "acknowledged_entry"),
    "alerts.acknowledged_at": Item("when alerts were acknowledged", _ALERTS, "acknowledged_entry"),
    "alerts.resolved_by": Item("who resolved alerts", _ALERTS, "resolved_entry"),
    "alerts.resolved_at": Item("when alerts were resolved", _ALERTS, "resolved_entry"),
    "decisions.reason": Item("decisions to retrain or not", _RUNS, "entry"),
    "runs.config_digest": Item("configurations of training", _RUNS, "started_entry"),
    "runs.datasets.digest": Item("datasets by digest", _RUNS, "entry"),
    "runs.datasets.provenance": Item("where datasets came from", _RUNS, "entry"),
    "runs.gates.verdict": Item("gates, candidate against champion", _RUNS, "entry"),
    "runs.evaluation": Item("evaluations of candidates", _RUNS),
    "runs.limits.verdict": Item("limits of the change envelope", _RUNS, "entry"),
    "runs.inside": Item("whether runs stayed inside the envelope", _RUNS, "started_entry"),
    "runs.approvals.actor": Item("who approved", _RUNS, "entry"),
    "runs.used": Item("time and energy of training", _RUNS),
    "versions.base_model": Item("base models", "Versions", "entry"),
    "versions.base_digest": Item("base models by digest", "Versions", "entry"),
    "versions.signed": Item("signed versions", "Versions", "promoted_entry"),
    "versions.promoted_at": Item("promotions", "Versions", "promoted_entry"),
    "versions.retired_at": Item("versions taken out of service", "Versions", "entry"),
    "explanations.additivity_residual": Item("explanations with their residual", "Explanations"),
    "explanations.version": Item("versions that were explained", "Explanations"),
    "ledger.index": Item("entries of the ledger", "Ledger entries", "index"),
    "ledger.at": Item("times of entries of the ledger", "Ledger entries", "index"),
    "definitions.source": Item("methods with their sources", "Appendix: methods and definitions"),
    "software.version": Item("software by version", "Appendix: software"),
}  # fmt: skip


def found_evidence(document: Any, evidence: str) -> FoundEvidence:
    """What a document holds of an item.

    Args:
        document: a report, or its parts as plain data.
        evidence: an id of `EVIDENCE`. A false, empty or null value is no evidence; zero is.
    """
    beside = EVIDENCE[evidence].entry
    count, entries = 0, set[int]()
    for parent, value in _values(document, evidence.split(".")):
        if value is None or value is False or (not isinstance(value, int | float) and not value):
            continue
        count += len(value) if isinstance(value, tuple | list) else 1
        index = _part(parent, beside) if beside is not None else None
        if isinstance(index, int):
            entries.add(index)
    return FoundEvidence(count, tuple(sorted(entries)))


def _values(part: Any, path: list[str]) -> Iterator[tuple[Any, Any]]:
    """Each value at a path, with what holds it."""
    if part is None:
        return
    if isinstance(part, tuple | list):
        for one in part:
            yield from _values(one, path)
        return
    value = _part(part, path[0])
    if len(path) == 1:
        yield part, value
    else:
        yield from _values(value, path[1:])


def _part(of: Any, name: str) -> Any:
    return of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)
