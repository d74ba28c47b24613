"""The challenger treats groups no worse than the limits allow, and no worse than the champion did.

Judged on all held-out rows, new and old, because groups need rows. With a limit, the limit alone decides: a challenger
beyond it fails even where the champion was further beyond, and a value that is undefined is unknown. A rule without
limit asks for a measurement only; it fails the challenger when it is worse than the champion by more than TOLERANCE
and its whole interval lies beyond the champion's value. Where nothing is asked for, or nothing that has a limit could
be measured, the gate does not apply: it passes only what it has compared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from monitor.fairness import FAIRNESS, FairnessValue
from retrain.gates.base import ComparedScores, Gate, GateInputs, GateResult, Verdict

NAME: Final = "fairness"
TOLERANCE: Final = 0.02
MIN_GROUP: Final = 30
WORST: Final[tuple[Verdict, ...]] = ("fail", "unknown", "pass", "not_applicable")


@dataclass(frozen=True, slots=True)
class FairnessCheck:
    metric: str
    by: str
    limit: float | None  # largest value allowed, or the smallest where higher is better
    min_group: int


def checks(inputs: GateInputs, protected: tuple[str, ...]) -> Iterator[FairnessCheck]:
    """The spec's rules with the stricter of rule and envelope; envelope metrics without a rule, for every column."""
    declared = set()
    for rule in inputs.fairness:
        declared.add(rule.metric)
        own = rule.min if _higher(rule.metric) else rule.max
        for by in rule.by:
            yield FairnessCheck(rule.metric, by, _stricter(rule.metric, own, inputs.envelope.fairness), rule.min_group)
    for metric, limit in inputs.envelope.fairness.items():
        if metric not in declared:
            yield from (FairnessCheck(metric, by, limit, MIN_GROUP) for by in protected)


def _higher(metric: str) -> bool:
    return metric in FAIRNESS and FAIRNESS[metric].higher_is_better


def _stricter(metric: str, own: float | None, envelope: Mapping[str, float]) -> float | None:
    limits = [x for x in (own, envelope.get(metric)) if x is not None]
    return (max if _higher(metric) else min)(limits) if limits else None


def judge(inputs: GateInputs) -> GateResult:
    rows = _together(inputs.new, inputs.old)
    wanted = list(checks(inputs, tuple(rows.groups) if rows is not None else ()))
    if not wanted:
        if inputs.envelope.fairness:
            return GateResult(NAME, "unknown", "envelope.fairness is declared, but no column has role protected", {})
        return GateResult(NAME, "not_applicable", "no fairness rule is declared, so no groups were compared", {})
    if rows is None or not rows.challenger_predictions:
        return GateResult(NAME, "unknown", "there are no predictions to compare by group", {})
    found = [_judge_one(check, rows) for check in wanted]
    verdicts = {verdict for verdict, _, _ in found}
    verdict = next(v for v in WORST if v in verdicts)
    reason = "; ".join(words for v, words, _ in found if v == verdict)
    return GateResult(NAME, verdict, reason, {"checks": [facts for _, _, facts in found], "tolerance": TOLERANCE})


def _together(new: ComparedScores | None, old: ComparedScores | None) -> ComparedScores | None:
    """All held-out rows that have predictions."""
    parts = [part for part in (new, old) if part is not None and part.challenger_predictions]
    if len(parts) < 2:
        return parts[0] if parts else new
    first, second = parts
    return ComparedScores(
        metric=first.metric,
        champion=np.concatenate([first.champion, second.champion]),
        challenger=np.concatenate([first.challenger, second.challenger]),
        truth=first.truth + second.truth,
        champion_predictions=first.champion_predictions + second.champion_predictions,
        challenger_predictions=first.challenger_predictions + second.challenger_predictions,
        groups={name: values + second.groups[name] for name, values in first.groups.items()},
    )


def _judge_one(check: FairnessCheck, rows: ComparedScores) -> tuple[Verdict, str, dict[str, Any]]:
    name = f"{check.metric} by {check.by}"
    if check.metric not in FAIRNESS:
        return "unknown", f"{name}: no such metric; choose from {', '.join(FAIRNESS)}", {"metric": check.metric}
    if check.by not in rows.groups:
        words = f"{name}: the held-out rows have no {check.by}; it was declared after they were chosen, start a new run"
        return "unknown", words, {"metric": check.metric, "by": check.by}
    metric = FAIRNESS[check.metric]
    champion, challenger = (
        metric.compute(_frame(rows, predictions, check.by), check.by, min_group=check.min_group)
        for predictions in (rows.champion_predictions, rows.challenger_predictions)
    )
    facts = {
        "metric": check.metric, "by": check.by, "limit": check.limit, "champion": champion.value,
        "challenger": challenger.value, "reason": challenger.reason, "low": challenger.low, "high": challenger.high,
        "positive": challenger.positive, "definition": challenger.definition,
        "groups": {g.group: g.n for g in challenger.groups},
        "not_compared": [g.group for g in challenger.groups if g.too_small],
    }  # fmt: skip
    if challenger.value is None:
        if check.limit is None:
            return "not_applicable", f"{name} has no limit and is undefined: {challenger.reason}", facts
        return "unknown", f"{name}: {challenger.reason}", facts
    words = f"{name} is {challenger.value:.4f}" + ("" if champion.value is None else f", champion {champion.value:.4f}")
    sign = 1 if metric.higher_is_better else -1
    if check.limit is not None:
        words += f", limit {check.limit:g}{_left_out(challenger, check.min_group)}"
        return ("fail" if sign * (challenger.value - check.limit) < 0 else "pass"), words, facts
    worse = _clearly_worse(challenger, champion.value, sign)
    return ("fail" if worse else "pass"), f"{words}, no limit declared{_left_out(challenger, check.min_group)}", facts


def _left_out(found: FairnessValue, least: int) -> str:
    """The groups that a value says nothing about, in words; empty where it speaks of all."""
    small = ", ".join(f"{g.group}: {g.n} rows" for g in found.groups if g.too_small)
    return f"; not compared, for want of {least} rows or a known group: {small}" if small else ""


def _clearly_worse(challenger: FairnessValue, champion: float | None, sign: int) -> bool:
    if champion is None or challenger.value is None:
        return False
    if sign * (challenger.value - champion) >= -TOLERANCE:
        return False
    nearest = challenger.high if sign > 0 else challenger.low
    return nearest is None or sign * (nearest - champion) < 0


def _frame(new: ComparedScores, predictions: tuple[str, ...], by: str) -> pl.DataFrame:
    columns = {"prediction": predictions, "outcome": new.truth, by: new.groups[by]}
    schema = dict.fromkeys(columns, pl.String)
    return pl.DataFrame({name: list(values) for name, values in columns.items()}, schema=schema)


GATE = Gate(NAME, judge)
