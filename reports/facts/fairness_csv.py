"""The answer to the officer's question as one CSV: a line for each rate of a group, each disparity and impact ratio."""

import csv
import io
from typing import Any, Final

from reports.fairness import FairnessAnswer

COLUMNS: Final = (
    "line", "model", "from", "to", "by", "group", "name", "positive", "class_assumed", "value", "low", "high", "shrunk",
    "hits", "n", "limit", "verdict", "reason", "definition",
)  # fmt: skip
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def fairness_csv(fair: FairnessAnswer) -> str:
    """Null is an empty cell. No text begins as a formula does: an apostrophe is put before it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    shared: dict[str, Any] = {
        "model": fair.model, "from": fair.start.isoformat(), "to": fair.end.isoformat(),
        "positive": fair.positive, "class_assumed": str(fair.assumed).lower(),
    }  # fmt: skip
    answer = {"line": "answer", "verdict": fair.answer, "reason": fair.sentence, "n": fair.rows}
    lines = [shared | answer]
    for d in fair.disparities:
        between = " and ".join(g.group for g in d.groups)
        lines.append(shared | {
            "line": "disparity", "by": d.by, "group": between, "name": d.metric, "positive": d.positive,
            "class_assumed": str(d.assumed).lower(), "value": d.value, "low": d.low, "high": d.high, "n": d.n,
            "limit": d.limit, "verdict": d.verdict, "reason": d.reason, "definition": d.definition,
        })  # fmt: skip
    for cell in fair.groups:
        small = "under the minimum" if cell.small else ""
        lines += [
            shared | {
                "line": "rate", "by": cell.by, "group": cell.group, "name": r.rate, "value": r.value, "low": r.low,
                "high": r.high, "shrunk": r.shrunk, "hits": r.hits, "n": r.n, "reason": r.reason or small,
            }
            for r in cell.rates
        ]  # fmt: skip
    for table in fair.impact:
        lines += [
            shared | {
                "line": "impact_ratio", "by": table.by, "group": one.group, "name": "impact_ratio",
                "positive": table.positive, "value": one.impact_ratio, "hits": one.selected, "n": one.n,
                "reason": one.reason,
            }
            for one in table.lines
        ]  # fmt: skip
    lines += [
        shared | {"line": "not_measured", "name": m.what, "n": m.count, "reason": m.why} for m in fair.not_measured
    ]
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
