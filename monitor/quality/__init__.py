"""The catalogue of data quality checks: shares of faulty rows, and the volume of rows."""

from typing import Final

from monitor.quality import duplicates, freshness, label_delay, missing, out_of_range, unseen
from monitor.quality.base import FaultCounts, QualityCheck, Rise, adjusted, counts, rise
from monitor.quality.volume import Volume, volume

QUALITY: Final = {
    c.name: c
    for c in (
        duplicates.CHECK, freshness.CHECK, label_delay.CHECK, missing.CHECK, out_of_range.CHECK, unseen.CHECK,
    )
}  # fmt: skip

__all__ = ["QUALITY", "FaultCounts", "QualityCheck", "Rise", "Volume", "adjusted", "counts", "rise", "volume"]
