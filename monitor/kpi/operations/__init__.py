"""KPIs of one named column, for a model of any task: latency, cost, tokens, errors and feedback."""

from typing import Final

from monitor.kpi.operations import latency, means, shares

KPIS: Final = {kpi.name: kpi for kpi in (*latency.KPIS, *means.KPIS, *shares.KPIS)}
