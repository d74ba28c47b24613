"""From spans to columns: the conventions of the instrumentations in use, defaults, types and reasons."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from monitor.ingest.ndjson import Rejection
from monitor.ingest.otlp.evaluations import SpanEvaluation, evaluations_of, typed
from monitor.ingest.otlp.fields import getter
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.mapping import events_from, mapping_of, outcomes_from
from monitor.ingest.otlp.protobuf import read_protobuf
from monitor.ingest.otlp.spans import Span
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from tests.monitor.ingest.otlp.requests import START, TRACE, request, span

NOW = datetime(2026, 1, 5, 1, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "model": "shop", "task": "generation", "owner": "ml@example.com", "purpose": "answer customers",
    "columns": {
        "question": {"role": "input", "type": "text"},
        "answer": {"role": "prediction", "type": "text"},
        "part": {"role": "agent", "type": "category"},
        "tenant": {"role": "segment", "type": "category"},
        "customer": {"role": "subject", "type": "string"},
        "latency_ms": {"role": "measure", "type": "number", "unit": "ms"},
        "input_tokens": {"role": "measure", "type": "number"},
        "total_tokens": {"role": "measure", "type": "number"},
        "cost_usd": {"role": "measure", "type": "number", "unit": "USD"},
        "cached": {"role": "segment", "type": "boolean"},
        "relevance": {"role": "outcome", "type": "number"},
        "helpful": {"role": "outcome", "type": "boolean"},
    },
    "baseline": {"rows": "first 1000"},
    "traces": {"service": "shop-bot", "columns": {"tenant": ["app.tenant", "deployment.environment"],
                                                  "relevance": "Relevance", "helpful": ["thumbs", "app.thumbs"]}},
}  # fmt: skip

# As the documentation of each instrumentation shows its attributes; ASKED and ANSWERED are what they say.
ASKED, ANSWERED = "Weather in Paris?", "Rainy, 57 F."
OTEL_MESSAGES = {
    "gen_ai.input.messages": [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hello"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {}}]},
        {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}, {"type": "blob", "data": "AA"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "result": "rainy, 57 F"}]},
    ],
    "gen_ai.output.messages": [
        {"role": "assistant", "parts": [{"type": "text", "content": "Rainy, 57 F."}], "finish_reason": "stop"}
    ],
}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "OpenTelemetry, structured": {"attributes": OTEL_MESSAGES},
    "OpenTelemetry, JSON": {"attributes": {name: json.dumps(value) for name, value in OTEL_MESSAGES.items()}},
    "OpenTelemetry, event of 1.37": {
        "events": [
            (
                "gen_ai.client.inference.operation.details",
                {name: json.dumps(value) for name, value in OTEL_MESSAGES.items()},
            )
        ]
    },
    "OpenTelemetry, attributes before 1.37": {
        "attributes": {
            "gen_ai.prompt": '[{"role": "user", "content": "Weather in Paris?"}]',
            "gen_ai.completion": '[{"role": "assistant", "content": "Rainy, 57 F."}]',
        }
    },
    "OpenTelemetry, events before 1.37": {
        "events": [
            ("gen_ai.system.message", {"content": "Be brief."}),
            ("gen_ai.user.message", {"content": "Weather in Paris?"}),
            ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": '{"content": "Rainy, 57 F."}'}),
        ]
    },
    "OpenTelemetry, content events": {
        "events": [
            ("gen_ai.content.prompt", {"gen_ai.prompt": '[{"role": "user", "content": "Weather in Paris?"}]'}),
            ("gen_ai.content.completion", {"gen_ai.completion": '[{"role": "assistant", "content": "Rainy, 57 F."}]'}),
        ]
    },
    "OpenInference, messages": {
        "attributes": {
            "openinference.span.kind": "LLM",
            "input.value": '{"messages": [{"role": "user", "content": "Weather in Paris?"}]}',
            "input.mime_type": "application/json",
            "output.value": '{"id": "chatcmpl-1"}',
            "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be brief.",
            "llm.input_messages.1.message.role": "user",
            "llm.input_messages.1.message.contents.0.message_content.type": "text",
            "llm.input_messages.1.message.contents.0.message_content.text": "Weather in Paris?",
            "llm.input_messages.1.message.contents.1.message_content.type": "image",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "Rainy, 57 F.",
        }
    },
    "OpenInference, values": {
        "attributes": {"openinference.span.kind": "LLM", "input.value": ASKED, "output.value": ANSWERED}
    },
    "OpenLLMetry": {
        "attributes": {
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "Weather in Paris?",
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "Rainy, 57 F.",
            "gen_ai.completion.0.finish_reason": "stop",
        }
    },
}  # fmt: skip


def spans(*made: dict[str, Any], **resource: Any) -> list[Span]:
    return [s for g in read_protobuf(request(*made, **resource).SerializeToString()) for s in g.spans]


def spec(**changes: Any) -> ModelSpec:
    return parse_spec({**SPEC, **changes})


def events(*made: dict[str, Any], **changes: Any) -> tuple[pl.DataFrame, list[Rejection]]:
    declared = spec(**changes)
    assert declared.traces is not None
    checked = events_from(mapping_of(declared, declared.traces), spans(*made), NOW)
    return checked.frame, checked.rejected


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_question_and_answer_are_found_as_every_instrumentation_writes_them(convention: str) -> None:
    made = CONVENTIONS[convention]
    (one,) = spans(span(1, made.get("attributes"), events=made.get("events", [])))
    assert kind_of(one) == "llm"
    assert (getter(("input",))(one), getter(("output",))(one)) == (ASKED, ANSWERED)


def test_an_answer_that_only_calls_a_tool_is_its_message_as_json() -> None:
    call = {"role": "assistant", "parts": [{"type": "tool_call", "name": "weather", "arguments": {"city": "Paris"}}]}
    (one,) = spans(span(1, {"gen_ai.output.messages": [call]}))
    assert json.loads(getter(("output",))(one)) == call
    flattened = {
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
    }
    (one,) = spans(span(1, flattened))
    assert "weather" in getter(("output",))(one)


@pytest.mark.parametrize("value", ['[{"role": ', "[{}]", "{}", "[1]"])
def test_what_is_no_message_is_the_text_itself(value: str) -> None:
    (one,) = spans(span(1, {"gen_ai.input.messages": value}))
    assert getter(("input",))(one) == value


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"openinference.span.kind": "AGENT"}, "agent"),
        ({"openinference.span.kind": "TOOL"}, "tool"),
        ({"traceloop.span.kind": "workflow"}, "chain"),
        ({"gen_ai.operation.name": "execute_tool"}, "tool"),
        ({"gen_ai.operation.name": "invoke_agent"}, "agent"),
        ({"gen_ai.operation.name": "generate_content"}, "llm"),
        ({"gen_ai.request.model": "m"}, "llm"),
        ({"openinference.span.kind": 5, "gen_ai.operation.name": ["chat"]}, "other"),
        ({"http.request.method": "GET"}, "other"),
    ],
)
def test_the_kind_of_a_span_is_read_from_its_attributes(attributes: dict[str, Any], kind: str) -> None:
    made = span(1)
    made["attributes"] = attributes
    assert kind_of(spans(made)[0]) == kind


def test_a_span_becomes_an_event_with_little_said_in_the_spec() -> None:
    frame, rejected = events(
        span(7, {"input.value": ASKED, "output.value": ANSWERED, "gen_ai.agent.name": "router", "app.tenant": "north",
                 "user.id": "ada", "gen_ai.response.model": "gpt-4o-2026", "gen_ai.usage.input_tokens": 3,
                 "llm.token_count.completion": 4, "llm.cost.total": 0.002, "cached": True}),
    )  # fmt: skip
    assert not rejected
    assert frame.row(0, named=True) == {
        "event_id": f"{TRACE}-0000000000000007", "version": "gpt-4o-2026", "trace_id": TRACE,
        "span_id": "0000000000000007", "question": ASKED, "answer": ANSWERED, "part": "router", "tenant": "north",
        "customer": "ada", "latency_ms": 1500.0, "input_tokens": 3.0, "total_tokens": 7.0, "cost_usd": 0.002,
        "cached": True, "ts": datetime(2026, 1, 5, 0, 0, 1, 500000, tzinfo=UTC),
    }  # fmt: skip


def test_version_falls_back_to_the_service_and_may_be_mapped() -> None:
    plain = span(1)
    del plain["attributes"]["gen_ai.request.model"]
    declared = spec()
    assert declared.traces is not None
    found = events_from(mapping_of(declared, declared.traces), spans(plain, **{"service.version": "1.4.2"}), NOW)
    assert found.frame["version"].to_list() == ["1.4.2"]
    frame, _ = events(span(1, {"app.release": "r9"}), traces={"service": "shop-bot", "version": "app.release"})
    assert frame["version"].to_list() == ["r9"]


def test_a_span_that_does_not_fit_is_refused_with_its_reason_and_without_its_values() -> None:
    made = [
        span(1, {"gen_ai.usage.input_tokens": "secret"}),
        span(2, {"app.tenant": ["secret"]}),
        span(3, {"cached": 2}),
        span(4, {"llm.cost.total": float("inf")}),
        span(5, start=0, end=0),
        span(6, end=START + int(timedelta(days=40).total_seconds()) * 10**9),
        span(7, {"gen_ai.request.model": "m" * 257}),
        span(8, trace="00" * 16),
        span(9, id="aa"),
        span(10),
        span(11, {"user.id": 17}),
        span(12, {"input.value": {"city": "Paris"}}),
    ]
    frame, rejected = events(*made)
    assert frame["span_id"].to_list() == ["000000000000000a", "000000000000000b", "000000000000000c"]
    assert frame["question"].to_list() == [None, None, '{"city": "Paris"}']
    assert frame["customer"].to_list() == [None, "17", None]
    reasons = {r.line: (r.field, r.reason) for r in rejected}
    assert list(reasons) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert reasons[1] == ("input_tokens", "is a string; the column is declared as number: a number")
    assert reasons[2][0] == "tenant"
    assert "inf is not a finite number" in reasons[4][1]
    assert "missing" in reasons[5][1]
    assert reasons[5][0] == reasons[6][0] == "ts"
    assert (reasons[7][0], reasons[8][0], reasons[9][0]) == ("version", "trace_id", "span_id")
    assert "secret" not in str(reasons)


def test_latency_is_unknown_where_a_span_ends_before_it_starts() -> None:
    frame, _ = events(span(1, start=START + 10, end=START + 5))
    assert frame["latency_ms"].to_list() == [None]


def test_a_mapping_selects_by_kind_and_by_attributes() -> None:
    declared = spec(traces={"service": "shop-bot", "spans": ["llm", "tool"], "where": {"app.flag": "true", "n": "3"}})
    assert declared.traces is not None
    mapping = mapping_of(declared, declared.traces)
    made = spans(
        span(1, {"app.flag": True, "n": 3}), span(2, {"app.flag": False, "n": 3}), span(3, {"n": 3}),
        span(4, {"gen_ai.operation.name": "execute_tool", "app.flag": "true", "n": "3"}),
        span(5, {"gen_ai.operation.name": "invoke_agent", "app.flag": True, "n": 3}),
    )  # fmt: skip
    assert [s.number for s in made if mapping.selects(s)] == [1, 4]


@pytest.mark.parametrize(
    ("wanted", "sent", "other"),
    [("3", 3.0, 3.5), ("3.0", 3, 4), ("True", True, False), ("Z\u00fcrich", "Zu\u0308rich", "Zurich"),
     ("Zu\u0308rich", "Z\u00fcrich", ""), ("1e3", "1e3", 1000.0), ("3", "3", float("nan")), ("", "", " x")],
)  # fmt: skip
def test_attributes_that_select_spans_are_compared_as_categories(wanted: str, sent: Any, other: Any) -> None:
    declared = spec(traces={"service": "shop-bot", "where": {"app.n": wanted}})
    assert declared.traces is not None
    mapping = mapping_of(declared, declared.traces)
    made = spans(span(1, {"app.n": sent}), span(2, {"app.n": other}), span(3, {}))
    assert [s.number for s in made if mapping.selects(s)] == [1]


def test_a_mapping_of_a_column_that_is_not_declared_is_refused() -> None:
    with pytest.raises(SpecError, match="names column 'tone'"):
        spec(traces={"service": "s", "columns": {"tone": "app.tone"}})
    with pytest.raises(SpecError, match="spans"):
        spec(traces={"service": "s", "spans": ["chat"]})


def test_evaluations_are_read_from_events_and_from_flattened_attributes() -> None:
    (one,) = spans(
        span(
            1,
            {"evaluations.0.evaluation.name": "toxicity", "evaluations.0.evaluation.score": 0.1,
             "annotations.0.annotation.name": "thumbs", "annotations.0.annotation.label": "pass"},
            events=[("gen_ai.evaluation.result",
                     {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.9,
                      "gen_ai.evaluation.score.label": "relevant"})],
        )
    )  # fmt: skip
    assert evaluations_of(one) == {
        "Relevance": SpanEvaluation(0.9, "relevant"), "toxicity": SpanEvaluation(0.1, None),
        "thumbs": SpanEvaluation(None, "pass"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("evaluation", "kind", "value"),
    [
        (SpanEvaluation(0.5, None), "number", 0.5),
        (SpanEvaluation(0.5, "good"), "category", "good"),
        (SpanEvaluation(1, None), "boolean", True),
        (SpanEvaluation(0.0, "x"), "boolean", False),
        (SpanEvaluation(None, "FAIL"), "boolean", False),
    ],
)
def test_the_part_of_an_evaluation_that_fits_the_column_is_taken(
    evaluation: SpanEvaluation, kind: ColumnType, value: object
) -> None:
    assert typed(evaluation, kind) == value


@pytest.mark.parametrize(
    ("evaluation", "kind"),
    [(SpanEvaluation(None, "good"), "number"), (SpanEvaluation(0.5, None), "text"),
     (SpanEvaluation(0.5, "good"), "boolean"), (SpanEvaluation([], {}), "boolean")],
)  # fmt: skip
def test_an_evaluation_without_the_part_is_refused(evaluation: SpanEvaluation, kind: ColumnType) -> None:
    with pytest.raises(ValueError, match="declare the column"):
        typed(evaluation, kind)


def test_what_each_span_says_of_an_event_is_an_outcome_of_its_own() -> None:
    declared = spec()
    assert declared.traces is not None
    one, two, three, four = spans(
        span(1, {"app.thumbs": True}), span(2, {"gen_ai.evaluation.name": "Relevance"}),
        span(3, {"app.thumbs": "up"}), span(4),
    )  # fmt: skip
    found = outcomes_from(
        mapping_of(declared, declared.traces),
        [
            ("a", one, {}), ("a", two, {"Relevance": SpanEvaluation(0.7, None)}),
            ("a", two, {"Relevance": SpanEvaluation(0.1, None)}), ("b", three, {}), ("c", four, {}),
            ("d", two, {"Relevance": SpanEvaluation(None, "good")}), ("e", two, {"unknown": SpanEvaluation(1, None)}),
        ],
        NOW,
    )  # fmt: skip
    assert found is not None
    assert found.frame.to_dicts() == [
        {"event_id": "a", "relevance": None, "helpful": True}, {"event_id": "a", "relevance": 0.7, "helpful": None},
        {"event_id": "a", "relevance": 0.1, "helpful": None},
    ]  # fmt: skip
    assert found.lines == [1, 2, 2]
    assert [(r.line, r.field) for r in found.rejected] == [(2, "relevance"), (3, "helpful")]
