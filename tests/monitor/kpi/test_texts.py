"""KPIs of generated text against rouge-score and sacrebleu, on drawn words and on published model answers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from unicodedata import normalize

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
from monitor.kpi.references import without_own_answer

Pairs = list[tuple[str, str]]  # answer, reference
Form = Literal["NFC", "NFD"]
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


def _words(text: str) -> int:
    return len(BLEU().tokenizer(text).split())


def _is_bleu_defined(pairs: Pairs) -> bool:
    """Whether both sides have a run of four words; all answers empty are 0 whatever their runs would be."""
    longest = [max(_words(pair[side]) for pair in pairs) for side in (0, 1)]
    return longest[1] >= 4 and (longest[0] >= 4 or longest[0] == 0)


def frame(pairs: Pairs) -> pl.DataFrame:
    return pl.DataFrame({"prediction": [a for a, _ in pairs], "outcome": [r for _, r in pairs]})


@pytest.mark.parametrize("name", OVERLAP)
@given(drawn)
@settings(max_examples=25, deadline=None)
def test_a_kpi_of_texts_equals_its_outside_reference(name: str, pairs: Pairs) -> None:
    result = KPIS[name].compute(frame(pairs))
    top = 100.0 if name in ("bleu", "chrf_mean") else 1.0
    if name == "bleu" and not _is_bleu_defined(pairs):
        assert result.value is result.low is result.high is None
        assert "four words in a row" in str(result.reason)
        return
    assert result.value == pytest.approx(OVERLAP[name](pairs), rel=1e-9, abs=1e-9)
    assert result.value is not None
    assert 0.0 <= result.value <= top
    if name != "bleu":
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


# --- Unicode ----------------------------------------------------------------------------------------------------------

COMPOSED = [
    "Ça va très bien, merci.",
    "한국어로 답합니다 네 알겠습니다",
    "Ångström är en enhet för längd",
    "x² + y² = z²",
]
FORMS = [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD"), ("NFC", "NFC")]


@pytest.mark.parametrize(("answered", "asked"), FORMS)
def test_texts_that_are_equal_to_the_eye_are_equal(answered: Form, asked: Form) -> None:
    pairs = [(normalize(answered, text), normalize(asked, text)) for text in COMPOSED]
    assert {name: KPIS[name].compute(frame(pairs)).value for name in (*OVERLAP, "exact_match")} == {
        "bleu": 100.0, "chrf_mean": 100.0, "exact_match": 1.0, "rouge1": 1.0, "rouge_l": 1.0,
    }  # fmt: skip
    lengths = KPIS["response_length"].compute(frame(pairs)).value
    assert lengths == np.mean([len(text) for text in COMPOSED])


def test_compatibility_forms_stay_apart() -> None:
    pairs = [("x²", "x2"), ("ﬁn", "fin"), ("Ａ", "A"), ("\u212b", "\u00c5")]  # only the Ångström sign is canonical
    assert KPIS["exact_match"].compute(frame(pairs)).value == 0.25
    assert KPIS["chrf_mean"].compute(frame(pairs[:1])).value != 100.0


# --- short texts ------------------------------------------------------------------------------------------------------


def test_perfect_answers_shorter_than_four_words_have_no_bleu() -> None:
    result = KPIS["bleu"].compute(frame([("yes", "yes"), ("no thanks", "no thanks"), ("42", "42")]))
    assert (result.value, result.low, result.high, result.bounds) == (None, None, None, None)
    assert result.reason == "no reference has four words in a row, so not even a perfect answer could have a BLEU"
    assert (result.n, result.note) == (3, "0 of 3 answers have four words in a row")


def test_one_side_without_four_words_is_enough() -> None:
    long = "the quick brown fox jumps"
    assert KPIS["bleu"].compute(frame([("the quick", long)])).reason == (
        "no answer has four words in a row, so BLEU has no share of right ones"
    )
    assert KPIS["bleu"].compute(frame([(long, "the quick")])).value is None
    assert KPIS["bleu"].compute(frame([("", long), ("", long)])).value == 0.0  # the model owed an answer
    assert KPIS["bleu"].compute(frame([("", "")])).value is None


def test_the_answers_that_bear_a_bleu_are_counted_and_few_of_them_give_no_interval() -> None:
    long, short = ("a b c d e f", "a b c d e g"), ("yes", "yes")
    few = KPIS["bleu"].compute(frame([long, *[short] * 40]))
    assert few.note == "1 of 41 answers have four words in a row"
    assert few.value == pytest.approx(OVERLAP["bleu"]([long, *[short] * 40]))
    assert (few.low, few.high) == (None, None)  # a sample without the long row has none
    many = KPIS["bleu"].compute(frame([long, short] * 20))
    assert many.low is not None
    assert many.low <= (many.value or 0.0) <= (many.high or 0.0) <= 100.0
    whole = KPIS["bleu"].compute(frame([("a b c d e", "a b c d e")] * 2))
    assert (whole.value, whole.low, whole.high) == (100.0, 100.0, 100.0)  # sacrebleu says 100.00000000000004


@pytest.mark.parametrize("name", ["bleu", "chrf_mean"])
def test_a_row_whose_reference_is_empty_is_left_out_and_counted(name: str) -> None:
    text = "the quick brown fox jumps"
    result = KPIS[name].compute(frame([(text, text), ("", ""), (text, " \n")]))
    assert (result.value, result.n, result.left_out) == (100.0, 1, 2)


# --- several references -----------------------------------------------------------------------------------------------

lists = st.lists(st.tuples(sentence, st.lists(sentence.map(lambda s: f"{s} end of it all"), min_size=1, max_size=3)),
                 min_size=1, max_size=5)  # fmt: skip


def several(rows: list[tuple[str, list[str]]]) -> pl.DataFrame:
    outcomes = pl.Series("outcome", [r for _, r in rows], dtype=pl.List(pl.String))
    return pl.DataFrame([pl.Series("prediction", [a for a, _ in rows]), outcomes])


@given(lists)
@settings(max_examples=25, deadline=None)
def test_the_best_of_several_references_counts_as_the_outside_references_say(rows: list[tuple[str, list[str]]]) -> None:
    found = {name: KPIS[name].compute(several(rows)).value for name in (*OVERLAP, "exact_match")}
    kinds = {"rouge1": "rouge1", "rouge_l": "rougeL"}
    for name, kind in kinds.items():
        best = [ROUGE.score_multi(references, answer)[kind].fmeasure for answer, references in rows]
        assert found[name] == pytest.approx(np.mean(best), rel=1e-9)
    chrf = [CHRF().sentence_score(answer, references).score for answer, references in rows]
    assert found["chrf_mean"] == pytest.approx(np.mean(chrf), rel=1e-9)
    assert found["exact_match"] == np.mean([a.lower() in [r.lower() for r in many] for a, many in rows])
    most = max(len(references) for _, references in rows)
    streams = [[many[i] if i < len(many) else None for _, many in rows] for i in range(most)]
    corpus = BLEU().corpus_score([a for a, _ in rows], streams)  # type: ignore[arg-type]  # None: no such reference
    if corpus.totals[3] or not corpus.sys_len:
        assert found["bleu"] == pytest.approx(min(100.0, corpus.score), rel=1e-9)
    else:
        assert found["bleu"] is None


def test_an_answer_is_not_compared_with_itself_where_references_were_collected() -> None:
    own, other, twice = "a b c d e", "a b c d f", "a b c d g"
    answers = pl.Series([own, f" {normalize('NFD', 'é')} ", twice, own, "z", None])
    given_lists = pl.Series([[own, other], ["é"], [twice, twice], [other], None, [own]])
    assert without_own_answer(answers, given_lists).to_list() == [[other], [], [twice], [other], None, [own]]
    rows = pl.DataFrame({"prediction": answers, "outcome": without_own_answer(answers, given_lists)})
    result = KPIS["exact_match"].compute(rows)
    assert (result.value, result.n, result.left_out) == (0.25, 4, 1)
    assert KPIS["rouge1"].compute(rows.head(2)).value == pytest.approx(0.8)
    alone = KPIS["bleu"].compute(rows[1:2])
    assert (alone.value, alone.left_out) == (None, 1)
    assert "not the answer itself" in str(alone.reason)
