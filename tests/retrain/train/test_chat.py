"""A base with a chat template is trained and asked in its own format, as the library itself renders it."""

import json
from typing import Any

import polars as pl
import pytest

from retrain.train.chat import ChatFormat, Parts, PlainFormat, text_format
from retrain.train.chat_keys import Chat
from retrain.train.config import Recipe
from retrain.train.conversation import Dropped
from retrain.train.data import answered_counts, completion_examples, pair_examples
from retrain.train.errors import DataError
from tests.retrain.train.chat_bases import FAMILIES, conversation, tokenizer, written

EARLIER = ("my card is gone", "we will look at your card", "please help with a device")
ANSWER = "we will look at your device"


def row(made: Any, asked: str, answer: str = ANSWER, **chat: Any) -> Parts:
    (found,) = ChatFormat(made, Chat(**chat)).rows([asked], [answer])
    assert isinstance(found, Parts), found
    return found


def said(made: Any, labels: list[int]) -> str:
    return str(made.decode([label for label in labels if label != -100]))


def example(made: Any, asked: str, max_length: int = 4096, **chat: Any) -> dict[str, list[int]]:
    frame = pl.DataFrame({"prompt": [asked], "completion": [ANSWER]})
    (found,), _ = completion_examples(frame, made, max_length, Chat(**chat))
    return found


@pytest.mark.parametrize("family", ["chatml", "llama", "mistral", "thinking"])
@pytest.mark.parametrize("texts", [EARLIER[:1], EARLIER])
def test_the_tokens_are_those_of_the_library_and_only_the_answer_and_its_end_are_learned(
    family: str, texts: tuple[str, ...]
) -> None:
    made = tokenizer(family)
    found = example(made, written(*texts))
    whole = made.apply_chat_template(conversation(*texts, ANSWER), tokenize=True, return_dict=False)
    asked = made.apply_chat_template(conversation(*texts), tokenize=True, return_dict=False, add_generation_prompt=True)
    assert found["input_ids"] == whole[: len(found["input_ids"])]  # behind the end a template may put a line break
    assert not made.decode(whole[len(found["input_ids"]) :], skip_special_tokens=True).strip()
    assert found["input_ids"][: len(asked)] == asked
    assert found["labels"] == [-100] * len(asked) + found["input_ids"][len(asked) :]
    ends = {"chatml": "<|im_end|>", "llama": "<|eot_id|>", "mistral": "</s>", "thinking": "<|im_end|>"}
    assert made.convert_ids_to_tokens(found["labels"][-1]) == ends[family]
    assert ANSWER in said(made, found["labels"])
    assert found["input_ids"].count(made.bos_token_id) == (family in ("llama", "mistral"))


def test_a_text_is_the_message_of_a_user_and_a_system_prompt_stands_where_none_was_given() -> None:
    made = tokenizer("chatml")
    assert row(made, EARLIER[0]) == row(made, written(EARLIER[0]))
    told = row(made, EARLIER[0], system="be brief")
    assert told == row(made, written(EARLIER[0], system="be brief"))
    assert told == row(made, written(EARLIER[0], system="be brief"), system="another one")


def test_all_answers_are_learned_where_the_recipe_says_so_and_scored_is_the_last() -> None:
    made = tokenizer("llama")
    found = example(made, written(*EARLIER), learn="all")
    assert said(made, found["labels"]) == f"{EARLIER[1]}<|eot_id|>{ANSWER}<|eot_id|>"
    assert found["input_ids"] == example(made, written(*EARLIER))["input_ids"]
    rows = pl.DataFrame({"prompt": [written(*EARLIER)], "completion": [ANSWER]})
    assert answered_counts(rows, made, 4096, Chat(learn="all")) == answered_counts(rows, made, 4096, Chat())


def test_a_template_that_opens_answers_in_another_way_is_followed_as_when_the_model_writes() -> None:
    made = tokenizer("opened")
    parts = row(made, EARLIER[0])
    asked = made.apply_chat_template(
        conversation(EARLIER[0]), tokenize=True, return_dict=False, add_generation_prompt=True
    )
    assert parts.head == asked
    assert made.decode(parts.tail) == f"{ANSWER}</s>"
    assert made.decode(row(tokenizer("endless"), EARLIER[0]).tail) == f"{ANSWER}</s>"


def test_a_long_conversation_is_cut_from_the_left_and_its_answer_never() -> None:
    made = tokenizer("llama")
    whole, frame = example(made, written(*EARLIER)), {"prompt": [written(*EARLIER)], "completion": [ANSWER]}
    answer = [label for label in whole["labels"] if label != -100]
    least = 1 + ChatFormat(made, Chat()).opening + 1 + len(answer)
    for length in range(least, len(whole["input_ids"])):
        (cut,), counts = completion_examples(pl.DataFrame(frame), made, length, Chat(learn="all"))
        assert len(cut["input_ids"]) == length
        assert cut["input_ids"][0] == made.bos_token_id
        assert cut["input_ids"][1:] == whole["input_ids"][-(length - 1) :]
        assert all(label in (-100, token) for label, token in zip(cut["labels"], cut["input_ids"], strict=True))
        assert cut["labels"][-len(answer) :] == answer
        assert (counts.rows_truncated, counts.rows_dropped, counts.dropped_for) == (1, 0, {})
    with pytest.raises(DataError, match=f"within max_length={least - 1}"):
        completion_examples(pl.DataFrame(frame), made, least - 1, Chat())


MALFORMED = {
    "[]": "the conversation is empty",
    '{"messages": []}': "the conversation is empty",
    '[{"role": "robot", "content": "a"}]': "a message has an unknown role",
    '[{"role": "user", "content": "a"}, {"content": "b"}]': "a message has no role",
    '[{"role": "user", "content": "a"}, "b"]': "a message is no JSON object",
    '[{"role": "user", "content": "  "}]': "a message has no text",
    '[{"role": "user", "content": null}]': "a message has no text",
    '[{"role": "user", "content": "a"': "the conversation is no whole JSON",
    '[{"role": "system", "content": "a"}]': "no turn of the user is answered",
    '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]': "the last turn is the assistant's",
    '[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]': "the chat template refuses",
    '[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]': "the chat template refuses",
    '[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]': "a message holds more than text",
}


def test_a_malformed_conversation_is_dropped_and_counted_with_its_reason() -> None:
    made = tokenizer("mistral")
    frame = pl.DataFrame({"prompt": [*MALFORMED, EARLIER[0]], "completion": [ANSWER] * (len(MALFORMED) + 1)})
    rows = ChatFormat(made, Chat()).rows(frame["prompt"].to_list(), frame["completion"].to_list())
    for (text, why), found in zip(MALFORMED.items(), rows[:-1], strict=True):
        assert isinstance(found, Dropped), text
        assert found.reason.startswith(why), text
    examples, counts = completion_examples(frame, made, 4096, Chat())
    assert (len(examples), counts.rows_dropped, counts.rows_truncated) == (1, len(MALFORMED), 0)
    assert sum(counts.dropped_for.values()) == len(MALFORMED)
    assert counts.record()["dropped_for"]["the conversation is empty"] == 2
    with pytest.raises(DataError, match=r"13 cannot be read|12 where|where the"):
        completion_examples(frame.head(3), made, 4096, Chat())


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", '["a", "b"]', '{"a": 1}', "[card] is gone", '[{"code": 1}]', "[]x"],
)
def test_other_json_is_the_text_that_it_is(text: str) -> None:
    made = tokenizer("chatml")
    shown = made.apply_chat_template(conversation(text), tokenize=False, add_generation_prompt=True)
    assert row(made, text).head == made(shown, add_special_tokens=False)["input_ids"]


def test_shapes_in_which_conversations_are_stored_are_one() -> None:
    made = tokenizer("chatml")
    plain = row(made, written(*EARLIER))
    messages = conversation(*EARLIER)
    parts = [{"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]} for m in messages]
    listed = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    for shape in (parts, listed, {"messages": messages}):
        assert row(made, json.dumps(shape)) == plain


def test_without_a_template_texts_are_learned_as_they_are() -> None:
    made = tokenizer("endless")
    made.chat_template = None
    assert isinstance(text_format(made, Chat()), PlainFormat)
    with pytest.raises(DataError, match=r"chat\.template: is base"):
        text_format(made, Chat(template="base"))
    for family in FAMILIES:
        assert isinstance(text_format(tokenizer(family), Chat(template="none")), PlainFormat)


@pytest.mark.parametrize(
    ("family", "chat", "words"),
    [
        ("mistral", {"system": "be brief"}, r"chat\.system: .*roles must alternate"),
        ("thinking", {"learn": "all"}, r"chat\.learn: is all"),
        ("endless", {"learn": "all"}, r"chat\.learn: is all"),
    ],
)
def test_what_a_template_cannot_do_is_refused(family: str, chat: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        ChatFormat(tokenizer(family), Chat(**chat)).check()


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages", "{{ 'nothing' }}", "{{ messages[0]['content'] }}",
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{% for m in messages %}{{ m['content'][:3] }}{% endfor %}",
    ],
)  # fmt: skip
def test_a_template_that_shows_no_conversation_is_refused(template: str) -> None:
    made = tokenizer("chatml")
    made.chat_template = template
    with pytest.raises(
        DataError, match=r"retrain\.recipe\.chat\.template: the chat template of the base cannot be used"
    ):
        text_format(made, Chat())


def test_pairs_of_answers_stand_in_the_same_conversation() -> None:
    made = tokenizer("chatml")
    frame = pl.DataFrame({"prompt": [written(*EARLIER), "[]"], "chosen": [ANSWER] * 2, "rejected": ["no"] * 2})
    (pair,), counts = pair_examples(frame, made, 4096, Chat())
    assert (counts.rows, counts.rows_dropped, counts.dropped_for) == (2, 1, {"the conversation is empty": 1})
    assert said(made, pair["chosen"]["labels"]) == f"{ANSWER}<|im_end|>"
    assert said(made, pair["rejected"]["labels"]) == "no<|im_end|>"


@pytest.mark.parametrize(
    ("task", "chat", "words"),
    [
        ("sequence_classification", {"system": "be brief"}, "writes no answers"),
        ("dpo", {"learn": "all"}, "learn"),
        ("causal_lm", {"template": "none", "system": "be brief"}, "system"),
        ("causal_lm", {"template": "none", "learn": "all"}, "learn"),
        ("causal_lm", {"template": "mine"}, "template"),
        ("causal_lm", {"system": " "}, "system"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(task: str, chat: dict[str, str], words: str) -> None:
    more = {"preference": {"other": "a", "outcome": "b"}} if task == "dpo" else {}
    with pytest.raises(ValueError, match=words):
        Recipe.model_validate({"base_model": "./x", "task": task, "chat": chat} | more)
