"""OTLP requests that differ in the ids of their spans alone, and the spec of the model that takes them."""

import random
import time
from typing import Any

SPANS, MODEL, SERVICE = 200, "bench", "bench-bot"
MARK = b"\xfa\xfb\xfc\xfd"  # where the number of the request is written
SPEC: dict[str, Any] = {
    "model": MODEL, "task": "generation", "owner": "bench@example.com", "purpose": "to be measured",
    "columns": {
        "question": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "text"},
        "kind": {"role": "segment", "type": "category"}, "status": {"role": "segment", "type": "category"},
        "session": {"role": "segment", "type": "category"}, "user": {"role": "subject", "type": "string"},
        "tool": {"role": "segment", "type": "category"},
        **{n: {"role": "measure", "type": "number"} for n in ("latency_ms", "input_tokens", "output_tokens")},
    },
    "baseline": {"rows": "first 100000000"},
    "traces": {"service": SERVICE, "spans": ["llm", "tool", "chain"], "version": ["model", "service_version"]},
}  # fmt: skip


class SpanBodies:
    """Requests of SPANS spans each."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        message = ExportTraceServiceRequest()
        group = message.resource_spans.add()
        _set(group.resource, {"service.name": SERVICE, "service.version": "1.0"})
        scope, run, now = group.scope_spans.add(), random.randbytes(8), time.time_ns()
        for i in range(SPANS):
            made = scope.spans.add(
                trace_id=run + MARK + (i // 5).to_bytes(4, "big"), span_id=MARK + i.to_bytes(4, "big"),
                start_time_unix_nano=now - 10**9, end_time_unix_nano=now - 10**8, kind=1,
            )  # fmt: skip
            if i % 5:
                made.parent_span_id = MARK + (i - i % 5).to_bytes(4, "big")
            self._fill(made, i)
        self.template = message.SerializeToString()

    @staticmethod
    def _fill(span: Any, i: int) -> None:
        words = [
            "where",
            "is",
            "my",
            "card",
            "it",
            "has",
            "not",
            "come",
            "yet",
            "please",
            "help",
            "top",
            "up",
            "account",
        ]
        text = [" ".join(random.choices(words, k=60))[:200] for _ in range(2)]
        common = {"input.value": text[0], "output.value": text[1], "session.id": f"s{i % 40}", "user.id": f"u{i % 90}"}
        if i % 5 == 0:
            span.name, more = "chain", {"openinference.span.kind": "CHAIN"}
        elif i % 5 == 4:
            span.name, more = "search", {"openinference.span.kind": "TOOL", "tool.name": "search"}
        else:
            span.name = "chat gpt-4o"
            more = {
                "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
                "gen_ai.response.model": "gpt-4o-2026-05-01", "llm.token_count.prompt": 120 + i,
                "llm.token_count.completion": 40 + i, "llm.token_count.total": 160 + 2 * i,
                "gen_ai.usage.input_tokens": 120 + i, "gen_ai.usage.output_tokens": 40 + i,
            }  # fmt: skip
        _set(span, common | more)

    def make(self, number: int) -> bytes:
        return self.template.replace(MARK, number.to_bytes(4, "big"))

    def ids(self, number: int) -> list[str]:
        """Span ids, unique over all requests of a store."""
        return [f"{number:08x}{i:08x}" for i in range(SPANS)]


def _set(holder: Any, attributes: dict[str, Any]) -> None:
    for key, value in attributes.items():
        made = holder.attributes.add(key=key).value
        if isinstance(value, int):
            made.int_value = value
        else:
            made.string_value = value
