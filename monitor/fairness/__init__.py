"""The catalogue of fairness metrics: rates of groups, compared by a disparity."""

from typing import Final

from monitor.fairness import odds, parity
from monitor.fairness.base import Fairness, FairnessValue, GroupRates

FAIRNESS: Final = {metric.name: metric for metric in (*parity.METRICS, *odds.METRICS)}

__all__ = ["FAIRNESS", "Fairness", "FairnessValue", "GroupRates"]
