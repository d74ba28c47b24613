"""What instrumentations send that no convention foresees: it is read, or it is null; it is never something else."""

import json
from typing import Any

import pytest

from monitor.ingest.otlp.fields import getter
from monitor.ingest.otlp.kinds import kind_of
from tests.monitor.ingest.otlp.requests import span
from tests.monitor.ingest.otlp.test_mapping import events, spans

REQUEST = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Weather?"}], "temperature": 0})
USER = {"role": "user", "content": "Weather?"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def one(attributes: dict[str, Any], **more: Any) -> Any:
    return spans(span(1, attributes, **more))[0]


def said(attributes: dict[str, Any], **more: Any) -> tuple[Any, Any]:
    made = one(attributes, **more)
    return getter(("input",))(made), getter(("output",))(made)


CONVERSATIONS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a list that starts at 1": (
        {"input.value": REQUEST, "llm.input_messages.1.message.role": "user",
         "llm.input_messages.1.message.content": "Weather?", "output.value": '{"id": "resp_1", "object": "response"}',
         "llm.output_messages.1.message.role": "assistant", "llm.output_messages.1.message.content": "Rainy"},
        "Weather?", "Rainy"),
    "holes, and a list in the order of its numbers": (
        {"llm.input_messages.10.message.role": "user", "llm.input_messages.10.message.content": "last",
         "llm.input_messages.9.message.role": "user", "llm.input_messages.9.message.content": "first",
         "llm.output_messages.0.message.role": "assistant",
         "llm.output_messages.3.message.role": "assistant",
         "llm.output_messages.3.message.contents.2.message_content.type": "text",
         "llm.output_messages.3.message.contents.2.message_content.text": "Rainy"},
        "last", "Rainy"),
    "messages that only have a role": (
        {"input.value": REQUEST, "output.value": REQUEST, "llm.input_messages.0.message.role": "user",
         "llm.output_messages.0.message.role": "assistant"},
        None, None),
    "a failed call with the request alone": ({"input.value": REQUEST}, "Weather?", None),
    "a failed call whose response is an error": (
        {"input.value": REQUEST, "output.value": '{"error": {"message": "overloaded", "code": 529}}'},
        "Weather?", None),
    "a request in no known shape": (
        {"input.value": '{"model": "m", "temperature": 1}', "output.value": '{"object": "list", "data": []}'},
        None, None),
    "a whole response of Cohere": (
        {"input.value": REQUEST, "output.value": json.dumps({"id": "c", "finish_reason": "COMPLETE",
         "message": {"role": "assistant", "content": [{"type": "text", "text": "Rainy"}]}})},
        "Weather?", "Rainy"),
    "a whole request and response of OpenAI": (
        {"input.value": REQUEST, "output.value": json.dumps({"id": "chatcmpl-1", "object": "chat.completion",
         "choices": [{"message": {"role": "assistant", "content": "Rainy"}}, {"message": {"content": "Dry"}}]})},
        "Weather?", "Rainy"),
    "a whole request and response of the Responses API": (
        {"input.value": '{"model": "m", "input": "Weather?"}', "output.value": json.dumps({"id": "r", "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Rainy"}]}]})},
        "Weather?", "Rainy"),
    "a whole request and response of Gemini": (
        {"input.value": '{"contents": [{"role": "user", "parts": [{"text": "Weather?"}]}]}',
         "output.value": '{"candidates": [{"content": {"role": "model", "parts": [{"text": "Rainy"}]}}]}'},
        "Weather?", "Rainy"),
    "messages of LangChain": (
        {"input.value": json.dumps({"messages": [[{"lc": 1, "type": "constructor", "id": ["x", "HumanMessage"],
                                                   "kwargs": {"content": "Weather?"}}]]}),
         "output.value": json.dumps({"generations": [[{"text": "Rainy", "message": {"kwargs":
                                                                  {"content": "Rainy"}}}]]})},
        "Weather?", "Rainy"),
    "an empty list, and an empty text": ({"gen_ai.input.messages": "[]", "gen_ai.output.messages": " "}, None, None),
    "a turn without content after another": (
        {"gen_ai.input.messages": [USER, {"role": "user", "content": None}]}, None, None),
    "several answers": (
        {"gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}]},
                                    {"role": "assistant", "parts": [{"type": "text", "content": "Rainy"}]},
                                    {"role": "assistant", "parts": [{"type": "text", "content": "Dry"}]}]},
        None, "Rainy"),
    "the result of a tool is nobody's turn": (
        {"gen_ai.input.messages": [USER, {"role": "user", "content": [{"type": "tool_result", "content": "57 F"}]}]},
        "Weather?", None),
    "instructions and tools beside the messages": (
        {"gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}], "gen_ai.tool.definitions": "[]",
         "gen_ai.input.messages": json.dumps([USER])}, "Weather?", None),
    "an answer that is refused": (
        {"gen_ai.output.messages": [{"role": "assistant", "content": None, "refusal": "I cannot."}]},
        None, "I cannot."),
}  # fmt: skip
MEDIA: dict[str, tuple[dict[str, Any], str]] = {
    "OpenAI": ({"gen_ai.input.messages": [USER, {"role": "user", "content": [PICTURE]}]}, "[image]"),
    "OpenTelemetry, a blob": (
        {"gen_ai.input.messages": [USER, {"role": "user", "parts": [
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "AA"}]}]}, "[audio]"),
    "OpenTelemetry, a file": (
        {"gen_ai.input.messages": [USER, {"role": "user", "parts": [
            {"type": "uri", "mime_type": "application/pdf", "uri": "https://a/b.pdf"}]}]}, "[file]"),
    "Gemini": ({"gen_ai.input.messages": json.dumps([USER, {"role": "user", "parts": [
        {"inline_data": {"mime_type": "image/png", "data": "AA"}}]}])}, "[image]"),
    "Anthropic": ({"gen_ai.input.messages": [USER, {"role": "user", "content": [
        {"type": "document", "source": {}}, {"type": "image", "source": {}}]}]}, "[file] [image]"),
    "OpenInference": (
        {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Weather?",
         "llm.input_messages.1.message.role": "user",
         "llm.input_messages.1.message.contents.0.message_content.type": "image",
         "llm.input_messages.1.message.contents.0.message_content.image.image.url": "data:..."}, "[image]"),
    "OpenInference, without a type": (
        {"llm.input_messages.1.message.role": "user",
         "llm.input_messages.1.message.contents.0.message_content.image.image.url": "data:..."}, "[image]"),
    "OpenLLMetry": (
        {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Weather?", "gen_ai.prompt.1.role": "user",
         "gen_ai.prompt.1.content": json.dumps([PICTURE])}, "[image]"),
    "with words": (
        {"gen_ai.input.messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": "What?"}]}]},
        "What?"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_question_and_answer_are_the_parts_that_exist(name: str) -> None:
    attributes, question, answer = CONVERSATIONS[name]
    assert said({"openinference.span.kind": "LLM", **attributes}) == (question, answer)


@pytest.mark.parametrize("name", MEDIA)
def test_a_turn_without_words_is_marked_by_its_medium(name: str) -> None:
    attributes, question = MEDIA[name]
    assert said(attributes)[0] == question


def test_the_arguments_of_a_tool_stay_as_they_are() -> None:
    given = {"openinference.span.kind": "TOOL", "input.value": '{"id": 3, "city": "Paris"}', "output.value": '["wet"]'}
    assert said(given) == ('{"id": 3, "city": "Paris"}', '["wet"]')


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "acompletion"}, "llm"),
        ({"gen_ai.operation.name": "aresponses"}, "llm"),
        ({"gen_ai.operation.name": "anthropic_messages"}, "llm"),
        ({"gen_ai.operation.name": "brand_new"}, "llm"),
        ({"gen_ai.operation.name": "Chat"}, "llm"),
        ({"gen_ai.operation.name": "aembedding"}, "embedding"),
        ({"gen_ai.operation.name": "arerank"}, "reranker"),
        ({"gen_ai.operation.name": "amoderation"}, "guardrail"),
        ({"gen_ai.operation.name": "call_mcp_tool"}, "tool"),
        ({"gen_ai.operation.name": "", "gen_ai.request.model": "m"}, "llm"),
        ({"openinference.span.kind": "PROMPT", "llm.model_name": "m", "llm.token_count.prompt": 3}, "llm"),
        ({"openinference.span.kind": "PROMPT"}, "other"),
        ({"gen_ai.request.model": "m", "http.request.method": "POST"}, "other"),
        ({"gen_ai.request.model": "m", "cache.hit": False}, "other"),
        ({"gen_ai.request.model": "m", "db.system.name": "redis"}, "other"),
        ({"gen_ai.request.model": "m", "url.full": "https://api.openai.com"}, "other"),
        ({"gen_ai.request.model": "m", "url.full": "https://a", "gen_ai.usage.input_tokens": 3}, "llm"),
    ],
)
def test_a_call_of_a_model_is_known_whatever_its_operation_is_called(attributes: dict[str, Any], kind: str) -> None:
    made = span(1)
    made["attributes"] = attributes
    assert kind_of(spans(made)[0]) == kind


@pytest.mark.parametrize(
    ("name", "attributes", "kind"),
    [
        ("chat m", {"http.response.status_code": 429, "error.type": "429"}, "llm"),
        ("openai.chat", {"http.status_code": 500}, "llm"),
        ("get_answer", {}, "llm"),
        ("post-process", {}, "llm"),
        ("batch_completion", {"gen_ai.operation.name": "batch_completion"}, "llm"),
        ("/v1/chat/completions", {"gen_ai.operation.name": "chat", "http.request.method": "POST"}, "other"),
        ("chat m", {"gen_ai.operation.name": "chat", "http.request.method": "POST"}, "llm"),
        ("cache lookup", {"gen_ai.operation.name": "chat", "cache.hit": False}, "other"),
    ],
)
def test_a_call_that_was_refused_stays_a_call(name: str, attributes: dict[str, Any], kind: str) -> None:
    made = one({}, name=name)
    made.attributes = {"gen_ai.request.model": "m", **attributes}
    assert kind_of(made) == kind


@pytest.mark.parametrize("name", ["POST", "cache.get", "redis GET", "retry 2", "guard: pii", "guardrail_check"])
def test_a_span_that_only_carries_the_name_of_a_model_is_no_call(name: str) -> None:
    made = span(1, name=name)
    made["attributes"] = {"gen_ai.request.model": "m"}
    assert kind_of(spans(made)[0]) == "other"


@pytest.mark.parametrize(
    ("field", "attributes", "value"),
    [
        ("model", {"gen_ai.response.model": "", "gen_ai.request.model": "m"}, "m"),
        ("model", {"gen_ai.response.model": " ", "llm.model_name": "m", "gen_ai.request.model": ""}, "m"),
        ("finish_reason", {"gen_ai.response.finish_reasons": '["stop"]'}, "stop"),
        ("finish_reason", {"gen_ai.response.finish_reasons": ["tool_call"]}, "tool_calls"),
        ("finish_reason", {"gen_ai.response.finish_reasons": "['tool_calls']"}, "tool_calls"),
        ("finish_reason", {"llm.response.finish_reason": "FinishReason.MAX_TOKENS"}, "length"),
        ("finish_reason", {"gen_ai.response.finish_reasons": []}, None),
        ("finish_reason", {"gen_ai.response.finish_reasons": ["toolUse"]}, "tool_calls"),
        ("finish_reason", {"gen_ai.response.finish_reasons": ["content-filter"]}, "content_filter"),
        ("finish_reason", {"gen_ai.response.finish_reasons": ["FINISH_REASON_STOP"]}, "stop"),
        ("reasoning_tokens", {"gen_ai.usage.details.thoughts_tokens": 5}, 5),
        ("finish_reason", {"gen_ai.completion.1.finish_reason": "end_turn"}, "stop"),
        ("finish_reason", {"gen_ai.output.messages": '[{"role": "assistant", "finish_reason": "stop"}]'}, "stop"),
        ("cost_usd", {"gen_ai.cost.total_cost": 0.25}, 0.25),
        ("cost_usd", {"operation.cost": "0.25"}, "0.25"),
        ("cost_usd", {"llm.cost.prompt": 0.125, "llm.cost.completion": "0.125"}, 0.25),
        ("reasoning_tokens", {"gen_ai.usage.details.reasoning_tokens": 7}, 7),
        ("reasoning_tokens", {"gen_ai.usage.completion_tokens_details.reasoning_tokens": 7}, 7),
        ("cached_tokens", {"gen_ai.usage.details.cache_read_tokens": 7}, 7),
        ("cached_tokens", {"gen_ai.usage.prompt_tokens_details.cached_tokens": 7}, 7),
        ("total_tokens", {"gen_ai.usage.input_tokens": "3", "llm.token_count.completion": 4}, 7),
        ("status", {"error.type": "timeout"}, "error"),
    ],
)  # fmt: skip
def test_one_field_has_one_spelling(field: str, attributes: dict[str, Any], value: Any) -> None:
    made = span(1)
    made["attributes"] = attributes
    assert getter((field,))(spans(made)[0]) == value


def test_numbers_as_text_and_numbers_as_ids_are_read_and_other_text_is_refused() -> None:
    frame, rejected = events(
        span(1, {"gen_ai.usage.input_tokens": "3", "gen_ai.usage.output_tokens": " 4 ", "user.id": 17,
                 "app.tenant": 4.0, "cached": "True", "gen_ai.agent.name": False}),
        span(2, {"gen_ai.usage.total_tokens": "many"}),
        span(3, {"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": "many"}),
        span(4, {"gen_ai.usage.input_tokens": "1_000"}),
    )  # fmt: skip
    row = frame.row(0, named=True)
    assert (row["input_tokens"], row["total_tokens"], row["cached"]) == (3.0, 7.0, True)
    assert (row["customer"], row["tenant"], row["part"]) == ("17", "4", "false")
    assert [(r.line, r.field) for r in rejected] == [(2, "total_tokens"), (3, "total_tokens"), (4, "input_tokens")]


def test_a_call_without_a_model_counts_and_names_up_to_256_characters_are_taken() -> None:
    failed = span(1, failed=True)
    del failed["attributes"]["gen_ai.request.model"]
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/" + "x" * 184
    frame, rejected = events(failed, span(2, {"gen_ai.request.model": arn}))
    assert not rejected
    assert frame["version"].to_list() == ["unknown", arn]
    ended = failed | {"failed": False}
    assert [r.field for r in events(ended)[1]] == ["version"]
    frame, _ = events(failed, ended, traces={"service": "shop-bot", "fallback_version": "none named"})
    assert frame["version"].to_list() == ["none named", "none named"]
