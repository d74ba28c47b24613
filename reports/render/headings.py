"""What a person reads above each list of a document, in HTML: the CSV keeps the names of the JSON."""

from collections.abc import Mapping
from typing import Any, Final

HEADINGS: Final[Mapping[str, str]] = {
    "report": "About this report",
    "facts": "The facts",
    "verdicts": "Questions and answers",
    "not_measured": "What was not measured",
    "front.lengths": "Windows by length",
    "front.promotions": "Versions put into service, and who approved",
    "front.promotions.approved": "Approvals of these versions",
    "front.trained": "On which data each version was trained",
    "front.trained.sets": "Sets of rows of each version",
    "front.trained.data": "What was declared of the data of each version",
    "front.deeds": "What people did, and why",
    "bound.changed": "Rows changed outside Assay",
    "thresholds": "Thresholds in force, and since when",
    "plan": "Plan against execution",
    "specs": "Revisions of the spec",
    "baselines": "References",
    "windows": "Windows",
    "drift": "Columns that drifted",
    "visible": "Smallest change that would have shown, by column",
    "kpi": "KPIs, window by window",
    "fairness": "Disparities, window by window",
    "groups": "Groups, window by window",
    "fair.disparities": "Disparities over the period",
    "fair.disparities.groups": "Groups behind each disparity",
    "fair.disparities.history": "Disparities as each window was judged",
    "fair.groups": "Groups over the period",
    "fair.groups.rates": "Rates of each group over the period",
    "fair.impact": "Selection rates and impact ratios",
    "fair.impact.lines": "Impact ratio of each group",
    "fair.not_measured": "What was not measured about fairness",
    "incidents": "Incidents",
    "serious": "Serious incidents and their deadlines",
    "alerts": "Alerts",
    "decisions": "Trigger decisions",
    "decisions.triggers": "What each trigger said",
    "decisions.blocked_by": "What held decisions back",
    "runs": "Retrain runs",
    "runs.datasets": "Sets of rows of each run",
    "runs.gates": "Gates of each run",
    "runs.limits": "Limits of each run, determined beforehand",
    "runs.approvals": "Approvals of each run",
    "versions": "Versions",
    "explanations": "Explanations of single answers",
    "regime_packs": "Regimes",
    "regime_packs.changes": "Changes of each regime",
    "regime_packs.requirements": "Requirements of each regime",
    "regime_packs.requirements.evidence": "Evidence for each requirement",
    "changes.lines": "Against the period before",
    "changes.windows": "Windows of this period in the comparison",
    "changes.windows_before": "Windows of the period before",
    "changes.fair_before.disparities": "Disparities over the period before",
    "ledger": "Entries of the ledger",
    "definitions": "Definitions",
    "software": "Software",
}


def heading(part: str, otherwise: str) -> str:
    """The heading of a list by its place in the document; a table of a section has one of its own."""
    return HEADINGS.get(part, otherwise)


def first_page(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the first page of an audit report says in sentences, by its questions; of other kinds, how to verify."""
    front = document.get("front")
    if front is None:
        return [("How to verify", document["verify"])] if document.get("verify") else []
    alerts = document["alerts"]
    still_open = sum(alert["state"] == "open" for alert in alerts)
    windows = "; ".join(
        f"{one['windows']:,} window{'' if one['windows'] == 1 else 's'} of {one['scale']}, {one['alarmed']:,} alarmed"
        for one in front["lengths"]
    )
    happened = (
        f"{windows or 'No window ended in the period'}. {front['rows']:,} rows, {front['labels']:,} with an outcome, "
        f"each counted once. Alerts: {len(alerts):,}, still open: {still_open:,}."
    )
    missing = len(document["not_measured"])
    return [
        ("What happened", happened),
        ("Who approved", front["approval_words"]),
        ("Was it fair, and for whom", front["fair_sentence"]),
        ("What was not measured", f"Things that were not: {missing:,}, each with its reason below." if missing else
         "Everything that the spec declares was measured."),
        ("How to verify", front["verify"]),
    ]  # fmt: skip
