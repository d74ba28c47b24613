"""Assay and the peer as processes, and what each has stored."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from bench.load.rows import MODEL, SPEC

ROOT = Path(__file__).resolve().parents[2]
PEER_NAME = "FastAPI + SQLAlchemy bulk insert, SQLite"


@dataclass
class Service:
    """A service in its own process: Assay, or the peer."""

    command: list[str]
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[str] | None" = None
    url: str = ""

    def start(self) -> dict[str, Any]:
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.url = ready["url"]
        return ready

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def beside(self) -> "Service":
        """Another process of the same service on the same home."""
        other = Service(self.command, self.path, self.headers)
        other.start()
        return other

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def send(self, connection: http.client.HTTPConnection, body: bytes, media_type: str) -> dict[str, Any]:
        connection.request("POST", self.path, body, {**self.headers, "Content-Type": media_type})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        found: dict[str, Any] = json.loads(text)
        return found


def assay(home: Path) -> Service:
    code = "from api.cli import main; main()"
    os.environ["ASSAY_HOME"] = str(home)  # handed on to the process
    service = Service([sys.executable, "-c", code, "api", "--home", str(home), "--port", "0", "--json"],
                      f"/api/v1/models/{MODEL}/events")  # fmt: skip
    ready = service.start()
    service.headers = {"Authorization": f"Bearer {ready['admin_key']}"}
    connection = service.connect()
    connection.request("PUT", f"/api/v1/models/{MODEL}", json.dumps(SPEC),
                       {**service.headers, "Content-Type": "application/json"})  # fmt: skip
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 201, text
    return service


def peer(home: Path) -> Service:
    declared = {name: column["type"] for name, column in SPEC["columns"].items()}
    command = [sys.executable, "-m", "bench.load.bulk_insert", str(home / "peer.db"), json.dumps(declared)]
    service = Service(command, "/events")
    service.start()
    return service


def assay_ids(home: Path) -> pl.Series:
    """Through another reader than the service: its Delta table, and the log."""
    from monitor.events.store import EventStore

    return EventStore(str(home / "lake"), home, b"").scan(MODEL).select("event_id").collect()["event_id"]


def peer_ids(home: Path) -> pl.Series:
    with sqlite3.connect(home / "peer.db") as db:
        return pl.Series("event_id", [row[0] for row in db.execute("select event_id from events")], dtype=pl.String)


def served(home: Path, specs: Iterable[dict[str, Any]]) -> Service:
    """`assay serve` on SQLite with these models declared, in a process of its own."""
    code = "from api.cli import main; main()"
    service = Service([sys.executable, "-c", code, "serve", "--home", str(home), "--port", "0", "--json"], "")
    os.environ["ASSAY_HOME"] = str(home)  # handed on to the process
    service.headers = {"Authorization": f"Bearer {service.start()['admin_key']}"}
    connection = service.connect()
    for spec in specs:
        connection.request("PUT", f"/api/v1/models/{spec['model']}", json.dumps(spec),
                           {**service.headers, "Content-Type": "application/json"})  # fmt: skip
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, text
    connection.close()
    return service
