"""What a log of our own in front of Delta costs and saves, compared with a SQLite table of one BLOB a batch.

    python -m bench.decisions.log_or_sqlite [--seconds S] [--rounds N] [--folder DIR]

Both take the same payloads (Arrow IPC streams of `rows` events of nine columns) from `threads` threads, and both answer
a batch only when it is on disk. SQLite runs with WAL and synchronous=FULL, in two ways: each batch a transaction of its
own, or one writer that puts everything that waits into one transaction, as the log does with its sync. A consumer takes
batches out again in fours, as the flush does.

Reported for each case, as medians over the rounds, in which the stores take turns: batches a second, milliseconds until
a batch is durable (median and 99th percentile), milliseconds of CPU a batch, bytes written for each byte of payload,
and what lies on disk once everything has been taken out. Prints JSON lines; docs/decisions/0019 states the figures of
one run.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from monitor.events.wal import Log  # noqa: E402
from monitor.events.wal_records import Header, Record, encode  # noqa: E402

CASES = ((1, 1), (1, 16), (1_000, 1), (1_000, 4), (20_000, 1))  # rows a batch, threads
TAKEN_OUT = 4  # batches at a time


class Store(Protocol):
    def put(self, rows: int, payload: bytes) -> None: ...
    def take_out(self) -> None: ...
    def close(self) -> None: ...


class OurLog:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._log = Log(folder, 60.0)
        self._guard = threading.Lock()
        self._waiting: deque[Record] = deque()

    def put(self, rows: int, payload: bytes) -> None:
        record = self._log.append(Header("bench", "events", 0, rows, 0, 0, 0), payload)
        self._log.sync(record.end)
        with self._guard:
            self._waiting.append(record)

    def take_out(self) -> None:
        with self._guard:
            some = [self._waiting.popleft() for _ in range(min(TAKEN_OUT, len(self._waiting)))]
        for record in some:
            with record.segment.open("rb") as file:
                file.seek(record.offset)
                file.read(record.size)
            self._log.mark_flushed(record)

    def close(self) -> None:
        while self._waiting:
            self.take_out()
        self._log.rotate()


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60.0)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("pragma secure_delete=on")  # a row that was erased must not stay behind in a free page
    return db


class EachBatch:
    """Every batch is a transaction, through one connection and one lock: SQLite has one writer anyway."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._db = connect(folder / "log.db")
        self._db.execute("create table if not exists log (id integer primary key, rows integer, payload blob)")
        self._guard = threading.Lock()

    def put(self, rows: int, payload: bytes) -> None:
        with self._guard:
            self._db.execute("insert into log (rows, payload) values (?, ?)", (rows, payload))

    def take_out(self) -> None:
        with self._guard:
            some = self._db.execute(f"select id, payload from log order by id limit {TAKEN_OUT}").fetchall()
            if some:
                self._db.execute("delete from log where id <= ?", (some[-1][0],))

    def close(self) -> None:
        while self._db.execute("select 1 from log limit 1").fetchone():
            self.take_out()
        self._db.execute("pragma wal_checkpoint(truncate)")
        self._db.close()


@dataclass
class Batch:
    rows: int
    payload: bytes
    done: threading.Event = field(default_factory=threading.Event)


class Together(EachBatch):
    """One writer puts all that waits into one transaction."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._waiting: deque[Batch] = deque()
        self._came = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, rows: int, payload: bytes) -> None:
        batch = Batch(rows, payload)
        with self._came:
            self._waiting.append(batch)
            self._came.notify()
        batch.done.wait()

    def close(self) -> None:
        with self._came:
            self._stopped = True
            self._came.notify()
        self._thread.join()
        super().close()

    def _run(self) -> None:
        while True:
            with self._came:
                while not self._waiting and not self._stopped:
                    self._came.wait()
                if not self._waiting:
                    return
                some = list(self._waiting)
                self._waiting.clear()
            with self._guard:
                self._db.execute("begin immediate")
                self._db.executemany(
                    "insert into log (rows, payload) values (?, ?)", [(b.rows, b.payload) for b in some]
                )
                self._db.execute("commit")
            for batch in some:
                batch.done.set()


STORES: dict[str, type[Any]] = {"our log": OurLog, "sqlite": EachBatch, "sqlite, grouped": Together}


def events(rows: int) -> bytes:
    draw = np.random.default_rng(rows)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    return encode(
        pl.DataFrame(
            {
                "event_id": [f"{i:032x}" for i in draw.integers(0, 2**62, rows)],
                "version": ["v7"] * rows,
                "seq": np.arange(rows),
                "intent": draw.choice(["refund", "card_arrival", "top_up", "lost_card"], rows),
                "region": draw.choice(["north", "south", "east", "west"], rows),
                "confidence": draw.random(rows),
                "latency_ms": draw.gamma(2.0, 40.0, rows),
            }
        ).with_columns(pl.lit(now).alias("ts"), pl.lit(now).alias("received_at"))
    )


def written_bytes() -> int:
    """What this process has had written to disk, by the kernel's account."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def measure(store: Store, rows: int, threads: int, seconds: float) -> Iterator[tuple[str, float, str]]:
    payload = events(rows)
    took: list[float] = []
    guard = threading.Lock()
    stop = threading.Event()

    def produce() -> None:
        mine = []
        while not stop.is_set():
            began = time.perf_counter()
            store.put(rows, payload)
            mine.append(time.perf_counter() - began)
        with guard:
            took.extend(mine)

    def consume() -> None:
        while not stop.wait(0.02):
            store.take_out()

    workers = [threading.Thread(target=produce) for _ in range(threads)] + [threading.Thread(target=consume)]
    wrote, cpu, began = written_bytes(), time.process_time(), time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    lasted, cpu, wrote = time.perf_counter() - began, time.process_time() - cpu, written_bytes() - wrote
    yield "batches", len(took) / lasted, "1/s"
    yield "durable_p50", 1e3 * float(np.quantile(took, 0.5)), "ms"
    yield "durable_p99", 1e3 * float(np.quantile(took, 0.99)), "ms"
    yield "cpu", 1e3 * cpu / len(took), "ms a batch"
    yield "written", wrote / (len(took) * len(payload)), "bytes a byte of payload"


def figures(
    name: str, rows: int, threads: int, seconds: float, folder: Path | None
) -> Iterator[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        where = Path(home) / "store"
        store = STORES[name](where)
        yield from measure(store, rows, threads, seconds)
        store.close()
        yield "left_on_disk", sum(p.stat().st_blocks * 512 for p in where.rglob("*") if p.is_file()) / 1e6, "MB"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured; default: the system's")
    options = parser.parse_args()
    for rows, threads in CASES:
        found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for _ in range(options.rounds):
            for name in STORES:
                for metric, value, unit in figures(name, rows, threads, options.seconds, options.folder):
                    found[name, metric, unit].append(value)
        for (name, metric, unit), values in found.items():
            line = {"rows": rows, "threads": threads, "store": name, "metric": metric, "unit": unit}
            line |= {"value": round(median(values), 3), "load": round(os.getloadavg()[0], 1)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
