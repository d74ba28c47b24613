"""The mitigation of a run and its trade-off, as the page of the run, its card and its document print them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.charts.text import number
from reports.facts.runs import ROWS, Record
from retrain.train.mitigation.keys import caution_of


@dataclass(frozen=True)
class TradePoint:
    """One setting: what it costs in accuracy and how unequal groups are, each with its interval."""

    setting: str
    rows: str
    n: str
    accuracy: str
    accuracy_interval: str
    disparity: str
    disparity_interval: str
    reason: str  # why there is no value
    chosen: bool


@dataclass(frozen=True)
class TradeOff:
    what: str
    metric: str
    caution: str
    note: str
    points: tuple[TradePoint, ...]


def trade_off(metrics: Record, evaluation: Record) -> TradeOff | None:
    """The trade-off of a run's mitigation; None where it has none. Champion and challenger are its last points."""
    found = (metrics or {}).get("mitigation")
    if not isinstance(found, Mapping):
        return None
    chosen = str(found.get("chosen") or "")
    points = [_point(p, "training rows held back", chosen) for p in found.get("points") or ()]
    points += [_point(p, ROWS.get(str(p.get("set")), ""), "challenger")
               for p in (evaluation or {}).get("mitigation") or ()]  # fmt: skip
    by = ", ".join(found.get("by") or ())
    what = f"{str(found.get('method')).replace('_', ' ')} by {by}"
    if found.get("method") in ("reweigh", "resample"):
        what += f", strength {number(found.get('strength'))}"
    if found.get("positive"):
        what += f", rates of {found['positive']}"
    return TradeOff(
        what, str(found.get("metric")).replace("_", " "), caution_of(found), str(found.get("note") or ""), tuple(points)
    )


def _point(point: Mapping[str, Any], rows: str, chosen: str) -> TradePoint:
    accuracy, fairness = point.get("accuracy") or {}, point.get("fairness") or {}
    return TradePoint(
        str(point.get("setting")), rows, f"{point.get('rows', 0):,}", number(accuracy.get("value")),
        _ends(accuracy), number(fairness.get("value")), _ends(fairness), str(fairness.get("reason") or ""),
        point.get("setting") == chosen,
    )  # fmt: skip


def _ends(part: Mapping[str, Any]) -> str:
    low, high = part.get("low"), part.get("high")
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"
