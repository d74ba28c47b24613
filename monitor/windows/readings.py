"""The numbers of one window in one shape: drift, KPI and fairness readings with interval, limit and reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from monitor.detect.decide import DriftDecision
from monitor.detect.wording import leading
from monitor.drift import METHODS, TEXT_METHODS, Score
from monitor.drift.rows import ROW_METHODS
from monitor.kpi import KPIS
from monitor.kpi.base import KpiValue
from monitor.kpi.references import without_own_answer
from monitor.kpi.vocabularies import two_vocabularies
from monitor.levels import answer
from monitor.metric_names import expression_of
from monitor.spec import false_alarm_budget
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import KpiRule
from monitor.windows.stored_levels import answer_types, comparable, target_column

if TYPE_CHECKING:
    from monitor.windows.lasting_disparities import LastingEvidence, LastingRule

ROW_STATISTICS_REASON: Final = "needs raw rows; computed when the drift alert that this window opens is confirmed"

NO_TARGET: Final = "no outcome fits the prediction; name one with `predicts` on the prediction column"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a number is judged by when it is recorded.

    Attributes:
        lowest, highest: the declared minimum and maximum.
        min_rows: rows below which the number is not judged.
        complete: whether every row of the window has the outcome that the number reads.
        alpha: probability of a false alarm that each limit may spend on this window, all its evaluations together.
        estimate_alpha: the same for the estimate of a KPI; 0 for a number without one.
        bounds: ends of an interval, by the one-sided error of each; None where the rows give no interval.
        second_opinion: computes the value again by another library; called for an alarm only.
        lasting: what the limit asks of many windows, by half of what it may spend; None where it asks nothing of them.
        over_windows: what this window and those before it say to that.
    """

    lowest: float | None
    highest: float | None
    min_rows: int
    complete: bool
    alpha: float
    estimate_alpha: float
    bounds: Callable[[float], tuple[float | None, float | None]] | None
    second_opinion: Callable[[], float] | None = None
    lasting: "LastingRule | None" = None
    over_windows: "LastingEvidence | None" = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One number about one window; `value` is None exactly where `reason` says why. `limits` is not stored."""

    monitor: str
    metric: str
    value: float | None
    reason: str | None
    unit: str
    n: int
    column: str = ""
    segment: str = ""
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    alarm: bool = False
    n_reference: int | None = None
    estimated: float | None = None
    estimated_low: float | None = None
    estimated_high: float | None = None
    estimate_inside: bool | None = None
    details: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""
    limits: Limits | None = None


def drift_readings(decision: DriftDecision, scores: Sequence[Score]) -> list[Reading]:
    """The decision's p value, the effect of each column, and the catalogue of statistics."""
    n, n_reference = decision.n_window, decision.n_reference
    named = leading(decision)
    sizes = [f.times_floor for f in named or decision.columns if f.above_floor and f.times_floor is not None]
    readings = [
        Reading(
            "drift", "p_value", decision.p, None if decision.p is not None else decision.reason, "probability", n,
            limit=decision.alpha, alarm=decision.alarmed, n_reference=n_reference,
            details={
                "verdict": decision.verdict, "draws": decision.draws, "columns": [f.column for f in named],
                "times_floor": max(sizes, default=None),
            },
        )
    ]  # fmt: skip
    readings += [
        Reading(
            "drift", "effect", finding.value, None, finding.unit, n, column=finding.column, n_reference=n_reference,
            details={
                "effect": finding.effect, "detail": finding.detail, "t": finding.t, "adjusted_p": finding.adjusted_p,
                "above_floor": finding.above_floor, "named": finding.alarmed, "visible_change": finding.visible_change,
                "reference": finding.reference, "current": finding.current, "times_floor": finding.times_floor,
            },
        )
        for finding in decision.columns
    ]  # fmt: skip
    readings += [
        Reading(
            "drift", score.method, score.value, score.reason, score.unit, score.n_current, column=score.column,
            n_reference=score.n_reference,
            details={} if score.expected is None else {"expected": score.expected},  # without drift
        )
        for score in scores
    ]  # fmt: skip
    return readings + _row_statistics(ROW_STATISTICS_REASON, n, n_reference)


def unjudged_readings(reason: str, n: int) -> list[Reading]:
    """The p value and every statistic of a window that was not compared with the reference: None, with the reason."""
    p = Reading("drift", "p_value", None, reason, "probability", n)
    units = [(m.name, m.unit) for m in METHODS.values()] + [(m.name, m.unit) for m in TEXT_METHODS.values()]
    return [
        p,
        *(Reading("drift", name, None, reason, unit, n) for name, unit in units),
        *_row_statistics(reason, n, None),
    ]


def _row_statistics(reason: str, n: int, n_reference: int | None) -> list[Reading]:
    return [
        Reading("drift", m.name, None, reason, m.unit, n, n_reference=n_reference, details={"expected": m.unchanged})
        for m in ROW_METHODS.values()
    ]


def kpi_readings(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame, scale: str) -> list[Reading]:
    """Every KPI that the spec names, on the rows it can use. They are judged against their limits when recorded.

    Args:
        labelled: rows of the window whose outcome has arrived; KPIs that read outcomes use these.
        window: all rows of the window; the other KPIs use these.
        scale: length of the window, for its share of the false-alarm budget.
    """
    readings = []
    for rule in spec.monitors.kpi:
        waiting = bool(outcomes_read(spec, rule))
        rows = usable_rows(spec, rule, labelled, window)
        found, unit, better = compute_kpi(spec, rule, rows)
        reason = found.reason
        if found.value is None and rows.is_empty():
            reason = f"no outcome has arrived yet for any of the {window.height} rows" if waiting else "no rows"
        readings.append(
            Reading(
                "kpi", rule.metric, found.value, reason, unit, found.n, column=rule.column or "", low=found.low,
                high=found.high, limit=rule.max if rule.min is None else rule.min,
                details={
                    "rows": window.height, "waits": waiting,
                    "coverage": rows.height / window.height if window.height else None,
                    "higher_is_better": better, "left_out": found.left_out,
                    **({"note": found.note} if found.note else {}),
                },
                limits=_kpi_limits(spec, rule, found, scale, complete=rows.height == window.height),
            )
        )  # fmt: skip
    return readings


def _kpi_limits(spec: ModelSpec, rule: KpiRule, found: KpiValue, scale: str, *, complete: bool) -> Limits | None:
    if rule.min is None and rule.max is None:
        return None
    return Limits(
        rule.min, rule.max, rule.min_rows, complete, false_alarm_budget.limit_alpha(spec, "limits", scale),
        false_alarm_budget.limit_alpha(spec, "estimate", scale), found.bounds,
    )  # fmt: skip


def compute_kpi(spec: ModelSpec, rule: KpiRule, rows: pl.DataFrame) -> tuple[KpiValue, str, bool | None]:
    """A KPI of some rows, its unit, and whether more of it is better."""
    if rule.expression is not None:
        return expression_of(spec, rule).compute(rows), rule.unit or "number", None
    kpi = KPIS[rule.metric]
    if "outcome" in kpi.reads and spec.target is None:
        return KpiValue(None, NO_TARGET, 0), kpi.unit, kpi.higher_is_better
    unit = kpi.unit if kpi.unit != "column" or not rule.column else spec.columns[rule.column].unit or "column"
    frame = kpi_frame(spec, rule, rows)
    if {"prediction", "outcome"} <= set(kpi.reads) and (reason := unlike_labels(spec, frame)):
        return KpiValue(None, reason, len(frame["outcome"].drop_nulls())), unit, kpi.higher_is_better
    return kpi.compute(frame), unit, kpi.higher_is_better


def unlike_labels(spec: ModelSpec, frame: pl.DataFrame) -> str | None:
    """Why the answers of a classifier cannot be compared with the outcomes; None where they can.

    A score of one declared class needs no prediction: where that class occurs as outcome, the rows can be judged.
    """
    if spec.task != "classification":
        return None
    positive = frame["positive"][0] if "positive" in frame.columns and frame.height else None
    if positive is not None and (frame["outcome"].cast(pl.String) == positive).any():
        return None
    return two_vocabularies(frame)


def usable_rows(spec: ModelSpec, rule: KpiRule, labelled: pl.DataFrame, window: pl.DataFrame) -> pl.DataFrame:
    """The rows on which a KPI can be computed: if it reads outcomes, those for which at least one has arrived."""
    if not (read := outcomes_read(spec, rule)):
        return window
    return labelled.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in read))


def outcomes_read(spec: ModelSpec, rule: KpiRule) -> tuple[str, ...]:
    """The outcome columns that a KPI reads."""
    if rule.expression is not None:
        return tuple(name for name in expression_of(spec, rule).columns if spec.columns[name].role == "outcome")
    named = [rule.column] if rule.column is not None and spec.columns[rule.column].role == "outcome" else []
    target = [spec.target] if spec.target is not None and "outcome" in KPIS[rule.metric].reads else []
    return (*named, *target)


def kpi_frame(spec: ModelSpec, rule: KpiRule, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that a KPI reads, renamed as the KPI expects them."""
    found, positive = list[pl.Series](), None
    for part in KPIS[rule.metric].reads:
        name = rule.column if part == "column" else spec.target if part == "outcome" else spec.with_role(part)[0]
        assert name is not None  # check_metrics has accepted this spec, and `compute_kpi` has looked for a target
        found.append(rows.get_column(name).alias(part))
        if part == "score":
            positive = spec.columns[name].positive
    chosen = pl.DataFrame(found)
    if positive is not None:
        truth = "boolean" in answer_types(spec)
        chosen = chosen.with_columns(pl.lit(answer(positive, truth=truth)).alias("positive"))
    frame = comparable(spec, chosen)
    if "outcome" in frame.columns and spec.columns[target_column(spec)].references == "collected":
        return frame.with_columns(outcome=without_own_answer(frame["prediction"], frame["outcome"]))
    return frame
