"""A receiver of OTLP over HTTP that keeps every request, and passes it on to a service if there is one."""

import contextlib
import gzip
import threading
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

PROTOBUF: Final = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Export:
    """One request: the case that was running, `traces` or `logs`, and the body as protobuf."""

    case: str
    signal: str
    body: bytes


@dataclass
class Recorder:
    url: str
    service: tuple[str, str] | None  # URL and key of a service
    case: str = ""
    exports: list[Export] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)  # of the service, other than empty ones


@contextlib.contextmanager
def recorder(service: tuple[str, str] | None = None) -> Iterator[Recorder]:
    server = _Server(("127.0.0.1", 0), _Receiver)
    server.recorder = Recorder(f"http://127.0.0.1:{server.server_address[1]}", service)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    recorder: Recorder


class _Receiver(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        answer, kept = b"", self.server.recorder
        if self.path.startswith("/case/"):
            kept.case = self.path.removeprefix("/case/")
        elif self.path.startswith("/v1/"):
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            assert self.headers["Content-Type"] == PROTOBUF, self.headers
            kept.exports.append(Export(kept.case, self.path.removeprefix("/v1/"), body))
            if kept.service is not None and self.path != "/v1/metrics":
                answer = _passed_on(kept.service, self.path, body)
                if answer:
                    kept.answers.append(answer)
        self.send_response(200)
        self.send_header("Content-Type", PROTOBUF)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _passed_on(service: tuple[str, str], path: str, body: bytes) -> bytes:
    headers = {"Authorization": f"Bearer {service[1]}", "Content-Type": PROTOBUF}
    with urllib.request.urlopen(urllib.request.Request(service[0] + path, body, headers)) as answer:
        found: bytes = answer.read()
    return found


def _without_stacks(one: Export) -> bytes:
    """The body, but of each stack trace only the last line: the others name folders of the machine."""
    if one.signal != "traces":
        return one.body
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = ExportTraceServiceRequest.FromString(one.body)
    spans = [s for r in message.resource_spans for scope in r.scope_spans for s in scope.spans]
    attributes = [list(span.attributes) for span in spans] + [list(e.attributes) for span in spans for e in span.events]
    pairs = [pair for some in attributes for pair in some]
    stacks = [pair.value for pair in pairs if '  File "' in pair.value.string_value]
    for value in stacks:
        value.string_value = value.string_value.strip().splitlines()[-1]
    return message.SerializeToString() if stacks else one.body


def save(exports: Sequence[Export], path: Path) -> None:
    """Write what was sent as a zip of the bodies, in order, each named by its case and signal."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for number, one in enumerate(exports, start=1):
            entry = zipfile.ZipInfo(f"{number:02}-{one.case}-{one.signal}.pb", (2026, 1, 1, 0, 0, 0))
            file.writestr(entry, _without_stacks(one), zipfile.ZIP_DEFLATED)


def load(path: Path) -> list[Export]:
    with zipfile.ZipFile(path) as file:
        names = [(name, *name.removesuffix(".pb").split("-")) for name in file.namelist()]
        return [Export(case, signal, file.read(name)) for name, _, case, signal in names]
