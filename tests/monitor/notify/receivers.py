"""Receivers of messages: a real HTTP server and a real SMTP server on this machine."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

Answers = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Posted:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server; `answers` says how it behaves, and may be changed between requests."""

    port: int
    answers: Answers
    posted: list[Posted] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def answer(status: int, body: bytes = b"ok", **headers: str) -> Answers:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and never answer."""
    threading.Event().wait(60)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer one byte of a header at a time, so that no single wait is long."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(600):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200 with a body that has no end."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100_000):
        handler.wfile.write(b"x" * 65536)


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 smtp.example.com ready\r\n")


@contextmanager
def http_receiver(answers: Answers | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            receiver.posted.append(Posted(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            with suppress(OSError):  # the sender has gone
                receiver.answers(self)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    receiver = Receiver(server.server_address[1], answers or answer(200))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    port: int
    mails: list[EmailMessage] = field(default_factory=list)


@contextmanager
def smtp_receiver() -> Iterator[Mailbox]:
    class Take:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            mailbox.mails.append(BytesParser(policy=default).parsebytes(envelope.content))
            return "250 taken"

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mailbox = Mailbox(free.getsockname()[1])
    controller = Controller(Take(), hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
