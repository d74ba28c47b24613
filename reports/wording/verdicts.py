"""The questions on a report's first page, with their answers."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from monitor.spec.model import ModelSpec
from monitor.tables import ReferenceRow, Window
from reports.charts.text import number
from reports.document import (
    AlertLine,
    Answer,
    MeasureLine,
    RunLine,
    VerdictLine,
)
from reports.wording.phrases import WHY, metric_words
from reports.wording.volume import counted_once, length_lines

ENDED: Final = ("promoted", "rejected", "failed")  # states of a run
PASSED: Final = ("pass", "not_applicable")  # of a gate; what does not apply says why, and blocks nothing


def verdict_lines(
    spec: ModelSpec,
    windows: Sequence[Window],
    kpi: Sequence[MeasureLine],
    fairness: Sequence[MeasureLine],
    alerts: Sequence[AlertLine],
    runs: Sequence[RunLine],
    waiting: str | None = None,
) -> tuple[VerdictLine, ...]:
    """The verdict table: for each question an answer, a sentence with numbers and the section that proves it.

    Args:
        waiting: why no window can be judged for drift yet; None where the reference is complete.
    """
    lines = [_watched(windows, waiting), _drifted(windows, waiting)]
    for rule in spec.monitors.kpi:
        mine = [m for m in kpi if m.metric == rule.metric and not m.segment]
        lines.append(_limit(f"Did {metric_words(rule.metric)} stay inside its limit?", mine, "4"))
    for fair in spec.monitors.fairness:
        mine = [m for m in fairness if m.metric == fair.name]
        lines.append(_limit(f"Did {metric_words(fair.name)} stay inside its limit?", mine, "5"))
    lines.append(_answered(alerts))
    lines.append(_retrained(spec, runs))
    return tuple(lines)


def reference_waits(baselines: Sequence[ReferenceRow]) -> str | None:
    """Why no window can be judged for drift yet, and when that will be known; None where the reference is complete."""
    newest = baselines[-1] if baselines else None
    if newest is None or newest.state == "ready":
        return None
    if newest.problem is not None:
        return f"the reference could not be fitted: {newest.problem}"
    return "the reference is still being collected; it is known once the first window after it closes"


def _watched(windows: Sequence[Window], waiting: str | None) -> VerdictLine:
    question, due = "Was every window judged for drift?", [w for w in windows if not _of_reference(w)]
    if not due:
        why = waiting or ("every window belongs to the reference" if windows else "no window ended in the period")
        return VerdictLine(question=question, answer="not yet" if waiting else "not measured", finding=why, section="2")
    tested, own = sum(1 for w in due if w.decision["judged"]), len(windows) - len(due)
    lengths = length_lines(windows)
    finding = f"{tested} of {len(due)} windows judged for drift"
    finding += f", {own} more belong to the reference" if own else ""
    finding += f"; {counted_once(lengths)[0]:,} rows, each counted once"
    return VerdictLine(
        question=question, answer="held" if tested == len(due) else "not held", finding=finding, section="2"
    )


def _of_reference(window: Window) -> bool:
    """Whether nothing could be judged in it: its rows are those that later ones are compared with."""
    return str(window.decision.get("verdict")) in ("reference", "collecting_reference")


def _drifted(windows: Sequence[Window], waiting: str | None) -> VerdictLine:
    judged = [w for w in windows if w.decision["judged"]]
    alarmed = [w for w in judged if w.decision.get("verdict") == "drift"]
    question = "Did inputs and answers stay as in the reference?"
    if not judged:
        return VerdictLine(
            question=question, answer="not yet" if waiting else "not measured",
            finding=waiting or f"no window was judged{_why_none(windows)}", section="3",
        )  # fmt: skip
    expected = sum(float(w.decision.get("alpha") or 0.0) for w in judged)
    finding = (
        f"{len(alarmed)} of {len(judged)} judged windows drifted{_by_length(alarmed, judged)}; {expected:.2g} false "
        "alarms expected by the budget"
    )
    return VerdictLine(question=question, answer="not held" if alarmed else "held", finding=finding, section="3")


def _why_none(windows: Sequence[Window]) -> str:
    """Why none of the windows was judged, by the most frequent reason."""
    reasons = Counter(str(w.decision.get("verdict")) for w in windows if not _of_reference(w))
    if not reasons:
        return ""
    verdict, times = reasons.most_common(1)[0]
    return f": {WHY.get(verdict, verdict)} in {times} of {sum(reasons.values())}"


def _by_length(some: Sequence[Window | MeasureLine], every: Sequence[Window | MeasureLine]) -> str:
    """How many of each length, where windows of several lengths saw the same rows."""
    lengths = Counter(one.scale for one in every)
    if len(lengths) < 2:
        return ""
    found = Counter(one.scale for one in some)
    return f" ({', '.join(f'{found[scale]} of {count} of {scale}' for scale, count in sorted(lengths.items()))})"


def _limit(question: str, lines: Sequence[MeasureLine], section: str) -> VerdictLine:
    measured = [m for m in lines if m.value is not None]
    if not measured:
        why = str(lines[-1].reason) if lines else "no record"
        if lines and all(_pending(m.reason) for m in lines):
            finding = f"{why}; it is known once enough outcomes have arrived"
            return VerdictLine(question=question, answer="not yet", finding=finding, section=section)
        return VerdictLine(question=question, answer="not measured", finding=why, section=section)
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
        f"{len(alarmed)} of {len(limited)} windows wholly beyond {worst.limit_word} {worst.limit:g}"
        f"{_by_length(alarmed, limited)}; "
        f"worst {number(worst.value)} ({between}), n = {worst.n:,}"
    )
    return VerdictLine(question=question, answer="not held" if alarmed else "held", finding=finding, section=section)


def _pending(reason: str | None) -> bool:
    """Whether a value is only missing because outcomes have yet to arrive."""
    told = reason or ""
    return told.startswith(("no outcome has arrived", "no outcomes")) or (
        "labelled rows, " in told and "needed" in told
    )


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
    under_way = [r for r in runs if r.state not in ENDED]
    answer: Answer = "not held" if unproven else "held" if promoted else "not yet" if under_way else "none"
    finding = f"{_many(len(runs), 'run')}: {len(promoted)} promoted, {len(blocked)} blocked or failed"
    if under_way:
        states = ", ".join(dict.fromkeys(r.state.replace("_", " ") for r in under_way))
        finding += f", {len(under_way)} under way ({states}); known once it ends"
    return VerdictLine(
        question=question, answer=answer, finding=finding if runs else "no retrain in the period", section="7"
    )
