"""What was not measured and why, and how small a change would have been seen."""

from collections.abc import Sequence

from monitor.spec.model import ModelSpec
from monitor.tables import Window
from reports.document import MeasureLine, PlanLine, VisibleLine
from reports.parts import Unmeasured
from reports.wording.phrases import unit_of


def unmeasured_lines(
    spec: ModelSpec, windows: Sequence[Window], kpi: Sequence[MeasureLine], explained: int, planned: Sequence[PlanLine]
) -> tuple[Unmeasured, ...]:
    """Everything a reader might expect and will not find, with the reason."""
    lines = [
        Unmeasured(
            what=line.planned.replace("in every window", "in some windows"),
            why=line.why or "no record",
            count=line.missed,
        )
        for line in planned
        if line.missed
    ]
    if not windows:
        lines.append(Unmeasured(what="the whole period", why="no window ended in it", count=None))
    if not spec.monitors.kpi:
        lines.append(Unmeasured(what="KPIs", why="the spec declares none", count=None))
    elif spec.monitors.estimate and not any(m.estimated is not None for m in kpi):
        lines.append(
            Unmeasured(
                what="KPI estimates before outcomes arrive",
                why=next((m.estimate_note for m in reversed(kpi) if m.estimate_note), "no KPI waits for outcomes"),
                count=None,
            )
        )
    if not spec.monitors.fairness:
        protected = spec.with_role("protected")
        why = (
            f"the spec declares no rule for {', '.join(protected)}"
            if protected
            else "the spec declares no protected column"
        )
        lines.append(Unmeasured(what="fairness between groups", why=why, count=None))
    if not explained:
        lines.append(
            Unmeasured(what="explanations of single decisions", why="none was requested in the period", count=None)
        )
    if spec.retrain is None:
        lines.append(Unmeasured(what="retraining", why="the spec declares no retrain policy", count=None))
    return tuple(lines)


def visible_lines(windows: Sequence[Window], spec: ModelSpec) -> tuple[VisibleLine, ...]:
    """Range over the judged windows of the smallest change each column would have shown."""
    seen: dict[tuple[str, str], list[float]] = {}
    for window in windows:
        for v in window.decision.get("visible") or []:
            unit = unit_of(spec, str(v["column"]), str(v["unit"]))
            seen.setdefault((str(v["column"]), unit), []).append(float(v["change"]))
    return tuple(
        VisibleLine(column=column, smallest=min(values), largest=max(values), unit=unit, windows=len(values))
        for (column, unit), values in seen.items()
    )
