"""Requests that no client library would send: each is answered with a status or hung up on, and the service stays."""

import gzip
import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from tests.monitor.ingest.otlp.requests import as_json, request, span
from tests.server.conftest import SPEC, event
from tests.server.test_otlp import SPEC as SHOP
from tests.service import Service

EVENTS, OUTCOMES, TRACES = (
    "/api/v1/models/support-intents/events",
    "/api/v1/models/support-intents/outcomes",
    "/v1/traces",
)
BODIES = {
    EVENTS: json.dumps([event("raw")]).encode(),
    OUTCOMES: json.dumps([{"event_id": "raw", "intent_true": "a"}]).encode(),
    TRACES: as_json(request(span(1))),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"ASSAY_SERVER__MAX_BODY_MB": "2", "ASSAY_SERVER__STALLED_BODY_S": "1"}
    running = Service(tmp_path_factory.mktemp("raw") / "home", environ=limits)
    running.start()
    for spec in (SPEC, SHOP):
        put = httpx2.put(
            f"{running.url}/api/v1/models/{spec['model']}", json=spec, headers=running.headers(), timeout=60
        )
        assert put.status_code == 201, put.text
    httpx2.post(f"{running.url}{EVENTS}", json=[event("raw")], headers=running.headers()).raise_for_status()
    yield running
    running.stop()
    log = running.log.read_text()
    assert "Traceback" not in log
    assert "unhandled" not in log


@dataclass(frozen=True)
class Answer:
    status: int | None  # None: hung up
    text: str


def send(
    service: Service, path: str, headers: Sequence[bytes | str], body: bytes, *, half_closed: bool = False
) -> Answer:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {service.admin_key}", *headers, "", ""]
    lines = [line if isinstance(line, bytes) else line.encode() for line in head]
    return exchange(service, b"\r\n".join(lines) + body, half_closed=half_closed)


def exchange(service: Service, data: bytes, *, half_closed: bool = False) -> Answer:
    """Send bytes as they are; the final answer, or none where the service hung up. To wait 30 s for it fails."""
    parts = urlsplit(service.url)
    received = b""
    with socket.create_connection((parts.hostname or "", parts.port or 0), 30) as connection:
        try:
            connection.sendall(data)
            if half_closed:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(1 << 16):
                received = (received + part).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
                head, found, content = received.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                if found and length and len(content) >= int(length[1]):
                    break
        except (ConnectionError, BrokenPipeError):
            pass
    status = re.match(rb"HTTP/1.1 (\d{3}) ", received)
    return Answer(int(status[1]) if status else None, received.decode(errors="replace"))


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
TAKEN: dict[str, Callable[[bytes], tuple[list[bytes | str], bytes]]] = {
    "chunked": lambda body: ([JSON, CHUNKED], chunked(body[:9], body[9:])),
    "a byte a chunk": lambda body: ([JSON, CHUNKED], chunked(*(body[i : i + 1] for i in range(len(body))))),
    "trailers": lambda body: ([JSON, CHUNKED], chunked(body, end=b"0\r\nContent-Type: text/plain\r\n\r\n")),
    "a chunk with an extension": lambda body: ([JSON, CHUNKED], b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
    "expects to be asked": lambda body: ([JSON, f"Content-Length: {len(body)}", "Expect: 100-continue"], body),
    "a charset": lambda body: ([JSON + "; charset=utf-8; x=", f"Content-Length: {len(body)}"], body),
    "a charset of bytes": lambda body: ([JSON.encode() + b"; charset=\xff", f"Content-Length: {len(body)}"], body),
    "a coding in capitals": lambda body: (
        [JSON, "Content-Encoding: GZIP", CHUNKED], chunked(gzip.compress(body)),
    ),
    "five hundred headers": lambda body: (
        [JSON, f"Content-Length: {len(body)}", *(f"X-{i}: y" for i in range(500))], body,
    ),
}  # fmt: skip
SIZED = [JSON, "Content-Length: 20"]
REFUSED: dict[str, tuple[list[bytes | str], bytes, set[int | None]]] = {
    "a negative length": ([JSON, "Content-Length: -1"], b"[]", {400}),
    "a length past 64 bits": ([JSON, "Content-Length: 99999999999999999999"], b"[]", {400}),
    "a length that is none": ([JSON, "Content-Length: 1.5"], b"[]", {400}),
    "two lengths": ([JSON, "Content-Length: 2", "Content-Length: 1"], b"[]", {400}),
    "a length and chunks": ([JSON, "Content-Length: 2", CHUNKED], chunked(b"[]"), {400}),
    "a chunk of no size": ([JSON, CHUNKED], b"zz\r\n[]", {400}),
    "a chunk of negative size": ([JSON, CHUNKED], b"-2\r\n[]", {400}),
    "a chunk past 64 bits": ([JSON, CHUNKED], b"fffffffffffffffff\r\n[]", {400}),
    "a chunked coding twice": ([JSON, "Transfer-Encoding: chunked, chunked"], chunked(b"[]"), {400}),
    "a coding of the transfer": ([JSON, "Transfer-Encoding: gzip, chunked"], chunked(gzip.compress(b"[]")), {400}),
    "a coding in a coding": ([*SIZED, "Content-Encoding: gzip, gzip"], b" " * 20, {415}),
    "two headers of codings": ([*SIZED, "Content-Encoding: identity", "Content-Encoding: gzip"], b" " * 20, {415}),
    "a coding of no name": ([*SIZED, "Content-Encoding: ,"], b" " * 20, {415}),
    "a coding of bytes": ([*SIZED, b"Content-Encoding: \xff\xfe"], b" " * 20, {415}),
    "two types": ([*SIZED, "Content-Type: text/plain"], b" " * 20, {415}),
    "a type of bytes": ([b"Content-Type: \xff\xfe", "Content-Length: 20"], b" " * 20, {415}),
    "a type that is any": (["Content-Type: */*", "Content-Length: 20"], b" " * 20, {415}),
    "a form": (["Content-Type: multipart/form-data; boundary=x", "Content-Length: 20"], b" " * 20, {415}),
    "a NUL in a header": ([*SIZED, b"X-A: \x00"], b" " * 20, {400}),
    "a line break in a header": ([*SIZED, b"X-A: a\rb"], b" " * 20, {400}),
    "UTF-16": ([JSON + "; charset=utf-16", "Content-Length: 20"], "[{}, {}, ]".encode("utf-16-le"), {400}),
    "a WebSocket": ([*SIZED, "Connection: upgrade", "Upgrade: websocket"], b" " * 20, {400}),
    "HTTP/2 in the clear": ([*SIZED, "Connection: Upgrade", "Upgrade: h2c"], b" " * 20, {400}),
    "less than was said": (["Content-Type: application/json", "Content-Length: 200"], b"[]", {408, 503}),
    "half a chunk": ([JSON, CHUNKED], b"10\r\n[]", {408, 503}),
    "headers without end": ([*SIZED, "X-A: " + "b" * (4 << 20)], b"", {431, None}),
}


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_comes_in_an_odd_way_is_taken(service: Service, path: str, case: str) -> None:
    headers, body = TAKEN[case](BODIES[path])
    answer = send(service, path, headers, body)
    assert answer.status == 200, answer.text
    assert '"rejected_total":0' in answer.text or answer.text.endswith("{}")


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("path", BODIES)
def test_a_request_that_is_none_is_refused(service: Service, path: str, case: str) -> None:
    headers, body, wanted = REFUSED[case]
    answer = send(service, path, headers, body)
    assert answer.status in wanted, answer.text
    alive = exchange(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert alive.text.endswith('{"status":"ok"}'), alive


@pytest.mark.parametrize("path", BODIES)
def test_a_client_that_hangs_up_is_no_failure_of_the_service(service: Service, path: str) -> None:
    half = [JSON, "Content-Length: 200000"]
    assert send(service, path, half, b"[" * 1000, half_closed=True).status in (None, 400)
    assert send(service, path, [JSON, CHUNKED], b"7fffffff\r\n[", half_closed=True).status in (None, 400)


def test_bodies_one_after_another_on_a_connection_are_not_taken_for_headers(service: Service) -> None:
    rows = json.dumps([event(f"kept{i}", text="x" * 2000) for i in range(100)]).encode()
    with httpx2.Client(base_url=service.url, headers=service.headers(), timeout=60) as client:
        answers = [client.post(EVENTS, content=rows, headers={"Content-Type": "application/json"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert answers[-1].json()["duplicates"] == 100


@pytest.mark.parametrize("unit", [b"a" * 65536, b"X-A: b\r\n" * 8192], ids=["a header", "headers"])
def test_headers_without_end_are_cut_off_before_they_are_kept(service: Service, unit: bytes) -> None:
    assert service.process is not None
    before = _memory_mb(service.process.pid)
    answer = exchange(service, b"GET /healthz HTTP/1.1\r\nX-A: b\r\nX-B: " + unit * 3200)  # 200 MB
    assert answer.status in (431, 400, None)
    assert _memory_mb(service.process.pid) < before + 60


def test_a_target_that_is_longer_than_a_head_may_be_is_answered_431(service: Service) -> None:
    assert exchange(service, b"GET /healthz?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n").status == 431


def test_a_client_that_asks_on_and_hangs_up_is_no_failure_of_the_service(service: Service) -> None:
    answer = exchange(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3000, half_closed=True)
    assert answer.status in (200, None)  # and the log holds no unhandled error, see `service`


@pytest.mark.parametrize("unit", [b"a" * 65536, b"b\r\nX-A: " * 8192], ids=["a trailer", "trailers"])
def test_trailers_without_end_are_cut_off_at_once(service: Service, unit: bytes) -> None:
    answer = send(service, EVENTS, [JSON, CHUNKED], b"1\r\n[\r\n0\r\nX-A: " + unit * 10)
    assert answer.status in (431, None)  # not 408: that comes once the client sends nothing more


@pytest.mark.parametrize("path", BODIES)
def test_a_line_of_a_gigabyte_is_cut_off_before_it_is_kept(service: Service, path: str) -> None:
    assert service.process is not None
    before = _memory_mb(service.process.pid)
    headers = ["Content-Type: application/x-ndjson" if path != TRACES else JSON]
    sized = send(service, path, [*headers, f"Content-Length: {1 << 30}"], b'{"event_id": "' + b"a" * (64 << 20))
    in_parts = send(service, path, [*headers, CHUNKED], chunked(b'{"event_id": "', *[b"a" * (1 << 20)] * 64, end=b""))
    assert {sized.status, in_parts.status} <= {413, None}
    assert _memory_mb(service.process.pid) < before + 60


def _memory_mb(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss) >> 20
