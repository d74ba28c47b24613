"""Assay, Phoenix and MLflow as processes that take OTLP, and what each has stored."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import psutil

from bench.load.service import ROOT
from bench.load.spans import MODEL, SPEC

CACHE = Path.home() / ".cache" / "assay-bench"
PEERS = {"phoenix": "arize-phoenix==20.26.1", "mlflow": "mlflow==3.17.2"}


@dataclass
class System:
    """A service with its store in one folder."""

    home: Path
    name: str
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command, environ, health = getattr(self, f"_{self.name}")()
        with (self.home / "service.log").open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT if self.name == "assay" else self.home, env={**os.environ, **environ}, text=True,
                stdout=subprocess.PIPE if self.name == "assay" else log, stderr=log, start_new_session=True,
            )  # fmt: skip
        if self.name == "assay" and self.process.stdout is not None:
            self._declare(json.loads(self.process.stdout.readline()))
        until = time.monotonic() + 180
        while not self._healthy(health):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start: {(self.home / 'service.log').read_text()[-1000:]}")
            time.sleep(0.2)

    def _assay(self) -> tuple[list[str], dict[str, str], str]:
        code = "from api.cli import main; main()"
        command = [sys.executable, "-c", code, "api", "--home", str(self.home), "--port", str(self.port), "--json"]
        return command, {"ASSAY_HOME": str(self.home)}, "/healthz"

    def _phoenix(self) -> tuple[list[str], dict[str, str], str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            grpc = free.getsockname()[1]
        environ = {"PHOENIX_WORKING_DIR": str(self.home), "PHOENIX_PORT": str(self.port), "PHOENIX_HOST": "127.0.0.1",
                   "PHOENIX_GRPC_PORT": str(grpc), "PHOENIX_TELEMETRY_ENABLED": "false"}  # fmt: skip
        return [str(CACHE / "phoenix" / "bin" / "phoenix"), "serve"], environ, "/healthz"

    def _mlflow(self) -> tuple[list[str], dict[str, str], str]:
        self.headers["x-mlflow-experiment-id"] = "0"
        command = [str(CACHE / "mlflow" / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
                   "--backend-store-uri", f"sqlite:///{self.home / 'mlflow.db'}"]  # fmt: skip
        path = f"{CACHE / 'mlflow' / 'bin'}:{os.environ['PATH']}"
        return command, {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}, "/health"

    def _declare(self, ready: dict[str, str]) -> None:
        if "admin_key" not in ready:
            return
        self.headers["Authorization"] = f"Bearer {ready['admin_key']}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {**self.headers, "Content-Type": "application/json"}
        connection.request("PUT", f"/api/v1/models/{MODEL}", json.dumps(SPEC), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, text

    def _healthy(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, how)
            self.process.wait(60)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def send(self, connection: http.client.HTTPConnection, body: bytes) -> int:
        connection.request("POST", "/v1/traces", body, {**self.headers, "Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200 and self.name == "assay":
            assert not text, text  # a partial success would be told
        return answer.status

    def stored(self) -> pl.Series:
        """Span ids, through another reader than the service."""
        if self.name == "assay":
            from monitor.events.store import EventStore

            found = EventStore(str(self.home / "lake"), self.home, b"").scan(MODEL)
            return found.select(pl.col("event_id").str.slice(33)).collect()["event_id"]
        with sqlite3.connect(f"file:{self.home / self.name}.db?mode=ro", uri=True, timeout=60) as db:
            rows = db.execute("select span_id from spans").fetchall()
        return pl.Series([row[0] for row in rows], dtype=pl.String)

    def used(self) -> tuple[float, float]:
        """Memory in MB and CPU seconds of all processes."""
        assert self.process is not None
        memory = cpu = 0.0
        for process in (parent := psutil.Process(self.process.pid), *parent.children(recursive=True)):
            try:
                memory += process.memory_info().rss / 2**20
                cpu += sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return memory, cpu


def installed(name: str) -> str | None:
    """Why a peer cannot be run; None when it can."""
    home, marker = CACHE / name, CACHE / name / ".installed"
    if marker.exists() and marker.read_text() == PEERS[name]:
        return None
    print(f"installing {PEERS[name]} into {home}; once, a few minutes", flush=True)
    venv.create(home, with_pip=True, clear=True)
    done = subprocess.run([home / "bin" / "pip", "install", "-q", PEERS[name]], capture_output=True, text=True,
                          check=False)  # fmt: skip
    if done.returncode:
        return f"{PEERS[name]} cannot be installed: {done.stderr.strip().splitlines()[-1][:200]}"
    marker.write_text(PEERS[name])
    return None
