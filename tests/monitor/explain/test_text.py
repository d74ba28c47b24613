"""Word attributions, on models whose Shapley values are known."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import InvalidError
from monitor.explain.text import Reading, explain_text, explain_texts

WEIGHTS = {"lost": 0.3, "card": 0.2, "my": -0.1}


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float64]:
    first = np.array([0.2 + sum(WEIGHTS.get(word.strip(",."), 0.0) for word in text.split()) for text in texts])
    return np.column_stack([first, 1.0 - first])


def both_words(texts: Sequence[str]) -> NDArray[np.float64]:
    """0.9 with both words, 0.1 otherwise: by symmetry each is worth half of the difference."""
    first = np.array([0.9 if {"not", "bad"} <= set(text.split()) else 0.1 for text in texts])
    return np.column_stack([first, 1.0 - first])


def test_in_a_linear_model_each_word_is_worth_its_weight() -> None:
    explanation = explain_text("I lost my card, please help", bag_of_words, 0)
    assert [w.word for w in explanation.words] == ["I", "lost", "my", "card,", "please", "help"]
    assert [w.value for w in explanation.words] == pytest.approx([0.0, 0.3, -0.1, 0.2, 0.0, 0.0], abs=1e-9)
    assert explanation.base_value == pytest.approx(0.2)
    assert explanation.output == pytest.approx(0.6)
    assert explanation.residual < 1e-9


def test_two_words_that_matter_only_together_share_the_effect() -> None:
    explanation = explain_text("not bad", both_words, 0)
    assert [w.value for w in explanation.words] == pytest.approx([0.4, 0.4])


def test_the_other_label_has_the_opposite_values() -> None:
    one, other = (explain_text("I lost my card", bag_of_words, label) for label in (0, 1))
    assert [w.value for w in one.words] == pytest.approx([-(w.value or 0.0) for w in other.words])


def test_the_residual_stays_small_when_a_long_text_is_cut_short_of_evaluations() -> None:
    explanation = explain_text("I lost my card yesterday in the shop " * 10, bag_of_words, 0, max_evals=40)
    assert explanation.residual < 1e-9
    assert explanation.evals < 80


def test_one_word_takes_all_and_the_same_seed_gives_the_same_values() -> None:
    explanation = explain_text("card", bag_of_words, 0)
    assert explanation.words[0].value == pytest.approx(0.2)
    assert explain_text("lost my card", bag_of_words, 0, seed=5) == explain_text(
        "lost my card", bag_of_words, 0, seed=5
    )


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="no words"):
        explain_text(text, bag_of_words, 0)


def test_an_output_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidError, match="label_index is 2"):
        explain_text("my card", bag_of_words, 2)


def test_chinese_is_explained_word_by_word_and_the_text_is_kept() -> None:
    def model(texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([[0.1 + 0.5 * ("丢" in text) + 0.2 * ("银行" in text), 0.3] for text in texts])

    found = explain_text("我的银行卡丢了，请帮我。", model, 0)
    assert "".join(w.piece for w in found.words) == "我的银行卡丢了，请帮我。"
    assert {w.word: round(w.value or 0, 6) for w in found.words if w.value} == {"银行": 0.2, "卡丢": 0.5}
    assert [one.residual < 1e-9 for one in found.outputs] == [True, True]


def test_words_that_the_model_does_not_read_have_no_value() -> None:
    def first_three(texts: Sequence[str]) -> NDArray[np.float64]:
        return bag_of_words([" ".join(text.split()[:3]) for text in texts])

    def end_of_third(text: str) -> tuple[int, int]:
        return 0, len(" ".join(text.split(" ")[:3]))

    text = "my card is lost and lost"
    reading = Reading(window=end_of_third, limit="the model reads 3 tokens")
    (found,) = explain_texts([text], lambda asked: first_three([t for _, t in asked]), [0], reading=reading)
    assert [w.value is None for w in found.words] == [False, False, False, True, True, True]
    assert found.notes == ("the model reads 3 tokens: of 6 words the last 3 were not read and have no value",)
    assert found.words[1].value == pytest.approx(0.2)
    assert found.residual < 1e-9
    assert "".join(w.piece for w in found.words) == text


def test_what_does_not_add_up_gives_no_reasons() -> None:
    """A model that answers the unchanged text otherwise when it is asked alone."""
    calls = 0

    def moody(texts: Sequence[str]) -> NDArray[np.float64]:
        nonlocal calls
        calls += 1
        return np.asarray(bag_of_words(texts) + np.array([0.0, 0.01 if calls == 1 else 0.0]))

    found = explain_text("I lost my card", moody, 0)
    assert found.state == "withheld"
    assert "for '1' base value plus sum is off by 0.01" in str(found.reason)
    assert [w.value for w in found.words] == [None] * 4
    assert [round(one.residual, 6) for one in found.outputs] == [0.0, 0.01]


def test_a_model_that_gives_no_number_is_refused() -> None:
    with pytest.raises(InvalidError, match="not finite"):
        explain_text("I lost my card", lambda texts: np.full((len(texts), 2), np.nan), 0)


def test_texts_that_lack_the_same_words_are_asked_once() -> None:
    asked = 0

    def counted(texts: Sequence[str]) -> NDArray[np.float64]:
        nonlocal asked
        asked += len(texts)
        return bag_of_words(texts)

    alone = explain_text("I lost my card", counted, 0)
    assert asked == (once := alone.evals)
    asked = 0
    found = explain_texts(["I lost my card"] * 5, lambda pairs: counted([t for _, t in pairs]), [0] * 5)
    assert found == [alone] * 5
    assert asked <= once
