"""The printed form of a report: the same claims, short summaries of records, no text longer than a page.

report.json stays complete, and the ledger's digest covers it. The print says where a text was cut.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from reports.bounds import BOUNDS, chosen
from reports.document import AuditReport, DecisionLine, RunLine, SectionsReport
from reports.facts import runs
from reports.facts.fairness_chart import shown_rates
from reports.fairness import FairnessAnswer
from reports.render.glyphs import Shown
from reports.wording.phrases import brief_words, column_words, held_words, unit_words

MAX_GROUPS: Final = 40  # of one table of groups in print
LONGEST: Final = 700  # characters of one text in print
_CUT: Final = " […] (cut in print, whole in report.json)"
_MACHINE: Final = re.compile(r"(?:sha256:)?[0-9a-f]{32,64}|[0-9a-f-]{36}|\d{4}-\d\d-\d\dT\S+")
_WORD: Final = re.compile(r"\S{31,}")
_BREAK: Final = "\u200b"


def printable(report: AuditReport, fonts: Shown) -> dict[str, Any]:
    """What the template prints, as plain data: each list at the most lines of print, with `bounds` saying which."""
    data = report.model_dump(mode="json", exclude={"runs", "groups", "bounds", *BOUNDS})
    bounds = []
    for part, lines in _lists(report).items():
        bound = BOUNDS[part]
        shown = chosen(lines, bound.printed, bound.rank)
        if len(shown) < len(lines) or any(b.part == part for b in report.bounds):
            left = next((b for b in report.bounds if b.part == part), None)
            held, of = (len(lines), len(lines)) if left is None else (left.held, left.of)
            bounds.append({"part": part, "printed": len(shown), "held": held, "of": of, "rule": bound.rule})
        data[part] = [_run(x) if part == "runs" else x.model_dump(mode="json") for x in shown]
        if part == "decisions":
            data[part] = [_decision(line, x) for line, x in zip(data[part], shown, strict=True)]
    data["bounds"] = bounds
    if report.fair is not None:
        data["fair"] = _fair(report.fair)
    for line in (*data["visible"], *data["drift"]):
        line["unit"] = unit_words(line["column"], line["unit"])
        line["column"] = column_words(line["column"])
    whole = {"vkey": report.identity.vkey}
    shortened: dict[str, Any] = _shortened(data, fonts)
    shortened["identity"] |= whole  # of a fixed length, and readers need every character
    return shortened


def printable_sections(report: SectionsReport, fonts: Shown) -> dict[str, Any]:
    """What the template of sections prints; the lines that its tables were made of stay in report.json."""
    kept = ("windows", "kpi", "fairness", "groups", "alerts", "decisions", "fair")
    shortened: dict[str, Any] = _shortened(report.model_dump(mode="json", exclude=set(kept)), fonts)
    shortened["identity"] |= {"vkey": report.identity.vkey}  # of a fixed length, and readers need every character
    return shortened | {"verify": report.verify}


def _lists(report: AuditReport) -> dict[str, Sequence[Any]]:
    """The lists that are bounded; of groups and of parts of a model those of the newest window."""
    lists: dict[str, Sequence[Any]] = {part: getattr(report, part) for part in BOUNDS}
    newest = max((g.end for g in report.groups), default=None)
    lists["groups"] = [g for g in report.groups if g.end == newest]
    last = max((m.end for m in report.kpi if m.segment), default=None)
    lists["kpi"] = [m for m in report.kpi if not m.segment or m.end == last]
    return lists


def _decision(line: dict[str, Any], decision: DecisionLine) -> dict[str, Any]:
    line["reason"] = brief_words(decision.reason, decision.triggers)
    line["held"] = held_words(decision.triggers, decision.blocked_by)
    del line["triggers"], line["blocked_by"]
    return line


def _fair(fair: FairnessAnswer) -> dict[str, Any]:
    """The groups as tables of the rates that fit a page; report.json has every rate and every group."""
    data = fair.model_dump(mode="json", exclude={"groups", "disparities"})
    data["disparities"] = [d.model_dump(mode="json", exclude={"history"}) for d in fair.disparities]
    data["tables"] = []
    for by in dict.fromkeys(cell.by for cell in fair.groups):
        cells = [cell for cell in fair.groups if cell.by == by]
        largest = {id(cell) for cell in sorted(cells, key=lambda cell: -cell.n)[:MAX_GROUPS]}
        rates = shown_rates(cells)
        lines = [
            cell.model_dump(mode="json", exclude={"rates"})
            | {"rates": [r.model_dump(mode="json") for r in cell.rates if r.rate in rates]}
            for cell in cells
            if id(cell) in largest
        ]
        data["tables"].append({"by": by, "rates": list(rates), "lines": lines, "left": len(cells) - len(lines)})
    return data


def _run(run: RunLine) -> dict[str, Any]:
    line = run.model_dump(mode="json", exclude={"config", "metrics", "evaluation", "datasets"})
    line["configuration"] = runs.configuration(run.config, run.metrics)
    line["training"] = runs.training(run.metrics)
    line["evaluation"] = [asdict(c) for c in runs.evaluation(run.evaluation)]
    line["datasets"] = [
        {"digest": d.digest, "rows": d.rows, "entry": d.entry, **asdict(runs.source(d.role, d.provenance))}
        for d in run.datasets
    ]
    return line


def _shortened(value: Any, fonts: Shown) -> Any:
    if isinstance(value, str):
        return _text(value, fonts)
    if isinstance(value, dict):
        return {fonts.text(k): _shortened(v, fonts) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(v, fonts) for v in value]
    return value


def _text(text: str, fonts: Shown) -> str:
    if _MACHINE.fullmatch(text):
        return text
    text = fonts.text(text)
    cut = text if len(text) <= LONGEST else text[:LONGEST].rstrip() + _CUT
    return _WORD.sub(lambda m: _breakable(m[0]), cut)


def _breakable(word: str) -> str:
    """A long word with places to break at: after its own separators, else every 20 characters."""
    parts = re.findall(r"[^_./:,;-]{1,20}[_./:,;-]*|[_./:,;-]{1,20}", word)
    return _BREAK.join(parts)
