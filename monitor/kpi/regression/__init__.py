"""KPIs of a regression: errors of the predicted number."""

from typing import Final

from monitor.kpi.regression import mae, mape, r2, rmse

KPIS: Final = {kpi.name: kpi for kpi in (mae.KPI, mape.KPI, r2.KPI, rmse.KPI)}
