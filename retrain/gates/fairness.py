"""The challenger treats groups no worse than the limits allow, and no worse than the champion did.

Judged on all held-out rows, new and old, because groups need rows. With a limit, the limit alone decides: a challenger
beyond it fails even where the champion was further beyond, and a value that is undefined is unknown. A rule without
limit asks for a measurement only; it fails the challenger when it is worse than the champion by more than TOLERANCE
and its whole interval lies beyond the champion's value. Where nothing is asked for, or nothing that has a limit could
be measured, the gate does not apply: it passes only what it has compared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from monitor.fairness import FAIRNESS, FairnessValue
from monitor.fairness.counts import GroupCounts, count
from monitor.fairness.grouping import Grouping, grouped_by
from monitor.fairness.unknown_members import Shares, shares_by
from monitor.spec.monitors import FairnessRule
from monitor.spec.positive import DeclaredClass
from retrain.gates.base import ComparedScores, Gate, GateInputs, GateResult, Verdict

NAME: Final = "fairness"
TOLERANCE: Final = 0.02
MIN_GROUP: Final = 30
WORST: Final[tuple[Verdict, ...]] = ("fail", "unknown", "pass", "not_applicable")


@dataclass(frozen=True, slots=True)
class FairnessCheck:
    rule: FairnessRule
    by: tuple[str, ...]
    limit: float | None  # largest value allowed, or the smallest where higher is better
    positive: DeclaredClass

    @property
    def metric(self) -> str:
        return self.rule.metric

    @property
    def min_group(self) -> int:
        return self.rule.min_group


def checks(inputs: GateInputs, protected: tuple[str, ...]) -> Iterator[FairnessCheck]:
    """The spec's rules with the stricter of rule and envelope; envelope metrics without a rule, for every column."""
    declared = set()
    for rule in inputs.fairness:
        declared.add(rule.metric)
        own = rule.min if _higher(rule.metric) else rule.max
        limit, positive = _stricter(rule.metric, own, inputs.envelope.fairness), inputs.positive
        if rule.positive is not None:
            positive = replace(positive, name=rule.positive)
        yield from (FairnessCheck(rule, by, limit, positive) for by in rule.groupings)
    for metric, limit in inputs.envelope.fairness.items():
        if metric not in declared:
            rule = FairnessRule(metric=metric, by=protected, min_group=MIN_GROUP)
            yield from (FairnessCheck(rule, by, limit, inputs.positive) for by in rule.groupings)


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
    grouping = Grouping(tuple(rows.groups), inputs.edges)
    champion, challenger = (
        _counts(rows, predictions, grouping) for predictions in (rows.champion_predictions, rows.challenger_predictions)
    )
    found = [_judge_one(check, champion, challenger, shares_by(inputs.proxies, check.by)) for check in wanted]
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


def _judge_one(
    check: FairnessCheck, champion_rows: GroupCounts, challenger_rows: GroupCounts, shares: Shares | None
) -> tuple[Verdict, str, dict[str, Any]]:
    name = f"{check.rule.name} by {grouped_by(check.by)}"
    if check.metric not in FAIRNESS:
        return "unknown", f"{name}: no such metric; choose from {', '.join(FAIRNESS)}", {"metric": check.metric}
    if absent := [column for column in check.by if column not in challenger_rows.columns]:
        late = "it was declared after they were chosen, start a new run"
        words = f"{name}: the held-out rows have no {absent[0]}; {late}"
        return "unknown", words, {"metric": check.metric, "by": grouped_by(check.by)}
    metric, declared = FAIRNESS[check.metric], check.positive
    champion, challenger = (
        metric.compute(
            counts, check.by, positive=declared.name, key=declared.key, truth=declared.truth, assume=declared.assume,
            min_group=check.min_group, compare=check.rule.compare, reference=check.rule.reference,
            shares=shares,
        )
        for counts in (champion_rows, challenger_rows)
    )  # fmt: skip
    facts = {
        "metric": check.metric, "by": grouped_by(check.by), "limit": check.limit, "champion": champion.value,
        "challenger": challenger.value, "reason": challenger.reason, "low": challenger.low, "high": challenger.high,
        "positive": challenger.positive, "class_assumed": challenger.source == "assumed",
        "between": challenger.pair, "compare": challenger.compare, "definition": challenger.definition,
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


def _counts(rows: ComparedScores, predictions: tuple[str, ...], grouping: Grouping) -> GroupCounts:
    """The held-out rows by protected group, with the answers of one model."""
    groups = [pl.Series(name, values, dtype=pl.String) for name, values in rows.groups.items()]
    answers, truth = (pl.Series(values, dtype=pl.String) for values in (predictions, rows.truth))
    return count(pl.DataFrame(groups), grouping, prediction=answers, outcome=truth)


GATE = Gate(NAME, judge)
