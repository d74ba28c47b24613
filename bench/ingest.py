"""Ingest over HTTP beside what a typical team writes: a FastAPI endpoint that bulk-inserts into SQLite.

    python -m bench.ingest [--seconds N] [--batch ROWS] [--connections N] [--cases ndjson,arrow,...]

Service (one uvicorn process) and load generator share two cores. Rows have 25 fields and about 400 bytes as NDJSON.
Closed loop: a connection sends its next batch as soon as the last is answered. Only the
ids change from request to request, so that every row is new. Durable means: Assay answers after its log is synced, the
peer after a commit with SQLite's WAL and synchronous FULL. The case `single` sends one row a request, 50 connections.

Per case: acknowledged rows per second; rows per second that another process finds when the run ends (in the table or
the log's tail); p99 of the requests at half of that load, and at full load; the most memory of the service, and the
most of it that is no file's; seconds from sending a batch until another process finds it; and after a kill -9 in
mid-load and a restart the acknowledged ids that are missing (lost) and those that are there twice (doubled).

Appends JSON lines to bench/results/ingest.jsonl.
"""

import argparse
import http.client
import io
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.canonical import timestamp  # noqa: E402

MODEL = "bench"
ID_LENGTH = 20
TYPES = {"ndjson": "application/x-ndjson", "json": "application/json",
         "arrow": "application/vnd.apache.arrow.stream", "parquet": "application/vnd.apache.parquet"}  # fmt: skip
SPEC: dict[str, Any] = {
    "model": MODEL, "task": "classification", "owner": "bench@example.com", "purpose": "to be measured",
    "columns": {
        "text": {"role": "input", "type": "text"}, "intent": {"role": "prediction", "type": "category"},
        "confidence": {"role": "score", "type": "number"}, "urgent": {"role": "segment", "type": "boolean"},
        **{f"num_{i}": {"role": "input", "type": "number"} for i in range(9)},
        **{f"cat_{i}": {"role": "segment", "type": "category"} for i in range(8)},
        "latency_ms": {"role": "measure", "type": "number"},
    },
    "baseline": {"rows": "first 100000000"},
}  # fmt: skip

PEER = """
import asyncio, sys, json
from datetime import datetime
from fastapi import FastAPI, Request
from pydantic import BaseModel, TypeAdapter, create_model
from sqlalchemy import JSON, Column, DateTime, MetaData, String, Table, create_engine, event, insert
import socket, uvicorn
engine = create_engine("sqlite:///" + sys.argv[1])
@event.listens_for(engine, "connect")
def tune(c, _):
    c.execute("PRAGMA journal_mode=WAL"); c.execute("PRAGMA synchronous=FULL"); c.execute("PRAGMA busy_timeout=30000")
meta = MetaData()
events = Table("events", meta, Column("event_id", String, primary_key=True), Column("ts", DateTime, index=True),
               Column("version", String), Column("row", JSON))
meta.create_all(engine)
fields = json.loads(sys.argv[2])
kinds = {"number": float, "boolean": bool}
Row = create_model("Row", event_id=(str, ...), ts=(datetime, ...), version=(str, ...),
                   **{n: (kinds.get(k, str) | None, None) for n, k in fields.items()})
rows = TypeAdapter(list[Row])
def store(body, ndjson):
    checked = rows.validate_json(b"[" + b",".join(body.split(b"\\n")) + b"]" if ndjson else body)
    values = [{"event_id": r.event_id, "ts": r.ts, "version": r.version,
               "row": r.model_dump(mode="json", exclude={"event_id", "ts", "version"})} for r in checked]
    with engine.begin() as db:
        db.execute(insert(events), values)
    return len(values)
app = FastAPI()
@app.post("/events")
async def take(request: Request):
    body = await request.body()
    return {"accepted": await asyncio.to_thread(store, body, "ndjson" in request.headers["content-type"])}
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])
"""


def frame(rows: int, seed: int) -> pl.DataFrame:
    """Made-up traffic; ids are placeholders of a fixed length."""
    random = np.random.default_rng(seed)
    words = np.array(
        ["where", "is", "my", "card", "it", "has", "not", "come", "yet", "please", "help", "top", "up", "account"]
    )
    intents = [f"intent_{i:02}" for i in range(77)]
    times = datetime.now(UTC).timestamp() - random.uniform(0, 3600, rows)
    return pl.DataFrame({
        "event_id": ["#" * ID_LENGTH] * rows,
        "ts": pl.Series((times * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC")),
        "version": ["v1"] * rows,
        "text": [" ".join(random.choice(words, 5)) for _ in range(rows)],
        "intent": random.choice(intents, rows).tolist(), "confidence": random.random(rows).round(4),
        "urgent": random.random(rows) < 0.1,
        **{f"num_{i}": random.normal(50, 10, rows).round(3) for i in range(9)},
        **{f"cat_{i}": random.choice(["a", "bb", "ccc", "dddd"], rows).tolist() for i in range(8)},
        "latency_ms": random.exponential(80, rows).round(1),
    })  # fmt: skip


class Bodies:
    """Bodies of one kind with new ids each time; text forms by overwriting the ids in place."""

    def __init__(self, case: str, rows: int, prefix: str) -> None:
        self.case, self.rows, self.prefix = case, rows, prefix
        self.frame = frame(rows, 7)
        written = self.frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        text = written.write_ndjson().encode().rstrip(b"\n")
        self.bytes_a_row = len(text) / rows
        self.text = text if case == "ndjson" else b"[" + text.replace(b"\n", b",") + b"]"
        raw = np.frombuffer(self.text, dtype=np.uint8)
        starts = np.flatnonzero(raw == ord("#")).reshape(rows, ID_LENGTH)
        self.places = starts
        # Only the part of an id that is the same in a whole request is written anew: the generator shares the cores.
        self.ends = [f"{i:0{ID_LENGTH - len(self.start(0))}}" for i in range(rows)]
        raw = raw.copy()
        raw[starts] = np.frombuffer("".join(self.ids(0)).encode(), dtype=np.uint8).reshape(rows, ID_LENGTH)
        self.text = raw.tobytes()

    def ids(self, number: int) -> list[str]:
        return [self.start(number) + end for end in self.ends]

    def start(self, number: int) -> str:
        return f"{self.prefix}{number:06}-"

    def make(self, number: int) -> bytes:
        if self.case in ("ndjson", "json"):
            raw = np.frombuffer(self.text, dtype=np.uint8).copy()
            raw[self.places[:, : len(self.start(number))]] = np.frombuffer(self.start(number).encode(), dtype=np.uint8)
            return raw.tobytes()
        filled = self.frame.with_columns(pl.lit(self.start(number)).add(pl.Series(self.ends)).alias("event_id"))
        out = io.BytesIO()
        if self.case == "parquet":
            filled.write_parquet(out)
        else:
            table = filled.to_arrow()
            with pa.ipc.new_stream(out, table.schema) as stream:
                stream.write_table(table)
        return out.getvalue()


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
    service = Service([sys.executable, "-c", PEER, str(home / "peer.db"), json.dumps(declared)], "/events")
    service.start()
    return service


def assay_ids(home: Path) -> pl.Series:
    """Through another reader than the service: its Delta table, and the log's tail."""
    from monitor.events.store import EventStore

    return EventStore(str(home / "lake"), home, b"").scan(MODEL).select("event_id").collect()["event_id"]


def peer_ids(home: Path) -> pl.Series:
    with sqlite3.connect(home / "peer.db") as db:
        return pl.Series("event_id", [row[0] for row in db.execute("select event_id from events")], dtype=pl.String)


@dataclass
class Load:
    acknowledged: list[int] = field(default_factory=list)  # batch numbers
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0


def load(
    service: Service, bodies: Bodies, connections: int, seconds: float, *, kill_after: float | None,
    per_second: float | None = None,
) -> Load:  # fmt: skip
    """Send until the time is over or the service is killed: `per_second` requests, or as many as are answered."""
    done, guard, stop = Load(), threading.Lock(), threading.Event()
    numbers = iter(range(10**6))

    def run() -> None:
        connection = service.connect()
        while not stop.is_set():
            with guard:
                number = next(numbers)
            body = bodies.make(number)
            if per_second is not None and (wait := started + number / per_second - time.monotonic()) > 0:
                time.sleep(wait)
            begin = time.monotonic()
            try:
                service.send(connection, body, TYPES[bodies.case])
            except (OSError, http.client.HTTPException):
                return
            with guard:
                done.acknowledged.append(number)
                done.took.append(time.monotonic() - begin)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    begin = started = time.monotonic()
    for thread in threads:
        thread.start()
    if kill_after is not None:
        time.sleep(kill_after)
        service.end(signal.SIGKILL)
    else:
        time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    done.seconds = time.monotonic() - begin
    return done


def until_queryable(service: Service, bodies: Bodies, stored: Callable[[], pl.Series]) -> float:
    """Seconds from sending one batch until a second reader sees its rows."""
    begin = time.monotonic()
    service.send(service.connect(), bodies.make(999_999), TYPES[bodies.case])
    wanted = bodies.ids(999_999)[-1]
    while not (stored() == wanted).any():
        time.sleep(0.01)
    return time.monotonic() - begin


def memory_mb(service: Service, what: str) -> float:
    """`VmHWM`: the most it has had resident; `RssAnon`: what is resident now and is no file's. MiB."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) / 1024


@contextmanager
def watched(service: Service) -> Iterator[list[float]]:
    """What is resident and no file's, each half second: a mapped file's pages go when somebody else needs the room."""
    found, stop = [memory_mb(service, "RssAnon")], threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            found.append(memory_mb(service, "RssAnon"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def measure(make: Callable[[Path], Service], stored: Callable[[Path], pl.Series], case: str,
            options: argparse.Namespace) -> dict[str, float]:  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        home = Path(folder)
        service = make(home)
        try:
            load(service, Bodies(case, options.batch, "w"), options.connections, 1.0, kill_after=None)
            before = len(stored(home))
            bodies = Bodies(case, options.batch, "m")
            with watched(service) as anonymous:
                done = load(service, bodies, options.connections, options.seconds, kill_after=None)
            after = len(stored(home))
            half = load(
                service, Bodies(case, options.batch, "h"), options.connections, min(10.0, options.seconds),
                kill_after=None, per_second=len(done.acknowledged) / done.seconds / 2,
            )  # fmt: skip
            peak = memory_mb(service, "VmHWM")
            visible = until_queryable(service, Bodies(case, options.batch, "q"), lambda: stored(home))
            killed = Bodies(case, options.batch, "k")
            cut = load(service, killed, options.connections, 0, kill_after=min(3.0, options.seconds / 2))
            service.start()
            found = stored(home)
            wanted = pl.Series([i for number in cut.acknowledged for i in killed.ids(number)], dtype=pl.String)
            return {
                "acknowledged_per_s": len(done.acknowledged) * options.batch / done.seconds,
                "stored_per_s": (after - before) / done.seconds,
                "p99_ms": float(np.percentile(half.took, 99) * 1000),
                "p99_full_load_ms": float(np.percentile(done.took, 99) * 1000),
                "peak_mb": peak,
                "peak_anonymous_mb": max(anonymous),
                "seconds_until_queryable": visible,
                "lost": float((~wanted.is_in(found.implode())).sum()),
                "doubled": float(len(found) - found.n_unique()),
                "bytes_a_row": bodies.bytes_a_row,
            }
        finally:
            service.end()


def machine() -> str:
    return f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}, load average {os.getloadavg()[0]:.1f}"


def write_lines(
    out: Path,
    case: str,
    found: Mapping[str, tuple[float, str]],
    *,
    peer: str | None = None,
    beside: Mapping[str, float] | None = None,
    **facts: Any,
) -> None:
    """Append one JSON line per metric, {metric: (value, unit)}, with the peer's value and the ratio if there is one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        for metric, (value, unit) in found.items():
            other = (beside or {}).get(metric)
            better = (value, other) if metric.endswith("_per_s") else (other, value)
            ratio = better[0] / better[1] if other is not None and better[0] is not None and better[1] else None
            line = {
                "bench": "ingest", "case": case, "metric": metric, "value": round(value, 4), "unit": unit,
                "peer": peer if other is not None else None, "peer_value": None if other is None else round(other, 4),
                "ratio": None if ratio is None or unit == "rows" else round(ratio, 3),
                "at": timestamp(datetime.now(UTC)), "machine": machine(), **facts,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


SINGLE_CONNECTIONS = 50
PEER_NAME = "FastAPI + SQLAlchemy bulk insert, SQLite"
UNITS = {"acknowledged_per_s": "rows/s", "stored_per_s": "rows/s", "p99_ms": "ms", "p99_full_load_ms": "ms",
         "peak_mb": "MiB", "peak_anonymous_mb": "MiB", "seconds_until_queryable": "s", "lost": "rows",
         "doubled": "rows"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, default=5000, help="rows in one request")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--cases", default="ndjson,json,arrow,parquet,single")
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ingest.jsonl")
    options = parser.parse_args()
    # The peer reads JSON alone; the columnar cases are put beside its NDJSON, which is what its users would send.
    beside: dict[str, dict[str, float]] = {}
    for case in options.cases.split(","):
        one = argparse.Namespace(**vars(options))
        if case == "single":
            one.batch, one.connections = 1, SINGLE_CONNECTIONS
        text = case if case in ("json", "single") else "ndjson"
        if text not in beside and not options.alone:
            beside[text] = measure(peer, peer_ids, "ndjson" if text == "single" else text, one)
        ours, theirs = measure(assay, assay_ids, "ndjson" if case == "single" else case, one), beside.get(text, {})
        print(f"{case}: {one.batch} rows a request, {one.connections} connections, {options.seconds:g} s")
        for metric, unit in UNITS.items():
            other = f"peer {theirs[metric]:12.2f}" if theirs else ""
            print(f"  {metric:24} {ours[metric]:12.2f} {unit:7} {other}")
        write_lines(
            options.out, case, {m: (ours[m], unit) for m, unit in UNITS.items()}, peer=PEER_NAME, beside=theirs,
            batch_rows=one.batch, connections=one.connections, seconds=options.seconds,
        )  # fmt: skip


if __name__ == "__main__":
    main()
