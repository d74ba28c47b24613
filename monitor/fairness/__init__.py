"""The catalogue of fairness metrics."""

from typing import Final

from monitor.fairness import odds, parity
from monitor.fairness.base import Fairness, FairnessValue, GroupRates

FAIRNESS: Final = {f.name: f for f in (parity.DIFFERENCE, parity.RATIO, odds.DIFFERENCE)}

__all__ = ["FAIRNESS", "Fairness", "FairnessValue", "GroupRates"]
