"""The catalogue of KPIs."""

from typing import Final

from monitor.kpi import accuracy, exact_match, f1_macro, mae, precision_macro, recall_macro, rmse
from monitor.kpi.base import Kpi, KpiValue

KPIS: Final = {
    k.name: k
    for k in (
        accuracy.KPI,
        exact_match.KPI,
        f1_macro.KPI,
        mae.KPI,
        precision_macro.KPI,
        recall_macro.KPI,
        rmse.KPI,
    )
}

__all__ = ["KPIS", "Kpi", "KpiValue"]
