"""BLEU of the corpus."""

import numpy as np
import polars as pl

from core.arrays import Ints
from monitor.kpi.base import Kpi, KpiValue, undefined
from monitor.kpi.bounds import BOOTSTRAP_SAMPLES, SEED, Around
from monitor.kpi.intervals import Z95
from monitor.kpi.texts import answers


def bleu(frame: pl.DataFrame) -> KpiValue:
    """BLEU of all labelled rows as one corpus, one reference each, by sacrebleu with its defaults (13a, exp smoothing).

    Args:
        frame: columns prediction and outcome, texts, shape (rows,); a missing answer counts as an empty one.

    Returns:
        Points 0..100 with a 95 % interval: the value -+ 1.96 standard deviations over 300 seeded bootstrap samples of
        the rows. No interval for one row. None if no row has an outcome. With fewer than some hundred rows a few of
        them move the value.

    Raises:
        InvalidError: a column is absent.

    Source: Papineni et al. (2002); Post (2018); Koehn (2004) for the bootstrap of rows.
    """
    pairs = answers(frame)
    if not pairs:
        return undefined("no outcome has arrived")
    from sacrebleu.metrics.bleu import BLEU  # loads lxml, which no other process needs

    metric = BLEU()
    scored = [metric.corpus_score([answer], [[reference]]) for answer, reference in pairs]
    statistics = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scored], dtype=np.int64)

    def corpus(sums: Ints) -> float:
        counts, orders = [int(x) for x in sums], metric.max_ngram_order
        found = BLEU.compute_bleu(
            counts[:orders], counts[orders:-2], counts[-2], counts[-1], smooth_method=metric.smooth_method
        )
        return float(found.score)

    value, n = corpus(statistics.sum(axis=0)), len(pairs)
    if n < 2:
        return KpiValue(value, None, n)
    rng = np.random.default_rng(SEED)
    weights = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(BOOTSTRAP_SAMPLES))
    samples = np.array([corpus(w @ statistics) for w in weights])
    error, bias = float(samples.std(ddof=1)), float(samples.mean()) - value
    bounds = Around(value, error, n - 1, 0.0, 100.0, bias)
    return KpiValue(value, None, n, max(0.0, value - Z95 * error), min(100.0, value + Z95 * error), bounds=bounds)


KPI = Kpi(name="bleu", unit="points of 100", higher_is_better=True, tasks=("generation",), compute=bleu)
