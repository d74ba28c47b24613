"""OTLP over HTTP against Arize Phoenix and MLflow: the same requests, the same two cores, each on its own SQLite.

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
import sqlite3
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.load.spans import SPANS, SpanBodies  # noqa: E402
from bench.load.systems import PEERS, System, installed  # noqa: E402
from core.canonical import timestamp  # noqa: E402

UNITS = {"acknowledged_per_s": "spans/s", "stored_per_s": "spans/s", "seconds_until_queryable": "s", "lost": "spans",
         "doubled": "spans", "p99_ms": "ms", "peak_mb": "MB"}  # fmt: skip


@dataclass
class SpanLoad:
    acknowledged: list[int] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    cpu_s: float = 0.0


def load(
    system: System, bodies: SpanBodies, first: int, connections: int, seconds: float, *, kill: bool = False
) -> SpanLoad:
    """Send requests from number `first` on until the time is over or the service is killed."""
    done, guard, stop, numbers = SpanLoad(), threading.Lock(), threading.Event(), iter(range(first, 2**31))

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


def warm_up(system: System, bodies: SpanBodies) -> None:
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


def seconds_until_queryable(system: System, bodies: SpanBodies, number: int) -> float:
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
    bodies = SpanBodies()
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
