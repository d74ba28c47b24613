"""The printed form of a report: the same claims, short summaries of records, no text longer than a page.

report.json stays complete, and the ledger's digest covers it. The print says where a text was cut.
"""

import re
from dataclasses import asdict
from typing import Any, Final

from reports.document import AuditReport, RunLine
from reports.facts import runs
from reports.wording.phrases import brief_words, column_words, held_words, unit_words

LONGEST: Final = 700  # characters of one text in print
_CUT: Final = " […] (cut in print, whole in report.json)"
_MACHINE: Final = re.compile(r"(?:sha256:)?[0-9a-f]{32,64}|[0-9a-f-]{36}|\d{4}-\d\d-\d\dT\S+")
_WORD: Final = re.compile(r"\S{31,}")
_BREAK: Final = "\u200b"


def printable(report: AuditReport) -> dict[str, Any]:
    """What the template prints, as plain data."""
    data = report.model_dump(mode="json", exclude={"runs", "groups"})
    newest = max((g.end for g in report.groups), default=None)
    data["groups"] = [g.model_dump(mode="json") for g in report.groups if g.end == newest]
    for line, decision in zip(data["decisions"], report.decisions, strict=True):
        line["reason"] = brief_words(decision.reason, decision.triggers)
        line["held"] = held_words(decision.triggers, decision.blocked_by)
        del line["triggers"], line["blocked_by"]
    for line in (*data["visible"], *data["drift"]):
        line["unit"] = unit_words(line["column"], line["unit"])
        line["column"] = column_words(line["column"])
    data["runs"] = [_run(r) for r in report.runs]
    whole = {"vkey": report.identity.vkey}
    shortened: dict[str, Any] = _shortened(data)
    shortened["identity"] |= whole  # of a fixed length, and readers need every character
    return shortened


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


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(v) for v in value]
    return value


def _text(text: str) -> str:
    if _MACHINE.fullmatch(text):
        return text
    cut = text if len(text) <= LONGEST else text[:LONGEST].rstrip() + _CUT
    return _WORD.sub(lambda m: _breakable(m[0]), cut)


def _breakable(word: str) -> str:
    """A long word with places to break at: after its own separators, else every 20 characters."""
    parts = re.findall(r"[^_./:,;-]{1,20}[_./:,;-]*|[_./:,;-]{1,20}", word)
    return _BREAK.join(parts)
