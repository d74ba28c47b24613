"""The disparities of a period as a chart: one panel each, over the windows."""

from collections.abc import Sequence
from typing import Final

from reports.charts.records import Panel, Point, Status, Timeline
from reports.fairness import CellLine, DisparityLine, FairnessAnswer, HistoryLine

CORE: Final = (
    "selection_rate", "base_rate", "true_positive_rate", "false_positive_rate", "positive_predictive_value", "accuracy",
    "mean_score", "mean_prediction", "mean_error", "mean_absolute_error", "refusal_rate", "exact_match",
    "answer_length",
)  # fmt: skip
MAX_PANELS: Final = 12  # of one picture; the table below it has every disparity


def shown_rates(cells: Sequence[CellLine]) -> tuple[str, ...]:
    """The rates of a table that people read: those of CORE that some group has."""
    measured = {r.rate for cell in cells for r in cell.rates if r.value is not None}
    return tuple(r.rate for r in cells[0].rates if r.rate in measured and r.rate in CORE) if cells else ()


def fairness_timeline(fair: FairnessAnswer) -> Timeline | None:
    """Every disparity with a history, those beyond their limit first; None without one."""
    order = {"beyond": 0, "cannot say": 1, "inside": 2, "no limit": 3, "not measured": 4}
    drawn = sorted((d for d in fair.disparities if d.history), key=lambda d: (order[d.verdict], d.metric, d.by))
    if not drawn:
        return None
    points = [h for d in drawn for h in d.history]
    return Timeline(
        start=min(h.start for h in points), end=max(h.end for h in points),
        panels=tuple(_panel(d) for d in drawn[:MAX_PANELS]),
    )  # fmt: skip


def _panel(line: DisparityLine) -> Panel:
    scale = min((h.end - h.start, h.scale) for h in line.history)[1]  # the finest, as the page of the model draws
    points = tuple(_point(h) for h in line.history if h.scale == scale)
    title = f"{line.metric.replace('_', ' ')} by {line.by}"
    return Panel(title, "line", line.unit, points, line.limit_word)


def _point(h: HistoryLine) -> Point:
    status: Status = "alarm" if h.alarm else "unknown" if h.value is None or h.not_judged else "ok"
    return Point(h.start, h.end, h.value, h.low, h.high, h.limit, h.n, status)
