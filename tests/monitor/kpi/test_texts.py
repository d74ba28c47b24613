"""KPIs of generated text against rouge-score and sacrebleu, on drawn words and on published model answers."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from monitor.kpi import KPIS
from monitor.kpi.generation.refusal_rate import PHRASES

Pairs = list[tuple[str, str]]  # answer, reference
ROUGE = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
sentence = st.lists(st.sampled_from(["a", "the", "cat", "sat", "on", "mat", "It's", "42", "dog,"]), max_size=14).map(
    " ".join
)
drawn = st.lists(st.tuples(sentence, sentence.map(lambda s: f"{s} end")), min_size=1, max_size=8)


def _rouge(kind: str, pairs: Pairs) -> float:
    return float(np.mean([ROUGE.score(reference, answer)[kind].fmeasure for answer, reference in pairs]))


OVERLAP: dict[str, Callable[[Pairs], float]] = {
    "rouge1": lambda p: _rouge("rouge1", p),
    "rouge_l": lambda p: _rouge("rougeL", p),
    "bleu": lambda p: float(BLEU().corpus_score([a for a, _ in p], [[r for _, r in p]]).score),
    "chrf_mean": lambda p: float(np.mean([CHRF().sentence_score(a, [r]).score for a, r in p])),
}
TEXTS = {*OVERLAP, "response_length", "refusal_rate"}


def frame(pairs: Pairs) -> pl.DataFrame:
    return pl.DataFrame({"prediction": [a for a, _ in pairs], "outcome": [r for _, r in pairs]})


@pytest.mark.parametrize("name", OVERLAP)
@given(drawn)
@settings(max_examples=25, deadline=None)
def test_a_kpi_of_texts_equals_its_outside_reference(name: str, pairs: Pairs) -> None:
    result = KPIS[name].compute(frame(pairs))
    top = 100.0 if name in ("bleu", "chrf_mean") else 1.0
    assert result.value == pytest.approx(OVERLAP[name](pairs), rel=1e-9, abs=1e-9)
    assert result.value is not None
    assert 0.0 <= result.value <= top + 1e-9
    assert (result.low is None) == (len(pairs) == 1)
    same = KPIS[name].compute(frame([(r, r) for _, r in pairs if len(r.split()) >= 4])).value
    assert same is None or same == pytest.approx(top)


@pytest.mark.parametrize("name", OVERLAP)
def test_a_missing_answer_counts_as_an_empty_one(name: str) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    whole, half = frame([(text, text)] * 2), frame([(text, text)] * 2).with_columns(prediction=pl.Series([text, None]))
    above, below = KPIS[name].compute(whole), KPIS[name].compute(half)
    assert above.value is not None
    assert below.value is not None
    assert below.value < above.value
    assert below.n == 2


def test_rouge_of_published_answers_equals_rouge_score(shared_data: Path) -> None:
    rows = pl.read_parquet(shared_data / "gsm8k_model_solutions.parquet").head(150)
    pairs = list(zip(rows["response"], rows["reference"], strict=True))
    for name in ("rouge1", "rouge_l"):
        assert KPIS[name].compute(frame(pairs)).value == pytest.approx(OVERLAP[name](pairs), rel=1e-12)


def test_rouge_reproduces_the_figures_known_for_squality(shared_data: Path) -> None:
    """Best of several references, as in the description of the file: 0.360 and 0.193 for the system bart."""
    rows = pl.read_parquet(shared_data / "squality_human_eval.parquet").filter(pl.col("system") == "bart")
    rows = rows.unique(["passage_id", "question_number"], maintain_order=True)
    for name, known in (("rouge1", 0.360), ("rouge_l", 0.193)):
        best = [
            max(KPIS[name].compute(frame([(row["response"], r)])).value or 0.0 for r in row["references"])
            for row in rows.iter_rows(named=True)
        ]
        assert np.mean(best) == pytest.approx(known, abs=5e-4)


def test_a_reference_without_a_token_is_left_out_and_counted() -> None:
    result = KPIS["rouge1"].compute(frame([("yes", "да"), ("yes sir", "yes")]))
    assert result.value == pytest.approx(2 / 3)
    assert (result.n, result.left_out) == (1, 1)
    nothing = KPIS["rouge_l"].compute(frame([("yes", "...")]))
    assert nothing.value is None
    assert nothing.reason


@pytest.mark.parametrize("name", ["rouge1", "rouge_l", "bleu", "chrf_mean"])
def test_the_interval_covers_the_value_of_all_rows(name: str, shared_data: Path) -> None:
    rows = pl.read_parquet(shared_data / "gsm8k_model_solutions.parquet").filter(pl.col("model") == "175b_verification")
    every = frame(list(zip(rows["response"], rows["reference"], strict=True))).head(600)
    truth = KPIS[name].compute(every).value
    assert truth is not None
    held = []
    for seed in range(15):
        result = KPIS[name].compute(every.sample(80, with_replacement=True, seed=seed))
        assert result.low is not None
        assert result.high is not None
        held.append(result.low <= truth <= result.high)
    assert np.mean(held) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 15)


def test_response_length_counts_characters_of_every_answer() -> None:
    rows = pl.DataFrame({"prediction": ["abc", "", None, "naïve"]})
    result = KPIS["response_length"].compute(rows)
    assert result.value == pytest.approx(np.mean([len("abc"), 0, len("naïve")]))
    assert (result.n, result.left_out) == (3, 1)
    assert KPIS["response_length"].higher_is_better is None


REFUSED = [
    "I’m sorry, but I can't help with that request.", "As an AI, I do not have opinions.",
    "Sorry, I can't share that.", "Unfortunately I cannot  provide medical advice.", "I must decline this one.",
]  # fmt: skip
ANSWERED = [
    "The bank is open until five.", "We're sorry for the delay; your parcel left today.", "I can help with that!",
    "You cannot exceed the limit of 500 dollars.", "He said " + "x" * 130 + " i cannot help",
]  # fmt: skip


def test_refusals_are_separated_from_answers_in_hand_labelled_examples() -> None:
    result = KPIS["refusal_rate"].compute(pl.DataFrame({"prediction": [*REFUSED, *ANSWERED, None]}))
    assert (result.value, result.n, result.left_out) == (0.5, 10, 1)
    for text in REFUSED:
        assert KPIS["refusal_rate"].compute(pl.DataFrame({"prediction": [text]})).value == 1.0, text


def test_model_solutions_of_sums_hold_no_refusal(shared_data: Path) -> None:
    rows = pl.read_parquet(shared_data / "gsm8k_model_solutions.parquet")
    assert KPIS["refusal_rate"].compute(rows.select(prediction="response")).value == 0.0


def test_the_phrases_are_written_as_answers_are_compared() -> None:
    assert all(p == p.lower().strip() and "’" not in p for p in PHRASES)
    assert len(set(PHRASES)) == len(PHRASES)


@pytest.mark.parametrize("name", ["response_length", "refusal_rate"])
def test_without_an_answer_a_kpi_of_answers_is_undefined(name: str) -> None:
    result = KPIS[name].compute(pl.DataFrame({"prediction": [None, None]}, schema={"prediction": pl.String}))
    assert (result.value, result.reason, result.left_out) == (None, "no row has an answer", 2)
