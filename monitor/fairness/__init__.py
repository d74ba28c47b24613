"""The catalogue of fairness metrics: rates of groups, compared by a disparity."""

from typing import Final

from monitor.fairness.families import METRICS
from monitor.fairness.result import FairnessValue, GroupRates
from monitor.fairness.values import Fairness

FAIRNESS: Final = {metric.name: metric for metric in METRICS}

__all__ = ["FAIRNESS", "Fairness", "FairnessValue", "GroupRates"]
