"""A real OpenTelemetry collector between the SDK and the service, configured as docs/otlp.md says."""

import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx2
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.beside import ROTEL, collector, free_port
from tests.conftest import absent
from tests.forks import ROOT
from tests.server.test_otlp import SPEC
from tests.service import Service

Sent = Callable[..., list[str]]


class Gate(http.server.ThreadingHTTPServer):
    """Passes requests on to the service, or answers 503 while it is shut; notes how they came and were answered."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.upstream, self.seen, self.is_shut = upstream, list[tuple[int, str, str]](), False
        super().__init__(("127.0.0.1", 0), _Pass)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Pass(http.server.BaseHTTPRequestHandler):
    server: Gate

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form, coding = self.headers["Content-Type"], self.headers.get("Content-Encoding", "identity")
        headers = {"Authorization": self.headers["Authorization"], "Content-Type": form, "Content-Encoding": coding}
        if self.server.is_shut:
            busy = {"Content-Type": form, "Retry-After": "1"}
            answer = httpx2.Response(503, headers=busy, content=b"")
        else:
            answer = httpx2.post(self.server.upstream + self.path, content=body, headers=headers, timeout=60)
        self.server.seen.append((answer.status_code, form, coding))
        self.send_response(answer.status_code)
        for name in {"Content-Type", "Retry-After"} & {n.title() for n in answer.headers}:
            self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if not ROTEL.exists():
        absent("rotel", "it with `make setup` (x86-64 Linux)")
    running = Service(tmp_path_factory.mktemp("collected") / "home", environ={})
    running.start()
    answer = httpx2.put(f"{running.url}/api/v1/models/shop", json=SPEC, headers=running.headers(), timeout=60)
    assert answer.status_code == 201, answer.text
    yield running
    running.stop()


@pytest.fixture
def gate(service: Service) -> Iterator[Gate]:
    with Gate(service.url) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@contextmanager
def sending(service: Service, to: str, folder: Path) -> Iterator[Sent]:
    """A collector as the page has it, exporting to a URL; what it yields has the SDK send spans, one request each."""
    page = (ROOT / "docs" / "otlp.md").read_text()
    (block,) = re.findall(r"^```env\n(.*?)^```$", page, re.M | re.S)
    settings = dict(line.split("=", 1) for line in block.splitlines())
    own = {
        "ROTEL_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{free_port()}", "ROTEL_OTLP_GRPC_ENDPOINT": f"127.0.0.1:{free_port()}",
        "ROTEL_OTLP_EXPORTER_ENDPOINT": to,
        "ROTEL_OTLP_EXPORTER_CUSTOM_HEADERS": f"Authorization=Bearer {service.admin_key}",
    }  # fmt: skip
    assert own.keys() <= settings.keys()

    def send(count: int, attributes: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        provider = TracerProvider(resource=Resource({"service.name": "shop-bot"}), shutdown_on_exit=False)
        endpoint = f"http://{own['ROTEL_OTLP_HTTP_ENDPOINT']}/v1/traces"
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint, compression=Compression.Gzip)))
        tracer, ids = provider.get_tracer("tests"), []
        for _ in range(count):
            with tracer.start_as_current_span("chat") as span:
                span.set_attributes({"gen_ai.request.model": "m", "input.value": "q", **attributes})
            context = span.get_span_context()
            ids.append(f"{context.trace_id:032x}-{context.span_id:016x}")
        provider.shutdown()
        return ids

    with collector(settings | own, folder / "rotel.log"):
        yield send


def stored(service: Service) -> set[str]:
    answer = httpx2.get(f"{service.url}/api/v1/models/shop/events", headers=service.headers(), timeout=60)
    ids = [json.loads(line)["event_id"] for line in answer.raise_for_status().text.splitlines()]
    assert len(set(ids)) == len(ids)
    return set(ids)


def until(met: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_spans_arrive_as_events_packed_and_in_batches(service: Service, gate: Gate, tmp_path: Path) -> None:
    with sending(service, gate.url, tmp_path) as sent:
        ids = sent(200)
        until(lambda: stored(service) >= set(ids))
    assert set(gate.seen) == {(200, "application/x-protobuf", "gzip")}
    assert len(gate.seen) < 50, "the collector gathers spans of many requests into one"


def test_spans_sent_while_the_service_is_away_are_stored_once_when_it_is_back(service: Service, tmp_path: Path) -> None:
    port = urlsplit(service.url).port
    assert port is not None
    with sending(service, service.url, tmp_path) as sent:
        before = sent(5)
        until(lambda: stored(service) >= set(before))
        service.kill()
        during = sent(20)
        until(lambda: "will retry again" in (tmp_path / "rotel.log").read_text())
        service.start(port=port)
        until(lambda: stored(service) >= {*before, *during})


def test_spans_that_are_answered_with_503_are_sent_again(service: Service, gate: Gate, tmp_path: Path) -> None:
    gate.is_shut = True
    with sending(service, gate.url, tmp_path) as sent:
        ids = sent(20)
        until(lambda: any(status == 503 for status, _, _ in gate.seen))
        assert not stored(service) & set(ids)
        gate.is_shut = False
        until(lambda: stored(service) >= set(ids))


def test_refused_spans_are_kept_with_their_reason_and_not_sent_again(
    service: Service, gate: Gate, tmp_path: Path
) -> None:
    with sending(service, gate.url, tmp_path) as sent:
        bad, good = sent(2, {"gen_ai.usage.total_tokens": "many"}), sent(3)
        until(lambda: stored(service) >= set(good))
        requests = len(gate.seen)
        for _ in range(2):  # each waits in a batch as long as the collector waits before it sends again
            later = sent(1)
            until(lambda: stored(service) >= set(later))  # noqa: B023 - called at once
    assert len(gate.seen) == requests + 2
    assert {status for status, _, _ in gate.seen} == {200}
    kept = httpx2.get(f"{service.url}/api/v1/models/shop/quarantine", headers=service.headers()).json()["items"]
    assert {row["event_id"]: row["field"] for row in kept} == dict.fromkeys(bad, "total_tokens")
    assert not stored(service) & set(bad)
