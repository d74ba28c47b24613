"""The questions on a report's first page, with their answers."""

from collections.abc import Sequence
from typing import Final

from monitor.spec.model import ModelSpec
from monitor.tables import Window
from reports.charts.text import number
from reports.document import (
    AlertLine,
    Answer,
    MeasureLine,
    RunLine,
    VerdictLine,
)
from reports.wording.phrases import metric_words

PASSED: Final = ("pass", "not_applicable")  # of a gate; what does not apply says why, and blocks nothing


def verdict_lines(
    spec: ModelSpec,
    windows: Sequence[Window],
    kpi: Sequence[MeasureLine],
    fairness: Sequence[MeasureLine],
    alerts: Sequence[AlertLine],
    runs: Sequence[RunLine],
) -> tuple[VerdictLine, ...]:
    """The verdict table: for each question an answer, a sentence with numbers and the section that proves it."""
    lines = [_watched(windows), _drifted(windows)]
    for rule in spec.monitors.kpi:
        mine = [m for m in kpi if m.metric == rule.metric and not m.segment]
        lines.append(_limit(f"Did {metric_words(rule.metric)} stay inside its limit?", mine, "4"))
    for fair in spec.monitors.fairness:
        mine = [m for m in fairness if m.metric == fair.name]
        lines.append(_limit(f"Did {metric_words(fair.name)} stay inside its limit?", mine, "5"))
    lines.append(_answered(alerts))
    lines.append(_retrained(spec, runs))
    return tuple(lines)


def _watched(windows: Sequence[Window]) -> VerdictLine:
    tested = sum(1 for w in windows if w.decision["judged"])
    rows = sum({(w.from_seq, w.to_seq): w.rows for w in windows}.values())
    answer: Answer = "not measured" if not windows else "held" if tested == len(windows) else "not held"
    judged = f"{tested} of {len(windows)} windows judged for drift (why not the others: 1.2); {rows:,} rows"
    finding = judged if windows else "no window ended in the period"
    return VerdictLine(question="Was every window judged for drift?", answer=answer, finding=finding, section="2")


def _drifted(windows: Sequence[Window]) -> VerdictLine:
    judged = [w for w in windows if w.decision["judged"]]
    alarmed = [w for w in judged if w.decision.get("verdict") == "drift"]
    answer: Answer = "not measured" if not judged else "not held" if alarmed else "held"
    expected = sum(float(w.decision.get("alpha") or 0.0) for w in judged)
    finding = (
        f"{len(alarmed)} of {len(judged)} judged windows drifted; {expected:.2g} false alarms expected by the budget"
    )
    return VerdictLine(
        question="Did inputs and answers stay as in the reference?",
        answer=answer,
        finding=finding if judged else "no window was judged",
        section="3",
    )


def _limit(question: str, lines: Sequence[MeasureLine], section: str) -> VerdictLine:
    measured = [m for m in lines if m.value is not None]
    if not measured:
        why = lines[-1].reason if lines else "no record"
        return VerdictLine(question=question, answer="not measured", finding=str(why), section=section)
    limited = [m for m in measured if m.limit is not None]
    if not limited:
        newest = measured[-1]
        return VerdictLine(
            question=question,
            answer="none",
            finding=f"no limit declared; last value {number(newest.value)}, n = {newest.n:,}",
            section=section,
        )
    limited = [m for m in limited if m.not_judged is None]
    if not limited:
        finding = f"not judged: {measured[-1].not_judged}; last value {number(measured[-1].value)}"
        return VerdictLine(question=question, answer="not measured", finding=finding, section=section)
    alarmed = [m for m in limited if m.alarm]
    worst = (max if limited[-1].limit_word == "max" else min)(limited, key=lambda m: m.value or 0.0)
    between = f"{number(worst.low)} to {number(worst.high)}"
    finding = (
        f"{len(alarmed)} of {len(limited)} windows wholly beyond {worst.limit_word} {worst.limit:g}; "
        f"worst {number(worst.value)} ({between}), n = {worst.n:,}"
    )
    return VerdictLine(question=question, answer="not held" if alarmed else "held", finding=finding, section=section)


def _answered(alerts: Sequence[AlertLine]) -> VerdictLine:
    waiting = [a for a in alerts if a.state == "open"]
    resolved = [a for a in alerts if a.state == "resolved"]
    answer: Answer = "none" if not alerts else "not held" if waiting else "held"
    seen = len(alerts) - len(resolved) - len(waiting)
    finding = f"{_many(len(alerts), 'alert')}: {len(resolved)} resolved, {seen} acknowledged, {len(waiting)} open"
    return VerdictLine(
        question="Is every alert acknowledged or resolved?",
        answer=answer,
        finding=finding if alerts else "no alert in the period",
        section="6",
    )


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _retrained(spec: ModelSpec, runs: Sequence[RunLine]) -> VerdictLine:
    question = "Did every promotion pass its gates?"
    if spec.retrain is None:
        return VerdictLine(
            question=question, answer="not measured", finding="the spec declares no retrain policy", section="7"
        )
    promoted = [r for r in runs if r.state == "promoted"]
    unproven = [r for r in promoted if not r.gates or any(g.verdict not in PASSED for g in r.gates)]
    blocked = [r for r in runs if r.state in ("rejected", "failed")]
    answer: Answer = "none" if not promoted else "not held" if unproven else "held"
    finding = f"{_many(len(runs), 'run')}: {len(promoted)} promoted, {len(blocked)} blocked or failed"
    return VerdictLine(
        question=question, answer=answer, finding=finding if runs else "no retrain in the period", section="7"
    )
