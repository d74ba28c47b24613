"""The catalogue of KPIs: what a model of each task is measured by, and what an operation is measured by."""

from typing import Final

from monitor.kpi import classification, generation, operations, regression
from monitor.kpi.base import Kpi, KpiValue

KPIS: Final = {
    kpi.name: kpi
    for kpi in sorted(
        (
            *classification.KPIS.values(),
            *generation.KPIS.values(),
            *operations.KPIS.values(),
            *regression.KPIS.values(),
        ),
        key=lambda kpi: kpi.name,
    )
}

__all__ = ["KPIS", "Kpi", "KpiValue"]
