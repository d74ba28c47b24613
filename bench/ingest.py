"""Ingest over HTTP compared with what a typical team writes: a FastAPI endpoint that bulk-inserts into SQLite.

    python -m bench.ingest [--seconds N] [--batch ROWS] [--connections N] [--cases ndjson,arrow,...]

Service (one uvicorn process) and load generator share two cores. Rows have 25 fields and about 400 bytes as NDJSON.
Closed loop: a connection sends its next batch as soon as the last is answered. Only the
ids change from request to request, so that every row is new. Durable means: Assay answers after its log is synced, the
peer after a commit with SQLite's WAL and synchronous FULL. The case `single` sends one row a request, 50 connections.

Per case: acknowledged rows per second; rows per second that another process finds when the run ends (in the table or
in the log); p99 of the requests at half of that load, and at full load; the most memory of the service, and the
most of it that is no file's; seconds from sending a batch until another process finds it; and after a kill -9 in
mid-load and a restart the acknowledged ids that are missing (lost) and those that are there twice (doubled).

Appends JSON lines to bench/results/ingest.jsonl.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.load.closed_loop import load, memory_mb, until_queryable, watched  # noqa: E402
from bench.load.results import write_lines  # noqa: E402
from bench.load.rows import Bodies  # noqa: E402
from bench.load.service import PEER_NAME, Service, assay, assay_ids, peer, peer_ids  # noqa: E402

SINGLE_CONNECTIONS = 50
UNITS = {"acknowledged_per_s": "rows/s", "stored_per_s": "rows/s", "p99_ms": "ms", "p99_full_load_ms": "ms",
         "peak_mb": "MiB", "peak_anonymous_mb": "MiB", "seconds_until_queryable": "s", "lost": "rows",
         "doubled": "rows"}  # fmt: skip


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, default=5000, help="rows in one request")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--cases", default="ndjson,json,arrow,parquet,single")
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ingest.jsonl")
    options = parser.parse_args()
    # The peer reads JSON alone; the columnar cases are compared with its NDJSON, which is what its users would send.
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
