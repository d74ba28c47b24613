"""OTLP over HTTP beside Arize Phoenix and MLflow: the same requests, the same two cores, each on its own SQLite.

    python -m bench.otlp [--seconds N] [--connections N] [--systems assay,phoenix,mlflow]

Requests are OTLP protobuf of 200 spans of about 800 bytes: traces of a chain, three LLM calls and a tool, with
OpenInference and gen_ai attributes, 200 characters asked and answered. Closed loop: a connection sends again as soon
as it is answered, 20 ms after a refusal. Only the ids change.

Per system: acknowledged spans per second; spans per second that a second reader of the store finds when the time is
over, or finds added in as long a time without load, whichever is more; p99 of the acknowledged requests; seconds from
sending a request to an idle service until its last span is found; memory of all processes at their peak; and on a
fresh store, after a kill -9 at a random moment under load and a restart, the acknowledged spans that are missing
(lost) and those that are there twice (doubled).

A peer is installed into an environment of its own under ~/.cache/assay-bench, once; where that fails it is skipped and
the reason printed. Appends JSON lines of case `otlp` to bench/results/ingest.jsonl.
"""

import argparse
import http.client
import json
import os
import platform
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import venv
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.canonical import timestamp  # noqa: E402

SPANS, MODEL, SERVICE = 200, "bench", "bench-bot"
CACHE = Path.home() / ".cache" / "assay-bench"
PEERS = {"phoenix": "arize-phoenix==20.26.1", "mlflow": "mlflow==3.17.2"}
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
UNITS = {"acknowledged_per_s": "spans/s", "stored_per_s": "spans/s", "seconds_until_queryable": "s", "lost": "spans",
         "doubled": "spans", "p99_ms": "ms", "peak_mb": "MB"}  # fmt: skip


class Bodies:
    """Requests that differ in the ids of their spans alone."""

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


@dataclass
class Load:
    acknowledged: list[int] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    cpu_s: float = 0.0


def load(system: System, bodies: Bodies, first: int, connections: int, seconds: float, *, kill: bool = False) -> Load:
    """Send requests from number `first` on until the time is over or the service is killed."""
    done, guard, stop, numbers = Load(), threading.Lock(), threading.Event(), iter(range(first, 2**31))

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=120)
        while not stop.is_set():
            with guard:
                number = next(numbers)
            begin = time.monotonic()
            try:
                status = system.send(connection, bodies.make(number))
            except (OSError, http.client.HTTPException):
                return
            if status != 200:
                time.sleep(0.02)
                continue
            with guard:
                done.acknowledged.append(number)
                done.took.append(time.monotonic() - begin)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    begin, (_, spent) = time.monotonic(), system.used()
    for thread in threads:
        thread.start()
    while (left := begin + seconds - time.monotonic()) > 0:
        memory, cpu = system.used()
        done.peak_mb, done.cpu_s = max(done.peak_mb, memory), cpu - spent
        time.sleep(min(0.5, left))
    if kill:
        system.end()
    stop.set()
    done.seconds = time.monotonic() - begin  # what is under way at the end counts too: a handful of requests
    for thread in threads:
        thread.join()
    return done


def warm_up(system: System, bodies: Bodies) -> None:
    """The first requests load what is loaded late; some services drop one of them."""
    until = time.monotonic() + 120
    while True:
        try:
            seconds_until_queryable(system, bodies, 1)
        except (OSError, http.client.HTTPException):
            if time.monotonic() > until:
                raise
            time.sleep(1)
        else:
            return


def seconds_until_queryable(system: System, bodies: Bodies, number: int) -> float:
    wanted = bodies.ids(number)[-1]
    begin = time.monotonic()
    status = system.send(http.client.HTTPConnection("127.0.0.1", system.port, timeout=120), bodies.make(number))
    if status != 200:
        raise http.client.HTTPException(f"{system.name} answered {status}")
    while not (system.stored() == wanted).any():
        time.sleep(0.02)
    return time.monotonic() - begin


def settled(system: System) -> pl.Series:
    """What is stored once nothing more has come for three seconds."""
    found, since = system.stored(), time.monotonic()
    while time.monotonic() - since < 3:
        time.sleep(0.5)
        if len(now := system.stored()) != len(found):
            found, since = now, time.monotonic()
    return found


def measure_one(name: str, options: argparse.Namespace) -> dict[str, float]:
    bodies = Bodies()
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        system = System(Path(folder), name)
        try:
            system.start()
            warm_up(system, bodies)
            visible = seconds_until_queryable(system, bodies, 2)
            load(system, bodies, 1000, options.connections, 2.0)
            before = len(system.stored())
            done = load(system, bodies, 1_000_000, options.connections, options.seconds)
            after = len(system.stored())
            drained = 0.0
            if after - before < len(done.acknowledged) * SPANS:  # it stores after it has answered
                time.sleep(options.seconds)
                drained = (len(system.stored()) - after) / options.seconds
        finally:
            system.end()
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        system = System(Path(folder), name)
        try:
            system.start()
            warm_up(system, bodies)
            cut = load(system, bodies, 1000, options.connections, random.uniform(0.5, 1) * options.seconds, kill=True)
            system.start()
            found = settled(system)
        finally:
            system.end()
    wanted = pl.Series([i for number in cut.acknowledged for i in bodies.ids(number)], dtype=pl.String)
    return {
        "acknowledged_per_s": len(done.acknowledged) * SPANS / done.seconds,
        "stored_per_s": max((after - before) / done.seconds, drained),
        "seconds_until_queryable": visible,
        "lost": float((~wanted.is_in(found.implode())).sum()),
        "doubled": float(len(found) - found.n_unique()),
        "p99_ms": float(np.percentile(done.took, 99) * 1000) if done.took else float("nan"),
        "peak_mb": done.peak_mb,
        "cpu_us_a_span": done.cpu_s / max(1, len(done.acknowledged) * SPANS) * 1e6,  # but for the last half second
        "acknowledged_before_kill": float(len(wanted)),
        "bytes_a_span": len(bodies.template) / SPANS,
    }


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


def measure(options: argparse.Namespace) -> dict[str, dict[str, float] | str]:
    """The figures of each system in `options.systems`, or why there are none."""
    found: dict[str, dict[str, float] | str] = {}
    for name in options.systems.split(","):
        reason = installed(name) if name in PEERS else None
        try:
            found[name] = reason or measure_one(name, options)
        except (RuntimeError, OSError, http.client.HTTPException, sqlite3.Error) as error:
            if name == "assay":
                raise
            found[name] = f"{name} could not be measured: {str(error)[:300]}"
        print(f"{name}: {found[name]}", flush=True)
    return found


def lines(found: dict[str, dict[str, float] | str], machine: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One line for each metric and peer; without a peer, one for each metric."""
    ours = found["assay"]
    assert not isinstance(ours, str)
    peers = {name: theirs for name, theirs in found.items() if name != "assay" and not isinstance(theirs, str)}
    made = []
    for metric, unit in UNITS.items():
        value = ours[metric]
        for name, theirs in (peers or {"": dict[str, float]()}).items():
            other = theirs.get(metric)
            better, worse = (value, other) if metric.endswith("_per_s") else (other, value)
            ratio = better / worse if better and worse and metric not in ("lost", "doubled") else None
            made.append({
                "bench": "ingest", "case": "otlp", "metric": metric, "value": round(value, 4), "unit": unit,
                "peer": f"{PEERS[name]}, SQLite" if name else None,
                "peer_value": None if other is None else round(other, 4),
                "ratio": None if ratio is None else round(ratio, 3), "at": timestamp(datetime.now(UTC)),
                "machine": machine, "spans_a_request": SPANS, "connections": options.connections,
            })  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--systems", default="assay,phoenix,mlflow")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ingest.jsonl")
    options = parser.parse_args()
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    machine += f", load average {os.getloadavg()[0]:.1f} at the start"
    made = lines(measure(options), machine, options)
    for line in made:
        print(f"  {line['metric']:24} {line['value']:12.2f} {line['unit']:7} {line['peer'] or ''} {line['peer_value']}")
    with options.out.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in made)


if __name__ == "__main__":
    main()
