"""Decisions of tiny models, explained as a process is asked for them."""

from pathlib import Path
from typing import Any

import pytest

from retrain.evals.config import ModelFiles
from retrain.evals.explain import Kept, answered
from retrain.evals.explained.base import Asked, Decision, ExplainedModel
from tests.retrain.train import tiny


def asked(base: Path, *decisions: tuple[str, str | None], **more: Any) -> dict[str, Any]:
    task, length = more.pop("task", "sequence_classification"), more.pop("max_length", 24)
    model = ExplainedModel(files=ModelFiles(base_dir=base, quantise=False), task=task, max_length=length)
    found = tuple(Decision(input=text, answer=answer) for text, answer in decisions)
    return Asked(model=model, decisions=found, **more).model_dump(mode="json")


@pytest.fixture(scope="module")
def kept() -> Kept:
    return Kept()


def test_decisions_are_explained_together_and_each_refusal_stands_alone(tiny_base: Path, kept: Kept) -> None:
    request = asked(
        tiny_base, ("my card is gone", "Card"), ("where is the money now", None), ("my card is gone", "escalated"),
        (" \n", "card"), ("我的银行卡丢了 card", "card"),
    )  # fmt: skip
    first, second, unknown, empty, chinese = answered(kept, request)
    assert (first["label"], first["state"], first["unit"]) == ("card", "explained", "probability")
    assert [w["word"] for w in first["words"]] == ["my", "card", "is", "gone"]
    assert max(first["words"], key=lambda w: w["value"])["word"] == "card"
    assert sorted(one["label"] for one in first["outputs"]) == sorted(tiny.OLD)
    assert max(one["residual"] for one in first["outputs"]) < 1e-5
    assert second["label"] == second["model_answer"] == "money"
    assert unknown["error"]["code"] == "unknown_answer"
    assert "escalated" in unknown["error"]["message"]
    assert "no words" in empty["error"]["message"]
    assert "".join(w["piece"] for w in chinese["words"]) == "我的银行卡丢了 card"
    assert len(chinese["words"]) > 4


def test_words_behind_the_longest_text_are_told_as_not_read(tiny_base: Path, kept: Kept) -> None:
    text = "my card is gone " * 3 + "where is the money"
    (found,) = answered(kept, asked(tiny_base, (text, "card"), max_length=8))
    assert [w["value"] is None for w in found["words"]][-4:] == [True] * 4
    assert found["words"][1]["value"] is not None
    assert "the model reads 8 tokens: of 16 words the last" in found["notes"][0]
    assert max(one["residual"] for one in found["outputs"]) < 1e-5


def test_an_answer_of_a_language_model_is_explained_by_its_log_probability(tiny_causal_base: Path, kept: Kept) -> None:
    answer = "we will look at your card"
    request = asked(
        tiny_causal_base, ("my card is gone", answer), ("my card is gone", " "), task="causal_lm", max_length=64
    )
    found, empty = answered(kept, request)
    assert found["label"] == answer
    assert found["unit"].startswith("nats")
    from retrain.train.model import load_generator

    generator = load_generator(tiny_causal_base, quantise=False, max_length=64)
    (whole,) = generator.token_logprobs(["my card is gone"], [answer])
    assert found["output"] == pytest.approx(float(whole.sum()), abs=1e-3)
    assert found["base_value"] + sum(w["value"] for w in found["words"]) == pytest.approx(found["output"], abs=1e-3)
    assert found["residual"] < found["tolerance"]
    assert "the answer is empty" in empty["error"]["message"]


def test_of_a_long_question_the_end_is_read(tiny_causal_base: Path, kept: Kept) -> None:
    text = "where is the money " * 6 + "my card is gone"
    answer = "we will look at your card"
    (found,) = answered(kept, asked(tiny_causal_base, (text, answer), task="causal_lm", max_length=24))
    assert found["words"][0]["value"] is None
    assert all(w["value"] is not None for w in found["words"][-4:])
    assert found["residual"] < found["tolerance"]
    (short,) = answered(kept, asked(tiny_causal_base, (text, answer), task="causal_lm", max_length=4))
    assert "leave no room" in short["error"]["message"]


def test_a_conversation_is_explained_by_the_words_of_its_last_turn(tiny_causal_base: Path, kept: Kept) -> None:
    from retrain.evals.explained.written import last_turn

    text = '[{"role": "system", "content": "be brief"}, {"role": "user", "content": "my \\"card\\" is gone"}]'
    begun, said, written = last_turn(text)
    assert said == 'my "card" is gone'
    assert begun + written(said) == text
    assert last_turn("my card") == ("", "my card", str)


def test_a_task_without_explanations_says_so(tiny_base: Path, kept: Kept) -> None:
    model = ExplainedModel(files=ModelFiles(base_dir=tiny_base / "none"), task="sequence_classification")
    found = answered(kept, Asked(model=model, decisions=(Decision(input="a"),)).model_dump(mode="json"))
    assert found[0]["error"]["code"]
    assert isinstance(found[0]["error"]["message"], str)


def test_second_opinions_stand_beside_the_record_with_their_agreement(tiny_base: Path, kept: Kept) -> None:
    names = ("attention", "integrated_gradients", "lime")
    (found,) = answered(kept, asked(tiny_base, ("please my card is gone", "card"), opinions=names))
    opinions = found["opinions"]
    assert {name: one["reason"] for name, one in opinions.items()} == dict.fromkeys(names)
    for one in opinions.values():
        assert len(one["values"]) == 5
        assert -1 <= one["agreement"]["rank_correlation"] <= 1
        assert one["agreement"]["top"] == 5
    lime, gradients, looked = opinions["lime"], opinions["integrated_gradients"], opinions["attention"]
    assert max(range(5), key=lambda i: lime["values"][i]) == 2
    assert lime["agreement"]["rank_correlation"] > 0.5
    assert abs(gradients["delta"]) < 0.05
    assert sum(gradients["values"]) == pytest.approx(found["output"], abs=0.5)
    assert 0 <= sum(looked["values"]) <= 1 + 1e-6
    assert "not why it answered" in looked["says"]


def test_an_answer_of_a_language_model_has_second_opinions_too(tiny_causal_base: Path, kept: Kept) -> None:
    names = ("attention", "integrated_gradients", "lime")
    answer = "we will look at your card"
    request = asked(tiny_causal_base, ("my card is gone", answer), task="causal_lm", max_length=64, opinions=names)
    (found,) = answered(kept, request)
    opinions = found["opinions"]
    assert {name: one["reason"] for name, one in opinions.items()} == dict.fromkeys(names)
    assert all(value is not None for one in opinions.values() for value in one["values"])
    assert abs(opinions["integrated_gradients"]["delta"]) < 0.5
