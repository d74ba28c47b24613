"""OTLP over HTTP: the OpenTelemetry SDK and its exporter as the client of the service in a process of its own."""

import gzip
import http.server
import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags
from starlette.requests import Request

from api.http.errors import problem
from core import settings
from monitor.ingest.otlp.wire import message_class
from monitor.site import open_site
from tests.monitor.ingest.otlp.requests import as_json, request, span
from tests.server.conftest import Api
from tests.service import assay

SPEC: dict[str, Any] = {
    "model": "shop", "task": "generation", "owner": "ml@example.com", "purpose": "answer customers",
    "columns": {
        "question": {"role": "input", "type": "text"},
        "answer": {"role": "prediction", "type": "text"},
        "part": {"role": "agent", "type": "category"},
        "customer": {"role": "subject", "type": "string"},
        "status": {"role": "segment", "type": "category"},
        "error": {"role": "segment", "type": "category"},
        "latency_ms": {"role": "measure", "type": "number", "unit": "ms"},
        "total_tokens": {"role": "measure", "type": "number"},
        "relevance": {"role": "outcome", "type": "number"},
        "helpful": {"role": "outcome", "type": "boolean"},
    },
    "baseline": {"rows": "first 1000"},
    "traces": {"service": "shop-bot", "columns": {"relevance": "Relevance"}},
}  # fmt: skip
PROTOBUF = "application/x-protobuf"
_Status = message_class("StatusRead", code="int32", message="string")


@pytest.fixture(scope="module")
def shop(api: Api) -> Api:
    tools = SPEC | {
        "model": "shop-tools", "traces": {"service": "shop-bot", "spans": ["tool"], "version": "service.version"},
        "columns": {n: c for n, c in SPEC["columns"].items() if n in ("question", "answer", "status")},
    }  # fmt: skip
    for spec in (SPEC, tools):
        answer = api.send("PUT", f"/api/v1/models/{spec['model']}", json=spec)
        assert answer.status_code in (200, 201), answer.text
    return api


def exporter(api: Api, **options: Any) -> OTLPSpanExporter:
    headers = {"Authorization": f"Bearer {api.key}"}
    return OTLPSpanExporter(endpoint=f"{api.url}/v1/traces", **{"headers": headers, **options})


@contextmanager
def tracing(sent_by: OTLPSpanExporter, service: str = "shop-bot", *, batch: bool = True) -> Iterator[Any]:
    provider = TracerProvider(
        resource=Resource({"service.name": service, "service.version": "1.0"}), shutdown_on_exit=False
    )
    provider.add_span_processor((BatchSpanProcessor if batch else SimpleSpanProcessor)(sent_by))
    yield provider.get_tracer("tests")
    provider.force_flush()
    provider.shutdown()


def event_id(one: Span) -> str:
    context = one.get_span_context()
    return f"{context.trace_id:032x}-{context.span_id:016x}"


def stored(api: Api, one: Span | str, model: str = "shop") -> httpx2.Response:
    return api.send("GET", f"/api/v1/models/{model}/events/{one if isinstance(one, str) else event_id(one)}")


def post(api: Api, body: bytes, form: str = PROTOBUF, **headers: str) -> httpx2.Response:
    return api.send("POST", "/v1/traces", content=body, headers={"Content-Type": form, **headers})


def partial(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.status_code == 200, answer.content
    assert answer.headers["content-type"] == PROTOBUF
    found = ExportTraceServiceResponse.FromString(answer.content).partial_success
    return found.rejected_spans, found.error_message


def now_span(number: int, attributes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    at = int(datetime.now(UTC).timestamp()) * 10**9
    return span(number, attributes, **{"start": at, "end": at + 10**9, "trace": random.randbytes(16).hex(), **more})


def test_a_trace_of_the_sdk_becomes_events_with_tokens_errors_and_outcomes(shop: Api) -> None:
    with tracing(exporter(shop)) as tracer, tracer.start_as_current_span("invoke_agent shop") as root:
        root.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "shop"})
        with tracer.start_as_current_span("chat gpt-4o") as chat:
            chat.set_attributes({
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
                "gen_ai.response.model": "gpt-4o-2026-05-01", "gen_ai.agent.name": "shop", "user.id": "Ada Lovelace",
                "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 30,
                "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hi?"}]}]),
                "gen_ai.output.messages": json.dumps(
                    [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "stop"}]
                ),
            })  # fmt: skip
            chat.add_event(
                "gen_ai.evaluation.result",
                {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.75},
            )
        with tracer.start_as_current_span("execute_tool search") as tool:
            tool.set_attributes({
                "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
                "gen_ai.tool.call.arguments": '{"q": "hi"}', "gen_ai.tool.call.result": "nothing",
            })  # fmt: skip
        with pytest.raises(TimeoutError), tracer.start_as_current_span("chat gpt-4o") as failed:
            failed.set_attributes(
                {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "input.value": "slow?"}
            )
            raise TimeoutError
    found = stored(shop, chat).json()
    wanted = {"question": "hi?", "answer": "hello", "part": "shop", "version": "gpt-4o-2026-05-01", "status": "ok",
              "total_tokens": 42.0, "relevance": 0.75, "trace_id": event_id(chat)[:32]}  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    assert found["latency_ms"] > 0
    assert "Ada" not in str(found["customer"])
    assert stored(shop, tool).status_code == 404
    of_tool = stored(shop, tool, "shop-tools").json()
    assert (of_tool["question"], of_tool["answer"], of_tool["version"]) == ('{"q": "hi"}', "nothing", "1.0")
    of_failed = stored(shop, failed).json()
    assert (of_failed["status"], of_failed["error"], of_failed["question"]) == ("error", "TimeoutError", "slow?")
    assert stored(shop, root).status_code == 404


def test_feedback_in_a_later_trace_is_an_outcome_of_the_span_it_is_linked_to(shop: Api) -> None:
    with tracing(exporter(shop)) as tracer:
        chat = tracer.start_span("chat", attributes={"gen_ai.request.model": "m"})
        chat.end()
    with tracing(exporter(shop)) as tracer:
        judged = {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.label": "pass"}
        tracer.start_span("feedback", attributes=judged, links=[Link(chat.get_span_context())]).end()
    assert stored(shop, chat).json()["helpful"] is True
    nowhere = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    made = request(now_span(1, judged, links=[(f"{nowhere.trace_id:032x}", f"{nowhere.span_id:016x}")]))
    del made.resource_spans[0].scope_spans[0].spans[0].attributes[:2]  # no chat: an evaluation and nothing else
    rejected, message = partial(post(shop, made.SerializeToString()))
    assert rejected == 1
    assert "no event with this id is stored" in message


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.NoCompression])
def test_the_exporter_takes_its_key_from_the_environment(
    shop: Api, monkeypatch: pytest.MonkeyPatch, compression: Compression
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", shop.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization=Bearer%20{shop.key}")
    with tracing(OTLPSpanExporter(compression=compression)) as tracer:
        chats = [tracer.start_span("chat", attributes={"gen_ai.request.model": "m"}) for _ in range(600)]
        for chat in chats:
            chat.end()
    assert stored(shop, chats[0]).status_code == stored(shop, chats[-1]).status_code == 200


class _Unlucky(http.server.ThreadingHTTPServer):
    """In front of the service: passes the first request on, loses the answer and says 503; then passes everything."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        self.upstream, self.seen = url, list[int]()
        super().__init__(("127.0.0.1", 0), _Pass)


class _Pass(http.server.BaseHTTPRequestHandler):
    server: _Unlucky

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kept = ("authorization", "content-type", "content-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
        answer = httpx2.post(self.server.upstream + self.path, content=body, headers=headers, timeout=60)
        first = not self.server.seen
        self.server.seen.append(answer.status_code)
        self.send_response(503 if first else answer.status_code)
        if first:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(b"" if first else answer.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_spans_that_are_sent_again_after_503_are_stored_once(shop: Api) -> None:
    with _Unlucky(shop.url) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        headers = {"Authorization": f"Bearer {shop.key}"}
        between = OTLPSpanExporter(f"http://127.0.0.1:{proxy.server_address[1]}/v1/traces", headers=headers)
        with tracing(between) as tracer:
            chats = [tracer.start_span("chat", attributes={"gen_ai.request.model": "once"}) for _ in range(20)]
            for chat in chats:
                chat.end()
        proxy.shutdown()
    assert proxy.seen == [200, 200]
    site = open_site(settings.load(shop.installation.environ))
    found = site.events.events("shop", columns=["event_id", "version"])
    site.close()
    ids = [i for i, version in found.iter_rows() if version == "once"]
    assert sorted(ids) == sorted(event_id(chat) for chat in chats)


def test_a_span_that_does_not_fit_is_told_and_the_others_are_stored(shop: Api) -> None:
    good, bad = now_span(1), now_span(2, {"gen_ai.usage.total_tokens": "many"})
    rejected, message = partial(post(shop, request(good, bad).SerializeToString()))
    assert rejected == 1
    assert message == "span 2: model shop: total_tokens: is a string; the column is declared as number: a number"
    assert stored(shop, f"{good['trace']}-{good['id']}").status_code == 200
    answer = post(shop, as_json(request(bad)), "application/json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"


def test_json_and_gzip_are_taken_and_spans_of_no_interest_are_no_trouble(shop: Api) -> None:
    one, other = now_span(1), now_span(2, {"gen_ai.operation.name": "embeddings"})
    body = gzip.compress(as_json(request(one, other)))
    answer = post(shop, body, "application/json", **{"Content-Encoding": "gzip"})
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "0"
    assert "1 span without an event" in answer.json()["partialSuccess"]["errorMessage"]
    assert stored(shop, f"{one['trace']}-{one['id']}").status_code == 200
    rejected, message = partial(post(shop, request(other).SerializeToString()))
    assert (rejected, message[-13:]) == (0, "(embedding 1)")
    other["attributes"] = {"http.request.method": "GET"}
    assert partial(post(shop, request(other).SerializeToString())) == (0, "")
    assert partial(post(shop, b"")) == (0, "")


def test_a_caller_without_a_right_to_it_is_refused_with_a_status(shop: Api) -> None:
    viewer = shop.send("POST", "/api/v1/keys", json={"name": f"viewer-{os.urandom(4).hex()}", "role": "viewer"}).json()
    for key, status in ((None, 401), ("assay_0123456789_x", 401), (viewer["key"], 403)):
        answer = shop.send("POST", "/v1/traces", key=key, content=b"", headers={"Content-Type": PROTOBUF})
        assert answer.status_code == status
        assert _Status.FromString(answer.content).message
    assert shop.send("GET", "/v1/traces").status_code == 405


def test_names_that_no_database_takes_are_no_error_of_the_service(shop: Api) -> None:
    made = request(now_span(1, {"a\x00b": "v", "": "w", "x" * 5000: "y"}), service="bot\x00\x1b" + "n" * 500)
    rejected, message = partial(post(shop, made.SerializeToString()))
    assert rejected == 1
    assert "no model takes them" in message
    without = request(now_span(1))
    without.resource_spans[0].resource.Clear()
    assert "'unknown_service'" in partial(post(shop, without.SerializeToString()))[1]
    odd = request(now_span(1, {"input.value": "a\x00b", "gen_ai.agent.name": "x" * 100_000}))
    assert partial(post(shop, odd.SerializeToString())) == (0, "")


def test_an_unmapped_service_is_remembered_without_values_and_a_spec_written_for_it_takes_its_spans(
    shop: Api, tmp_path: Path
) -> None:
    service = f"new bot {os.urandom(4).hex()}"
    attributes = {
        "openinference.span.kind": "LLM", "llm.model_name": "m1", "input.value": "SECRET one", "user.id": "SECRET two",
        "output.value": "SECRET three", "llm.token_count.prompt": 3, "llm.input_messages.4.message.content": "SECRET",
        "evaluations.0.evaluation.name": "is it good?", "evaluations.0.evaluation.score": 0.5,
    }  # fmt: skip
    made = request(now_span(1, attributes), service=service)
    rejected, message = partial(post(shop, made.SerializeToString()))
    assert rejected == 1
    assert f"assay init --from-trace '{service}'" in message
    listed = shop.send("GET", "/api/v1/unmapped-services")
    assert "SECRET" not in listed.text
    found = next(row for row in listed.json() if row["service"] == service)
    assert found["spans"] == 1
    assert found["sample"]["llm"]["attributes"]["llm.input_messages.N.message.content"] == "string"
    for where in (
        service,
        _file(tmp_path / "trace.pb", made.SerializeToString()),
        _file(tmp_path / "t.json", as_json(made)),
    ):
        done = assay("init", "--from-trace", str(where), "--owner", "me@example.com", "--out", "-",
                     environ={"ASSAY_CLIENT__URL": shop.url, "ASSAY_CLIENT__KEY": shop.key})  # fmt: skip
        assert done.returncode == 0, done.stderr
        spec = yaml.safe_load(done.stdout)
        assert spec["owner"] == "me@example.com"
        assert "# the user of the span" in done.stdout
        assert spec["columns"]["user"] == {"role": "subject", "type": "string"}
        assert spec["traces"]["columns"] == {"_is_it_good_": "is it good?"}
    starter = tmp_path / "spec.yaml"
    starter.write_text(done.stdout)
    done = assay("apply", str(starter), environ={"ASSAY_CLIENT__URL": shop.url, "ASSAY_CLIENT__KEY": shop.key})
    assert done.returncode == 0, done.stderr
    assert partial(post(shop, made.SerializeToString())) == (0, "")
    sent = made.resource_spans[0].scope_spans[0].spans[0]
    event = stored(shop, f"{sent.trace_id.hex()}-{sent.span_id.hex()}", spec["model"]).json()
    assert (event["input"], event["output"], event["_is_it_good_"]) == ("SECRET one", "SECRET three", 0.5)


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_from_trace_of_a_service_nobody_knows_says_which_are_known(shop: Api) -> None:
    done = assay(
        "init", "--from-trace", "nobody", environ={"ASSAY_CLIENT__URL": shop.url, "ASSAY_CLIENT__KEY": shop.key}
    )
    assert done.returncode == 2
    assert "neither a file nor a service" in done.stderr


def test_only_the_newest_fifty_unmapped_services_are_kept(shop: Api) -> None:
    for i in range(53):
        partial(post(shop, request(now_span(1), service=f"crowd-{i:02}").SerializeToString()))
    names = [row["service"] for row in shop.send("GET", "/api/v1/unmapped-services").json()]
    assert len(names) == 50
    assert "crowd-52" in names
    assert "crowd-00" not in names


def test_what_another_try_may_get_past_is_answered_with_503() -> None:
    scope = {"type": "http", "method": "POST", "path": "/v1/traces", "headers": [], "query_string": b""}
    for code, status, sent in (("store_full", 507, 503), ("conflict", 409, 503), ("column_type_changed", 409, 409)):
        answer = problem(Request(scope), status, code, "no room", headers={"Retry-After": "1"})
        assert (answer.status_code, answer.headers["retry-after"]) == (sent, "1")
        assert _Status.FromString(bytes(answer.body)).message == "no room"
