"""Word attributions, on models whose Shapley values are known."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import InvalidError
from monitor.explain.text import explain_text

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
    assert [w.value for w in one.words] == pytest.approx([-w.value for w in other.words])


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
