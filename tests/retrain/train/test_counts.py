"""Rows and tokens that give a gradient are counted before the first step, and too many cut ones stop a run there."""

from pathlib import Path

import polars as pl
import pytest

from retrain.train.counts import RowCounts, check_cut, cut_words
from retrain.train.data import answered_counts, classification_examples, completion_examples
from retrain.train.errors import CutRowsError, DataError
from tests.retrain.train import tiny

PAIRS = pl.DataFrame(
    {"prompt": ["my card is gone", "card " * 40, "my card is gone"], "completion": ["yes", "no", "no card " * 20]}
)


def test_completions_are_counted_by_row_and_token(tiny_causal_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(tiny_causal_base)
    examples, counts = completion_examples(PAIRS, tokenizer, 20)
    assert (counts.rows, counts.rows_learned, counts.rows_dropped, counts.rows_truncated) == (3, 2, 1, 1)
    assert counts.tokens == sum(len(e["input_ids"]) for e in examples)
    assert counts.tokens_learned == sum(label != -100 for e in examples for label in e["labels"][1:])
    whole, everything = completion_examples(PAIRS, tokenizer, 4096)
    assert counts.tokens + counts.tokens_cut == everything.tokens == sum(len(e["input_ids"]) for e in whole)
    assert everything.cut_share == 0.0


def test_a_held_out_prompt_that_is_cut_counts_as_cut_though_its_completion_is_scored(tiny_causal_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer
    from retrain.train.model import load_generator

    counts = answered_counts(PAIRS, load_tokenizer(tiny_causal_base), 20)
    assert (counts.rows_dropped, counts.rows_truncated) == (0, 2)
    scored = load_generator(tiny_causal_base, threads=1, max_length=20).token_logprobs(
        PAIRS["prompt"].to_list(), PAIRS["completion"].to_list()
    )
    assert counts.tokens_learned == sum(len(row) for row in scored)


def test_a_held_out_pair_counts_both_answers_however_many_letters_they_have(tiny_causal_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(tiny_causal_base)
    short, long = "we will look at your handset", "a? b? c? d? e? f? g? h? i"  # of tokens; letters say the opposite
    assert len(tokenizer(short)["input_ids"]) < len(tokenizer(long)["input_ids"])
    for chosen, rejected in ((short, long), (long, short)):
        frame = pl.DataFrame({"prompt": ["my card is gone"], "chosen": [chosen], "rejected": [rejected]})
        counts = answered_counts(frame, tokenizer, 18)
        assert (counts.rows, counts.rows_truncated) == (1, 1)
        assert answered_counts(frame, tokenizer, 4096).cut_share == 0.0


def test_texts_are_counted_without_the_tokens_that_the_tokenizer_adds(tiny_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(tiny_base)
    frame = pl.DataFrame({"text": ["my card is gone", "card " * 40, ""], "label": ["card"] * 3})
    examples, counts = classification_examples(frame, tiny.OLD, tokenizer, 24)
    assert (counts.rows, counts.rows_learned, counts.rows_dropped, counts.rows_truncated) == (3, 2, 1, 1)
    assert counts.tokens == counts.tokens_learned == sum(len(e["input_ids"]) for e in examples)
    assert counts.tokens_cut > 0
    added = len(tokenizer("")["input_ids"])
    if added > 1:
        with pytest.raises(DataError, match=f"no row has a token of its text within max_length={added}"):
            classification_examples(frame, tiny.OLD, tokenizer, added)


def counts(dropped: int, truncated: int, rows: int = 100) -> RowCounts:
    return RowCounts(rows, rows - dropped, dropped, truncated, 500, 500, 40)


@pytest.mark.parametrize(("lost", "most"), [(1, 0.01), (0, 0.0), (100, 1.0), (100, None)])
def test_a_share_at_the_cap_passes(lost: int, most: float | None) -> None:
    check_cut({"train": counts(lost, 0), "eval": counts(0, lost)}, 24, most)


def test_every_set_past_the_cap_is_told_with_its_figures_and_the_keys() -> None:
    sets = {"train": counts(1, 1), "eval": counts(0, 0), "holdout": counts(0, 3)}
    with pytest.raises(CutRowsError) as refused:
        check_cut(sets, 24, 0.01)
    passed = {one["limit"]: one["measured"] for one in refused.value.facts["passed"]}
    assert passed == {"max_cut_share.train": 0.02, "max_cut_share.holdout": 0.03}
    for words in (
        "max_length 24 drops 1 and cuts 1 of 100 training rows (40 of 540 tokens): 2.0%", "3.0%",
        "retrain.recipe.max_length", "retrain.envelope.max_cut_share",
    ):  # fmt: skip
        assert words in refused.value.message
    assert "allows 1.0%" in cut_words(sets["train"], "train", 24, 0.01)


def test_an_empty_set_loses_nothing() -> None:
    check_cut({"holdout": counts(0, 0, rows=0)}, 24, 0.0)
