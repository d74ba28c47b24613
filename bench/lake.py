"""The lake's own figures: one event among many, an export of everything, a day of many small commits.

    python -m bench.lake [--rows N] [--commits N] [--cases lookup,export,commits]

lookup: a table of N rows (9 columns, files as the flush leaves them, then compacted); one process looks up ids that it
has never looked up, and ids that are not there; also what opening the index costs a process that starts.
export: another process writes the same table out as NDJSON and as Parquet; its peak memory and its time.
commits: N commits of 20 rows in one day; reading one column before compaction and after.

Appends JSON lines to bench/results/ingest.jsonl; no peer does these.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.canonical import timestamp  # noqa: E402
from monitor.lake.compact import compact  # noqa: E402
from monitor.lake.table import LakeTable  # noqa: E402

COLUMNS = {
    "event_id": "string", "ts": "timestamp", "version": "string", "seq": "long", "received_at": "timestamp",
    "intent": "string", "region": "string", "confidence": "double", "latency_ms": "double", "date": "date",
}  # fmt: skip
START = datetime(2026, 6, 1, tzinfo=UTC)
FLUSHED_ROWS = 200_000  # rows a commit of the large table
Figure = tuple[str, str, float, str]  # case, metric, value, unit


def rows(first: int, count: int, *, day: date) -> pl.DataFrame:
    draw = np.random.default_rng(first)
    times = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(microseconds=1)
    return pl.DataFrame(
        {
            "event_id": pl.Series(np.arange(first, first + count)).cast(pl.String).str.pad_start(20, "0"),
            "version": pl.Series(["v7"]).new_from_index(0, count),
            "seq": np.arange(first, first + count),
            "intent": draw.choice(["refund", "card_arrival", "top_up", "lost_card"], count),
            "region": draw.choice(["north", "south", "east", "west"], count),
            "confidence": draw.random(count),
            "latency_ms": draw.gamma(2.0, 40.0, count),
        }
    ).with_columns(
        pl.lit(times, dtype=pl.Datetime("us", "UTC")).alias("ts"),
        pl.lit(times, dtype=pl.Datetime("us", "UTC")).alias("received_at"),
        pl.lit(day).alias("date"),
    )  # fmt: skip


def fill(folder: Path, count: int) -> LakeTable:
    """A table of `count` rows over ten days, compacted."""
    table = LakeTable(folder)
    for first in range(0, count, FLUSHED_ROWS):
        day = (START + timedelta(days=10 * first // count)).date()
        table.append(rows(first, min(FLUSHED_ROWS, count - first), day=day), COLUMNS)
    for _ in compact("bench", "events", table, nullcontext):
        pass
    return table


def lookup(folder: Path, count: int) -> Iterator[Figure]:
    table = LakeTable(folder)
    began = time.perf_counter()
    assert not table.find("nobody")
    yield "lookup_10m", "start_ms", 1e3 * (time.perf_counter() - began), "ms"
    took: dict[bool, list[float]] = {True: [], False: []}
    draw = random.Random(1)
    for there in [True, False] * 50:
        wanted = draw.randrange(count) + (0 if there else count)
        began = time.perf_counter()
        found = table.find(f"{wanted:020}")
        took[there].append(1e3 * (time.perf_counter() - began))
        assert [row["seq"] for row in found] == ([wanted] if there else [])
    yield "lookup_10m", "ms", statistics.median(took[True]), "ms"
    yield "lookup_10m", "max_ms", max(took[True]), "ms"
    yield "lookup_10m", "absent_ms", statistics.median(took[False]), "ms"
    yield "lookup_10m", "index_bytes_per_id", table.ids.nbytes / count, "bytes"


_EXPORT = """
import sys, time
from pathlib import Path
from monitor.upkeep.export import _WRITERS, _frames, STEP_ROWS
from monitor.lake.table import LakeTable
table = LakeTable(Path(sys.argv[1]))
began, size = time.perf_counter(), 0
for part in _WRITERS[sys.argv[2]](_frames(table, table.snapshot(), 0, None, None, STEP_ROWS)):
    size += len(part)
took = time.perf_counter() - began
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(took, int(peak) / 1024, size)
"""


def export(folder: Path, _: int) -> Iterator[Figure]:
    for form, case in (("ndjson", "export_10m"), ("parquet", "export_10m_parquet")):
        done = subprocess.run(
            [sys.executable, "-c", _EXPORT, folder, form], cwd=ROOT, capture_output=True, text=True, check=True
        )
        seconds, peak, size = map(float, done.stdout.split())
        yield case, "peak_mb", peak, "MiB"
        yield case, "seconds", seconds, "s"
        yield case, "written_mb", size / (1 << 20), "MiB"


def commits(folder: Path, count: int) -> Iterator[Figure]:
    table = LakeTable(folder)
    began = time.perf_counter()
    for i in range(count):
        table.append(rows(20 * i, 20, day=START.date()), COLUMNS)
    yield "small_commits", "commit_ms", 1e3 * (time.perf_counter() - began) / count, "ms"
    yield "small_commits", "open_before_ms", _open_ms(folder), "ms"
    yield "small_commits", "read_before_ms", _read_ms(folder), "ms"
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    merged = list(compact("bench", "events", table, nullcontext))
    assert (sum(r.rows for r in merged), len(table.snapshot().files)) == (20 * count, 1)
    yield "small_commits", "compact_s", time.perf_counter() - began, "s"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield "small_commits", "compact_more_mb", (peak - before) / 1024, "MiB"
    table.clean_log(keep=timedelta(0), now=datetime.now(UTC) + timedelta(seconds=1))
    yield "small_commits", "open_after_ms", _open_ms(folder), "ms"
    yield "small_commits", "read_after_ms", (after := _read_ms(folder)), "ms"
    with tempfile.TemporaryDirectory() as other:
        single = LakeTable(Path(other) / "events")
        single.append(table.scan().sort("seq").with_columns(date=pl.lit(START.date())).collect(), COLUMNS)
        yield "small_commits", "read_ratio", after / _read_ms(single.folder), "x one commit"


def _read_ms(folder: Path) -> float:
    """Reading one column by a process that has the table open, as the service has."""
    table = LakeTable(folder)
    table.snapshot()
    took = []
    for _ in range(15):
        began = time.perf_counter()
        table.scan().select(pl.col("confidence").mean()).collect()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took)


def _open_ms(folder: Path) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        LakeTable(folder).snapshot()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--cases", default="lookup,export,commits")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ingest.jsonl")
    options = parser.parse_args()
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    machine += f", load average {os.getloadavg()[0]:.1f} at the start"
    cases: dict[str, Callable[[Path, int], Iterator[Figure]]] = {"lookup": lookup, "export": export, "commits": commits}
    with tempfile.TemporaryDirectory() as home:
        large = Path(home) / "large" / "events"
        if {"lookup", "export"} & set(options.cases.split(",")):
            began = time.perf_counter()
            files = len(fill(large, options.rows).snapshot().files)
            print(f"{options.rows} rows in {files} files, {time.perf_counter() - began:.0f} s")
        for name in options.cases.split(","):
            small = name == "commits"
            figures = cases[name](
                Path(home) / "small" / "events" if small else large, options.commits if small else options.rows
            )
            with options.out.open("a") as file:
                for case, metric, value, unit in figures:
                    line = {
                        "bench": "ingest", "case": case, "metric": metric, "value": round(value, 4), "unit": unit,
                        "peer": None, "peer_value": None, "ratio": None, "at": timestamp(datetime.now(UTC)),
                        "machine": machine, "rows": options.commits * 20 if small else options.rows,
                    }  # fmt: skip
                    file.write(json.dumps(line) + "\n")
                    print(f"  {case:20} {metric:20} {value:12.2f} {unit}")


if __name__ == "__main__":
    main()
