"""KPIs and fairness metrics of stored windows under other limits, by their stored values and intervals."""

from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any, Final, Literal

from monitor.fairness.grouping import grouped_by
from monitor.spec import false_alarm_budget as budget
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule, KpiRule
from monitor.windows.limits import SPENT_AT_LAST, judgement_of
from monitor.windows.rejudged import Case, Rejudged, Stored, told

Z95: Final = 1.959964  # of a two-sided 95 % interval


def rejudged_kpis(case: Case) -> Iterator[Rejudged]:
    before = {(r.metric, r.column or ""): r for r in case.old.monitors.kpi}
    after = {(r.metric, r.column or ""): r for r in case.new.monitors.kpi}
    for place, rule in after.items():
        known = before.get(place)
        if known is None:
            case.cannot.append(f"`{rule.metric}` was not measured before, so the past says nothing about its limits.")
        elif known.expression != rule.expression:
            case.cannot.append(f"`{rule.metric}` has another expression, so its past values do not count.")
    for window in case.windows:
        for m in case.measured.get(window.id, ()):
            place = m.metric, m.column
            if m.monitor != "kpi" or (place not in before and place not in after):
                continue
            old, new = before.get(place), after.get(place)
            if old is not None and new is not None and old.expression != new.expression:
                continue
            yield _limited(case, window, "kpi", m, old, new)


def rejudged_fairness(case: Case) -> Iterator[Rejudged]:
    before, after = _groupings(case.old), _groupings(case.new)
    for place, rule in after.items():
        if place not in before:
            case.cannot.append(
                f"`{place[0]}` by {place[1]} was not measured before, so the past says nothing about its limits."
            )
        elif _formed(before[place]) != _formed(rule):
            case.cannot.append(
                f"`{place[0]}` by {place[1]} would compare other groups or another class; stored values are of those "
                "before, so they are not judged again."
            )
    for window in case.windows:
        for m in case.measured.get(window.id, ()):
            place = m.metric, m.column
            if m.monitor != "fairness" or (place not in before and place not in after):
                continue
            old, new = before.get(place), after.get(place)
            if old is not None and new is not None and _formed(old) != _formed(new):
                continue
            yield _limited(case, window, "fairness", m, old, new)


def _groupings(spec: ModelSpec) -> dict[tuple[str, str], FairnessRule]:
    return {(rule.name, grouped_by(by)): rule for rule in spec.monitors.fairness for by in rule.groupings}


def _formed(rule: FairnessRule) -> tuple[Any, ...]:
    """What a value of a fairness metric depends on beside the rows."""
    return rule.min_group, rule.positive, rule.compare, rule.reference


def _limited(
    case: Case, window: Stored, monitor: Literal["kpi", "fairness"], m: Any, old: KpiRule | FairnessRule | None,
    new: KpiRule | FairnessRule | None,
) -> Rejudged:  # fmt: skip
    words = _limit_words(old), _limit_words(new)
    did, judgement = bool(m.alarm), judgement_of(m.details)
    if new is None or (new.min is None and new.max is None):
        return told(window, monitor, m, did, False, words)
    if old is not None and _limits(old) == _limits(new) and case.ratio("limits", window.scale) == 1.0:
        return told(window, monitor, m, did, did, words)
    if judgement is not None and judgement.get("by_windows"):
        return told(window, monitor, m, did, None, words, "it alarmed by many windows together, which is not kept")
    if m.value is None:
        return told(window, monitor, m, did, False, words)
    if m.n < getattr(new, "min_rows", 1) or (judgement is not None and judgement.get("why") and not did):
        return told(window, monitor, m, did, False, words)
    share = _share_of(case, window.scale, judgement)
    would = _beyond(m, new, share)
    why = None if would is not None else "its rows gave no interval"
    return told(window, monitor, m, did, would, words, why)


def _share_of(case: Case, scale: str, judgement: Mapping[str, Any] | None) -> float:
    """The error that the look at this number may spend under the new spec."""
    whole = budget.limit_alpha(case.new, "limits", scale) if scale in case.new.monitors.scales else 0.0
    before = budget.limit_alpha(case.old, "limits", scale) if scale in case.old.monitors.scales else 0.0
    spent = judgement.get("alpha") if judgement is not None else None
    return whole * (spent / before if spent and before else SPENT_AT_LAST)


def _beyond(m: Any, rule: KpiRule | FairnessRule, alpha: float) -> bool | None:
    """Whether a value is beyond a limit with an error of at most alpha, by its stored 95 % interval stretched to it."""
    if alpha <= 0.0:
        return False
    stretch = NormalDist().inv_cdf(1.0 - min(alpha, 0.5)) / Z95
    if rule.min is not None and m.value < rule.min:
        return None if m.high is None else bool(m.value + (m.high - m.value) * stretch < rule.min)
    if rule.max is not None and m.value > rule.max:
        return None if m.low is None else bool(m.value - (m.value - m.low) * stretch > rule.max)
    return False


def _limits(rule: KpiRule | FairnessRule) -> tuple[Any, ...]:
    return rule.min, rule.max, getattr(rule, "min_rows", None)


def _limit_words(rule: KpiRule | FairnessRule | None) -> str:
    if rule is None:
        return "not measured"
    ends = [f"{word} {value:g}" for word, value in (("min", rule.min), ("max", rule.max)) if value is not None]
    rows = getattr(rule, "min_rows", 30)
    return ", ".join((*ends, *((f"from {rows} rows on",) if ends and rows != 30 else ()))) or "no limit"
