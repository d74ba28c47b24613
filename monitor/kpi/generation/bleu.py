"""BLEU of the corpus."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from core.arrays import Ints
from monitor.kpi.base import Kpi, KpiValue, undefined
from monitor.kpi.bounds import BOOTSTRAP_SAMPLES, SEED, Around
from monitor.kpi.intervals import Z95
from monitor.kpi.texts import NO_OUTCOME, NO_REFERENCE, Answered, answers, with_reference

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ORDER: Final = 4  # words of the longest runs that BLEU compares
TOP: Final = 100.0
ANSWERS_TOO_SHORT: Final = "no answer has four words in a row, so BLEU has no share of right ones"
REFERENCES_TOO_SHORT: Final = "no reference has four words in a row, so not even a perfect answer could have a BLEU"


def bleu(frame: pl.DataFrame) -> KpiValue:
    """BLEU of all labelled rows as one corpus, by sacrebleu with its defaults (13a, exp smoothing).

    BLEU is built from the shares of the answers' runs of one to four words that occur in the references. A row with
    shorter texts counts in the shares of shorter runs; the note says how many answers have a run of four.

    Args:
        frame: columns prediction, texts, and outcome, texts or lists of texts, shape (rows,); a missing answer counts
            as an empty one. A run of words counts as often as it occurs in the reference that has it most often, and
            the length is compared with the reference nearest in length. Rows without a reference that is not empty are
            left out and counted.

    Returns:
        Points 0..100 with a 95 % interval: the value -+ 1.96 standard deviations over 300 seeded bootstrap samples of
        the rows. No interval for one row, nor if BLEU is undefined in one of the samples. None if no row has an
        outcome, and if no answer, or no reference, has four words in a row; 0 if all answers are empty. With fewer
        than some hundred rows a few of them move the value.

    Raises:
        InvalidError: a column is absent.

    Source: Papineni et al. (2002), section 2 for several references; Post (2018); Koehn (2004) for the bootstrap of
    rows.
    """
    every = answers(frame)
    rows, left_out = with_reference(every)
    if not rows:
        return undefined(NO_REFERENCE if every else NO_OUTCOME, left_out=left_out)
    from sacrebleu.metrics.bleu import BLEU  # loads lxml, which no other process needs

    metric, n = BLEU(), len(rows)
    corpus = _Corpus(metric, rows)
    note = f"{corpus.bearing:,} of {n:,} answers have four words in a row"
    whole = np.ones(n, dtype=np.int64)
    if (reason := corpus.undefined(whole)) is not None:
        return undefined(reason, n, left_out=left_out, note=note)
    value = corpus.score(whole)
    if n < 2:
        return KpiValue(value, None, n, left_out=left_out, note=note)
    rng = np.random.default_rng(SEED)
    draws = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(BOOTSTRAP_SAMPLES)]
    if any(corpus.undefined(draw) is not None for draw in draws):
        return KpiValue(value, None, n, left_out=left_out, note=note)
    samples = np.array([corpus.score(draw) for draw in draws])
    error, bias = float(samples.std(ddof=1)), float(samples.mean()) - value
    low, high = max(0.0, value - Z95 * error), min(TOP, value + Z95 * error)
    return KpiValue(value, None, n, low, high, left_out, Around(value, error, n - 1, 0.0, TOP, bias), note)


class _Corpus:
    """The statistics of each row, from which BLEU of any sample of the rows follows."""

    def __init__(self, metric: "BLEU", rows: Sequence[Answered]) -> None:
        scored = [metric.corpus_score([row.answer], [[reference] for reference in row.references]) for row in rows]
        self.metric = metric
        self.statistics = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scored], dtype=np.int64)
        self.long_references = np.array([_is_long(metric, row) for row in rows])

    @property
    def bearing(self) -> int:
        """Answers that have four words in a row."""
        return int((self.statistics[:, 2 * ORDER - 1] > 0).sum())

    def undefined(self, weights: Ints) -> str | None:
        """Why BLEU is undefined if each row counts `weights` times; None if it is defined."""
        if not weights @ self.long_references:
            return REFERENCES_TOO_SHORT
        runs, length = weights @ self.statistics[:, 2 * ORDER - 1], weights @ self.statistics[:, 2 * ORDER]
        return ANSWERS_TOO_SHORT if length and not runs else None  # without any word, it is 0 whatever the shares

    def score(self, weights: Ints) -> float:
        sums = [int(x) for x in weights @ self.statistics]
        found = self.metric.compute_bleu(
            sums[:ORDER], sums[ORDER : 2 * ORDER], sums[-2], sums[-1], smooth_method=self.metric.smooth_method
        )
        return min(TOP, float(found.score))  # 100.00000000000004 for perfect answers


def _is_long(metric: "BLEU", row: Answered) -> bool:
    return any(len(metric.tokenizer(reference.rstrip()).split()) >= ORDER for reference in row.references)


KPI = Kpi(name="bleu", unit="points of 100", higher_is_better=True, tasks=("generation",), compute=bleu)
