"""Fairness limits over many windows: a disparity that no window shows alone, found by all of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.fairness import FAIRNESS
from monitor.fairness.grouping import MISSING
from monitor.fairness.lasting import ALL_ROWS, Compare, CountedWindows, lasting
from monitor.spec.monitors import FairnessRule
from monitor.tables import Measurement, Window
from monitor.windows.readings import Reading

WINDOWS: Final = 90  # of one length; then the evidence starts anew
SHARE: Final = 0.5  # of what a limit may spend; the other half is for windows alone
MAX_ERROR: Final = 0.025  # of 90 windows together, as that of one end of a 95 % interval


@dataclass(frozen=True, slots=True)
class LastingRule:
    """What a fairness limit asks of many windows.

    Attributes:
        rates: names of the compared rates.
        limit: the largest difference, or the smallest ratio.
        error: probability of a false alarm that 90 windows may spend together.
        min_group: rows from which a group is compared, in all these windows together.
    """

    metric: str
    rates: tuple[str, ...]
    compare: Compare
    reference: str | None
    limit: float
    error: float
    min_group: int


@dataclass(frozen=True, slots=True)
class LastingEvidence:
    """What the windows say together; stored with a measurement as `details["lasting"]`.

    Attributes:
        log_e: logarithm of the evidence against the limit; beyond log(1 / error) it alarms.
        windows: windows that count, this one among them; `first` is the number of the first.
        rate: the compared rate; `rates` are those of the `pair` of groups that leads, over all rows of these windows.
        n: rows of the two.
        value: the disparity of the two over these windows.
    """

    log_e: float
    error: float
    windows: int
    first: int
    rate: str
    pair: tuple[str, str]
    rates: tuple[float, float]
    n: tuple[int, int]
    value: float

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "evidence": float(np.exp(min(self.log_e, 700.0))), "needed": 1.0 / self.error, "error": self.error,
            "windows": self.windows, "first_window": self.first, "rate": self.rate,
            "between": list(self.pair), "rates": list(self.rates), "n": list(self.n), "value": self.value,
        }  # fmt: skip


def lasting_rule(rule: FairnessRule, alpha: float, *, each_class: bool) -> LastingRule | None:
    """What a rule's limit asks of many windows; None where nothing is summed: means, and the worst of many classes.

    Args:
        alpha: what the limit may spend on one window, all its tests together.
        each_class: whether the class is chosen as the worst one, window by window.
    """
    metric = FAIRNESS[rule.metric]
    limit = rule.min if metric.higher_is_better else rule.max
    summed = all(rate.unit == "share" and rate.task == "classification" for rate in metric.rates)
    compare = rule.compare or metric.compare
    lowest = compare == "best" and metric.directed and any(rate.best == "lowest" for rate in metric.rates)
    if limit is None or each_class or not summed or lowest or (metric.higher_is_better and not 0.0 < limit <= 1.0):
        return None
    error = min(MAX_ERROR, WINDOWS * SHARE * alpha)
    names = tuple(rate.name for rate in metric.rates)
    return LastingRule(rule.metric, names, compare, rule.reference, limit, error, rule.min_group)


def with_lasting(db: Session, window: Window, readings: Sequence[Reading]) -> list[Reading]:
    """The readings, where each fairness metric with a limit has the evidence of this window and those before it."""
    return [
        replace(r, limits=replace(r.limits, over_windows=_evidence(db, window, r, r.limits.lasting)))
        if r.limits is not None and r.limits.lasting is not None
        else r
        for r in readings
    ]


def _evidence(db: Session, window: Window, reading: Reading, rule: LastingRule) -> LastingEvidence | None:
    first = window.number - window.number % WINDOWS
    earlier = (
        select(Window.number, Measurement.details)
        .join(Window, Window.id == Measurement.window_id)
        .where(
            Window.baseline_id == window.baseline_id, Window.scale == window.scale, Window.number >= first,
            Window.number < window.number, Measurement.monitor == "fairness", Measurement.metric == reading.metric,
            Measurement.column == reading.column, Measurement.segment == "",
        )
        .order_by(Window.number)
    )  # fmt: skip
    history = [details for _, details in db.execute(earlier)] + [reading.details]
    same = [d for d in history if d.get("positive") == reading.details["positive"] and d.get("groups")]
    return of_windows([d["groups"] for d in same], rule, first=first)


def of_windows(
    windows: Sequence[Sequence[Mapping[str, Any]]], rule: LastingRule, *, first: int = 0
) -> LastingEvidence | None:
    """The evidence of some windows together.

    Args:
        windows: of each window, in order of time, its groups as a measurement stores them.
        first: number of the first window.

    Returns:
        None where no rate has two groups that can be compared.
    """
    names = sorted({str(g["group"]) for groups in windows for g in groups})
    place = {name: at for at, name in enumerate(names)}
    counted = [_counted(windows, place, rate, rule.min_group) for rate in rule.rates]
    reference = place.get(rule.reference) if rule.reference is not None else None
    if rule.compare == "reference" and reference is None:
        return None
    metric = FAIRNESS[rule.metric]
    found = lasting(
        counted, metric.disparity.name, rule.compare, rule.limit, rule.error, reference=reference,
        directed=metric.directed,
    )  # fmt: skip
    if found.pair is None:
        return None
    lead = counted[found.rate]
    hits, n = lead.hits.sum(axis=0), lead.n.sum(axis=0)
    sides = [(int(hits.sum()), int(n.sum())) if at == ALL_ROWS else (int(hits[at]), int(n[at])) for at in found.pair]
    if not all(rows for _, rows in sides):
        return None
    first_group, second_group = ("all rows" if at == ALL_ROWS else names[at] for at in found.pair)
    one, two = (x / rows for x, rows in sides)
    low, high = min(one, two), max(one, two)
    value = high - low if metric.disparity.name == "difference" else low / high if high else 1.0
    return LastingEvidence(
        found.evidence.log_e, rule.error, found.evidence.windows, first, rule.rates[found.rate],
        (first_group, second_group), (one, two), (sides[0][1], sides[1][1]), value,
    )  # fmt: skip


def _counted(
    windows: Sequence[Sequence[Mapping[str, Any]]], place: Mapping[str, int], rate: str, min_group: int
) -> CountedWindows:
    hits, n = (np.zeros((len(windows), len(place)), dtype=np.int64) for _ in range(2))
    for at, groups in enumerate(windows):
        for group in groups:
            value, rows = group["rates"].get(rate), group.get("of", {}).get(rate, 0)
            if value is not None:
                hits[at, place[group["group"]]] = round(value * rows)
                n[at, place[group["group"]]] = rows
    known = np.array([MISSING not in name for name in place], dtype=np.bool_)  # of no group too
    return CountedWindows(hits, n, known & (n.sum(axis=0) >= min_group))
