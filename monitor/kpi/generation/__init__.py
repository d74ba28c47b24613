"""KPIs of generated text: answers against references, and properties of the answers alone."""

from typing import Final

from monitor.kpi.generation import (
    bleu,
    chrf_mean,
    exact_match,
    perplexity,
    refusal_rate,
    response_length,
    rouge1,
    rouge_l,
)

KPIS: Final = {
    kpi.name: kpi
    for kpi in (
        bleu.KPI,
        chrf_mean.KPI,
        exact_match.KPI,
        perplexity.KPI,
        refusal_rate.KPI,
        response_length.KPI,
        rouge1.KPI,
        rouge_l.KPI,
    )
}
