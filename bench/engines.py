"""Engines: the profiles of 3 million rows of 100 columns, from Parquet files, with one job and with two.

    python -m bench.engines [--rows N] [--columns N] [--jobs 1,2] [--ray ADDRESS]

The rows are written once as a Delta table of 50,000 rows a file. Each case is a process of its own with its own home
folder, and its profiles are compared byte for byte with those of the first case, which is the peer too. `peak_mb` is
the largest process of the case, the one that gives out the work or one that does it. With fewer --rows the case names
stay and the line says the rows.

Appends JSON lines to bench/results/engines.jsonl.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.canonical import timestamp  # noqa: E402

MODEL = "bench"
WINDOW, REFERENCE, FILE = 300_000, 300_000, 50_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def document(columns: int) -> dict[str, Any]:
    declared: dict[str, Any] = {f"n{i}": {"role": "input", "type": "number"} for i in range(columns - 1)}
    declared["answer"] = {"role": "prediction", "type": "category"}
    return {
        "model": MODEL, "task": "classification", "owner": "bench@example.com", "purpose": "measure the engines",
        "columns": declared, "baseline": {"rows": f"first {REFERENCE}"},
        "monitors": {"windows": {"rows": WINDOW}, "false_alarms": {"alpha": 0.1}},
    }  # fmt: skip


def write_rows(lake: Path, rows: int, columns: int) -> None:
    from monitor.events.columns import DELTA_TYPES, EVENT_FIELDS
    from monitor.lake.table import LakeTable
    from monitor.spec.parse import parse_spec

    spec = parse_spec(document(columns))
    kinds = {**EVENT_FIELDS, **{name: DELTA_TYPES[c.type] for name, c in spec.event_columns.items()}}
    table = LakeTable(lake / MODEL / "events")
    for start in range(0, rows, FILE):
        count = min(FILE, rows - start)
        rng = np.random.default_rng(start)
        # Two decimals, as amounts have, so that the files are of a size that files have.
        values = {f"n{i}": np.round(rng.normal(size=count), 2) for i in range(columns - 1)}
        seq = np.arange(start, start + count)
        frame = pl.DataFrame(
            {
                "event_id": [f"e{i}" for i in seq], "ts": pl.Series([BEGIN + timedelta(seconds=int(i)) for i in seq]),
                "version": ["v1"] * count, "seq": seq, **values, "answer": rng.choice(["yes", "no", "later"], count),
            }
        ).with_columns(
            pl.col("ts").alias("received_at"), pl.col("ts").dt.date().alias("date"),
            trace_id=pl.lit(None, dtype=pl.String), span_id=pl.lit(None, dtype=pl.String),
        )  # fmt: skip
        table.append(frame, {**kinds, "date": "date"})


def child(home: Path, lake: Path, columns: int, kind: str, jobs: int, address: str | None) -> None:
    """Profile everything under one engine; prints what was measured."""
    import psutil
    from sqlalchemy import select

    import migrations
    from core.clock import ManualClock
    from core.settings import load
    from monitor import service, store
    from monitor.reference import collect
    from monitor.reference.block_profiles import profile_ended_blocks
    from monitor.reference.profile_job import load_profile
    from monitor.site import open_site
    from monitor.spec.parse import parse_spec
    from monitor.tables import ReferenceRow, StoredProfile

    engine = {"kind": kind, "jobs": jobs, "ray_address": address}
    settings = load({}, home=home, lake={"uri": str(lake)}, engine=engine)
    migrations.upgrade(settings.database_url)
    site = open_site(settings, ManualClock(NOW))
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(document(columns)), "bench")
    with site.database.write() as db:
        current = service.current_spec(site, db, MODEL)
        row = store.newest_reference(db, current.model.id)
        assert row is not None
        row.from_seq = 0  # the rows were there before the model
    collect.collect(site, current, row)
    with site.database.read() as db:
        row = db.get_one(ReferenceRow, row.id)
    assert row.artifact is not None, row.problem
    baseline = load_profile(site.artifacts.root, row.artifact)
    before = psutil.Process().cpu_times()
    start = time.perf_counter()
    labels = profile_ended_blocks(site, current, row, baseline)
    seconds = time.perf_counter() - start
    workers = [p for p in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(p.cmdline())]
    peaks = [_peak_mb(p.pid) for p in workers]
    used = psutil.Process().cpu_times()
    cpu = used.user + used.system - before.user - before.system
    cpu += sum(p.cpu_times().user + p.cpu_times().system for p in workers)
    with site.database.read() as db:
        stored = db.scalars(select(StoredProfile.data).order_by(StoredProfile.label, StoredProfile.version))
        digest = hashlib.sha256(b"".join(stored)).hexdigest()
    print(json.dumps([seconds, cpu, _peak_mb(os.getpid()), peaks, len(labels), digest]))
    site.close()


def _peak_mb(pid: int) -> float:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(options: argparse.Namespace, folder: Path, kind: str, jobs: int) -> list[Any]:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        command = [
            sys.executable, "-m", "bench.engines", "--child", home, "--lake", str(folder / "lake"),
            "--columns", str(options.columns), "--jobs", str(jobs), "--kind", kind,
        ]  # fmt: skip
        command += ["--ray", options.ray] if options.ray else []
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])
    found: list[Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--jobs", default="1,2", help="comma-separated; the first is what the others are compared with")
    parser.add_argument("--ray", default="", help="address of a running Ray cluster, measured too with the last jobs")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="loky", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "engines.jsonl")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.lake, options.columns, options.kind, int(options.jobs), options.ray or None)
        return
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    machine += f", load average {os.getloadavg()[0]:.1f} at the start, {options.rows} rows x {options.columns} columns"
    jobs = [int(j) for j in options.jobs.split(",")]
    cases = [("loky", j) for j in jobs] + ([("ray", jobs[-1])] if options.ray else [])
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as place, options.out.open("a") as out:
        folder = Path(place)
        write_rows(folder / "lake", options.rows, options.columns)
        first: list[Any] = []
        for kind, number in cases:
            found = measured(options, folder, kind, number)
            first = first or found
            if found[5] != first[5]:
                raise RuntimeError(f"{kind} with {number} jobs gives other profiles than {cases[0]}")
            figures = {
                "seconds": (found[0], "s"),
                "cpu_seconds": (found[1], "s"),
                "peak_mb": (max(found[2], *found[3], 0.0), "MB"),
            }
            compared = {"seconds": first[0], "cpu_seconds": first[1], "peak_mb": max(first[2], *first[3], 0.0)}
            for metric, (value, unit) in figures.items():
                if kind == "ray" and metric != "seconds":
                    continue  # the cluster's processes are not children of this one
                peer = None if found is first else f"{jobs[0]} loky job" + "s" * (jobs[0] > 1)
                line = {
                    "bench": "engines", "case": f"profile_3m_x100_{kind}_{number}", "metric": metric,
                    "value": round(value, 3), "unit": unit, "peer": peer,
                    "peer_value": None if peer is None else round(compared[metric], 3),
                    "ratio": None if peer is None else round(compared[metric] / value, 2),
                    "at": timestamp(datetime.now(UTC)), "machine": machine,
                }  # fmt: skip
                out.write(json.dumps(line) + "\n")
                out.flush()
                print(f"{line['case']:26s} {metric:12s} {value:10.2f} {unit}   ratio {line['ratio']}", flush=True)


if __name__ == "__main__":
    main()
