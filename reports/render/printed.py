"""The printed form of a report: the same claims, short summaries of records, no text longer than a page.

report.json stays complete, and the ledger's digest covers it. The print says where a text was cut.
"""

import re
from dataclasses import asdict
from typing import Any, Final

from reports.document import AuditReport, RunLine
from reports.facts import runs
from reports.facts.fairness_chart import shown_rates
from reports.fairness import FairnessAnswer
from reports.wording.phrases import brief_words, column_words, held_words, unit_words

MAX_GROUPS: Final = 40  # of one table of groups in print
LONGEST: Final = 700  # characters of one text in print
_CUT: Final = " […] (cut in print, whole in report.json)"
_MACHINE: Final = re.compile(r"(?:sha256:)?[0-9a-f]{32,64}|[0-9a-f-]{36}|\d{4}-\d\d-\d\dT\S+")
_WORD: Final = re.compile(r"\S{31,}")
_BREAK: Final = "\u200b"
# Characters for which the fonts that Typst brings have no glyph; PDF/A refuses a text with one. Whole blocks are listed
# as far as every character in them was seen to print.
_LACKING: Final = re.compile(
    "[^\t\n -~\xa0-\u0377\u037a-\u037f\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u0484\u0487-\u04ff"
    "\u0591-\u05c7\u05d0-\u05ea\u1e00-\u1f15\u2000-\u2040\u2044-\u2052\u2054-\u2064\u2070-\u2071\u2074-\u208e\u2090-\u209c\u20a0-\u20c0"
    "\u2100-\u211e\u2126-\u2151\u2153-\u2184\u2190-\u23ff\u2460-\u2606\u2609-\u262f]+"
)
_BEYOND_ASCII: Final = re.compile("[^\t\n -~]+")
MAX_NAMED: Final = 8  # characters of a run that are printed as their numbers; of a longer one only how many they are


def shown(text: str, *, plain: bool = False) -> str:
    """A text as the fonts of the print can show it: what they lack is named by its number, as in `[U+1F600]`.

    Args:
        plain: whether everything beyond ASCII is named so.
    """
    return (_BEYOND_ASCII if plain else _LACKING).sub(lambda found: _named(found[0]), text)


def _named(lacking: str) -> str:
    if len(lacking) > MAX_NAMED:
        return f"[{len(lacking)} characters that this print cannot show, whole in report.json]"
    return "".join(f"[U+{ord(c):04X}]" for c in lacking)


def printable(report: AuditReport, *, plain: bool = False) -> dict[str, Any]:
    """What the template prints, as plain data; `plain` as in `shown`."""
    data = report.model_dump(mode="json", exclude={"runs", "groups"})
    newest = max((g.end for g in report.groups), default=None)
    data["groups"] = [g.model_dump(mode="json") for g in report.groups if g.end == newest]
    if report.fair is not None:
        data["fair"] = _fair(report.fair)
    for line, decision in zip(data["decisions"], report.decisions, strict=True):
        line["reason"] = brief_words(decision.reason, decision.triggers)
        line["held"] = held_words(decision.triggers, decision.blocked_by)
        del line["triggers"], line["blocked_by"]
    for line in (*data["visible"], *data["drift"]):
        line["unit"] = unit_words(line["column"], line["unit"])
        line["column"] = column_words(line["column"])
    data["runs"] = [_run(r) for r in report.runs]
    whole = {"vkey": report.identity.vkey}
    shortened: dict[str, Any] = _shortened(data, plain)
    shortened["identity"] |= whole  # of a fixed length, and readers need every character
    return shortened


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


def _shortened(value: Any, plain: bool) -> Any:
    if isinstance(value, str):
        return _text(value, plain)
    if isinstance(value, dict):
        return {shown(k, plain=plain): _shortened(v, plain) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(v, plain) for v in value]
    return value


def _text(text: str, plain: bool) -> str:
    if _MACHINE.fullmatch(text):
        return text
    text = shown(text, plain=plain)
    cut = text if len(text) <= LONGEST else text[:LONGEST].rstrip() + _CUT
    return _WORD.sub(lambda m: _breakable(m[0]), cut)


def _breakable(word: str) -> str:
    """A long word with places to break at: after its own separators, else every 20 characters."""
    parts = re.findall(r"[^_./:,;-]{1,20}[_./:,;-]*|[_./:,;-]{1,20}", word)
    return _BREAK.join(parts)
