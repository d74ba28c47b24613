"""A model that answers over HTTP, on this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


@contextmanager
def serving() -> Iterator[tuple[str, list[Answer], list[dict[str, str]]]]:
    """A server that answers as the test says, the headers it got, and its address."""
    answers: list[Answer] = []
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(dict(self.headers))
            status, content = answers[0](body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://:sesame@127.0.0.1:{server.server_port}/score", answers, seen
    server.shutdown()
    server.server_close()


def scored(body: dict[str, Any]) -> tuple[int, bytes]:
    """Who owns is answered true, the surer the younger; a missing age counts as 50."""
    shares = [[1 - p, p] for p in (share_of(row) for row in body["rows"])]
    return 200, json.dumps({"scores": shares}).encode()


def share_of(row: dict[str, Any]) -> float:
    return (0.9 if row["owner"] else 0.3) - 0.002 * (50.0 if row["age"] is None else row["age"])
