"""Drift measurement against peers: time and memory, from Parquet files to a verdict, and from stored profiles.

    python -m bench.drift [--rows N] [--cases evidently_1m_x20,...] [--peers PATH]

A million rows against a million, 15 numbers and 5 categories, from two Parquet files to a verdict with every
statistic of the catalogue, each run in a process of its own. Peers: Evidently's DataDriftPreset (from this
environment), NannyML's univariate calculator and whylogs' profiling, each in a virtual environment made once under
--peers; one that does not install is left out and the reason printed. With fewer --rows the case names stay and the
line says the rows.

Appends JSON lines to bench/results/drift.jsonl.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.canonical import timestamp  # noqa: E402

NUMBERS, CATEGORIES = 15, 5
# With what each needs at import and does not name itself.
PEERS = {
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pyarrow", "setuptools<80"),
    "whylogs": ("whylogs==1.6.4", "pandas<3", "numpy<2", "statsmodels", "pyarrow<20", "setuptools<80"),
}


@dataclass(frozen=True)
class Figure:
    case: str
    metric: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None


def table(rows: int, numbers: int, categories: int, seed: int, shift: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    made = (
        lambda: rng.normal(shift, 1.0, rows),
        lambda: rng.lognormal(shift, 1.0, rows),
        lambda: rng.integers(0, 1000, rows).astype(np.float64),
    )
    columns: dict[str, Any] = {f"n{i}": made[i % 3]() for i in range(numbers)}
    columns |= {f"c{i}": rng.choice([f"level {k}" for k in range(5 * (i % 5 + 1))], rows) for i in range(categories)}
    return pl.DataFrame(columns)


# --- what runs in a process of its own -------------------------------------------------------------------------------


def verdict(folder: Path) -> None:
    """Reference and window from Parquet to a decision and every statistic."""
    from monitor.baseline import fit_baseline
    from monitor.decide import decide
    from monitor.drift import drift_scores
    from monitor.profile import equal_blocks, merge_all, profile

    reference = pl.read_parquet(folder / "reference.parquet")
    baseline = fit_baseline(reference, kinds(reference), blocks=30)
    del reference
    window = pl.read_parquet(folder / "window.parquet")
    blocks = profile(window, baseline, equal_blocks(window.height, -(-window.height // 10)))
    decision = decide(baseline, blocks, alpha=0.01)
    assert decision.judged
    assert len(drift_scores(baseline, merge_all(blocks))) > 0


def profiling(folder: Path) -> None:
    """A window's profile alone; the baseline is fitted beforehand and not timed."""
    from monitor.profile import profile_block

    profile_block(pl.read_parquet(folder / "window.parquet"), _small_baseline(folder))


def evidently(folder: Path) -> None:
    import warnings

    import pandas as pd

    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    reference, window = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "window"))
    names = list(reference.columns)
    definition = DataDefinition(
        numerical_columns=[n for n in names if n[0] == "n"], categorical_columns=[n for n in names if n[0] == "c"]
    )
    sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in (window, reference)]
    Report([DataDriftPreset()]).run(*sides).dict()


NANNYML = """
import sys, time, json, warnings; warnings.simplefilter("ignore")
import nannyml, pandas as pd
start = time.perf_counter()
reference, window = (pd.read_parquet(sys.argv[1] + "/" + n + ".parquet") for n in ("reference", "window"))
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(reference.columns), chunk_number=10,
    continuous_methods=["kolmogorov_smirnov", "wasserstein", "jensen_shannon"],
    categorical_methods=["chi2", "jensen_shannon"])
calculator.fit(reference).calculate(window)
seconds = time.perf_counter() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
"""
WHYLOGS = """
import sys, time, json, warnings; warnings.simplefilter("ignore")
import whylogs, pandas as pd
start = time.perf_counter()
whylogs.log(pd.read_parquet(sys.argv[1] + "/window.parquet")).view().to_pandas()
seconds = time.perf_counter() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
"""


def _small_baseline(folder: Path) -> Any:
    from monitor.baseline import fit_baseline

    reference = pl.read_parquet(folder / "reference.parquet", n_rows=100_000)
    return fit_baseline(reference, kinds(reference), blocks=30)


def kinds(frame: pl.DataFrame) -> dict[str, Any]:
    return {name: "number" if name[0] == "n" else "category" for name in frame.columns}


WORK: dict[str, Callable[[Path], None]] = {"verdict": verdict, "profiling": profiling, "evidently": evidently}


def child(name: str, folder: Path) -> None:
    """Run one piece of work twice where it is ours (the second time is reported: files in the cache, code loaded)."""
    seconds = 0.0
    for _ in range(1 if name == "evidently" else 2):
        before = 0.0
        if name == "profiling":
            start = time.perf_counter()
            _small_baseline(folder)
            before = time.perf_counter() - start
        start = time.perf_counter()
        WORK[name](folder)
        seconds = time.perf_counter() - start - before
    # Not getrusage: what it reports begins with the memory of the process that forked this one.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM"))
    print(json.dumps([seconds, int(peak.split()[1]) / 1024]))


def timed(command: list[str]) -> tuple[float, float]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-400:])
    seconds, peak = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, peak


def ours(name: str, folder: Path) -> tuple[float, float]:
    return timed([sys.executable, "-m", "bench.drift", "--child", name, "--folder", str(folder)])


# --- cases -----------------------------------------------------------------------------------------------------------


def million(options: argparse.Namespace, case: str, folder: Path) -> Iterator[Figure]:
    """One of the three cases with a peer."""
    peer = case.split("_", maxsplit=1)[0]
    mine = ours("profiling" if peer == "whylogs" else "verdict", folder)
    try:
        if peer == "evidently":
            theirs = ours("evidently", folder)
        else:
            script = NANNYML if peer == "nannyml" else WHYLOGS
            theirs = timed([str(peer_python(options.peers, peer)), "-c", script, str(folder)])
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"{case}: {peer} left out: {str(error).strip()[-200:]}", file=sys.stderr)
        yield Figure(case, "seconds", mine[0], "s")
        yield Figure(case, "peak_mb", mine[1], "MB")
        return
    yield Figure(case, "seconds", mine[0], "s", peer, theirs[0])
    yield Figure(case, "peak_mb", mine[1], "MB", peer, theirs[1])


def peer_python(folder: Path, peer: str) -> Path:
    """The interpreter of a peer's own environment, made on first use."""
    home = folder / peer
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[peer]], check=True)
        (home / "installed").touch()
    return python


def scale(options: argparse.Namespace) -> Iterator[Figure]:
    """A tenth of the rows and of the columns of 3 million by 1,000, and both doubled: time and memory are linear."""
    rows, columns = options.rows * 3 // 10, 100
    seconds = {}
    for r, c in ((rows, columns), (2 * rows, columns), (rows, 2 * columns)):
        with tempfile.TemporaryDirectory(prefix="assay-bench-") as place:
            folder = Path(place)
            for seed, name in enumerate(("reference", "window")):
                table(r, c * 3 // 4, c // 4, seed, 0.02 * seed).write_parquet(folder / f"{name}.parquet")
            seconds[r, c], peak = ours("verdict", folder)
        yield Figure("scale_3m_x1000", f"seconds_{r}_x{c}", seconds[r, c], "s")
        yield Figure("scale_3m_x1000", f"peak_mb_{r}_x{c}", peak, "MB")
    base = seconds[rows, columns]
    yield Figure("scale_3m_x1000", "growth_rows_2x", seconds[2 * rows, columns] / base, "ratio")
    yield Figure("scale_3m_x1000", "growth_columns_2x", seconds[rows, 2 * columns] / base, "ratio")
    yield Figure("scale_3m_x1000", "seconds_by_the_law", base * 3_000_000 / rows * 1000 / columns, "s")


def from_profiles() -> Iterator[Figure]:
    """A week of quarters of days of 50 columns, read from the database, judged and measured; at 100 times the rows."""
    taken = {}
    for rows in (200, 20_000):
        taken[rows] = _window_ms(rows)
    yield Figure("window_from_profiles", "ms", taken[200], "ms")
    yield Figure("growth_100x", "growth", taken[20_000] / taken[200], "ratio")


def _window_ms(rows: int) -> float:
    """`rows` in a quarter of a day."""
    from uuid import uuid4

    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from core.db import Base
    from monitor.baseline import fit_baseline
    from monitor.blocks import Scale, plan_blocks
    from monitor.decide import decide
    from monitor.drift import drift_scores
    from monitor.profile import merge_all, profile
    from monitor.profile_bytes import to_bytes
    from monitor.profiles import stored_blocks
    from monitor.tables import StoredProfile

    reference = table(63 * 4 * 200, 40, 10, 1, 0.0)
    baseline = fit_baseline(reference, kinds(reference), blocks=np.arange(reference.height) // 200, parts=4)
    window = table(28 * rows, 40, 10, 2, 0.01)
    blocks = profile(window, baseline, np.arange(window.height) // rows)
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    owner, scale_of_week = uuid4(), Scale(28, "day", 21_600)
    with Session(engine) as db:
        db.add_all(
            StoredProfile(baseline_id=owner, label=400 + i, version="", segment="", rows=b.rows, data=to_bytes(b))
            for i, b in enumerate(blocks)
        )
        db.commit()
        taken = []
        for i in range(8):
            start = time.perf_counter()
            found = stored_blocks(db, owner, baseline.coding, range(400, 428))
            plan = plan_blocks(baseline, scale_of_week, 7 / 60)
            decide(baseline, found, alpha=7 / 60, plan=plan, first=400, redraws=300, seed=i)
            drift_scores(baseline, merge_all(found))
            taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:]) * 1000)


def decision() -> Iterator[Figure]:
    from monitor.baseline import fit_baseline
    from monitor.decide import decide
    from monitor.profile import profile

    reference = table(56 * 100, 500, 0, 1, 0.0)
    baseline = fit_baseline(reference, kinds(reference), blocks=56)
    blocks = profile(table(700, 500, 0, 2, 0.0), baseline, np.arange(700) // 100)
    taken = []
    for i in range(6):
        start = time.perf_counter()
        decide(baseline, blocks, alpha=1 / 30, redraws=300, seed=i)
        taken.append(time.perf_counter() - start)
    yield Figure("decision_500_columns", "ms", float(np.median(taken[1:]) * 1000), "ms")


def run(options: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    for name in options.cases.split(","):
        match name:
            case "scale_3m_x1000":
                yield from scale(options)
            case "window_from_profiles" | "growth_100x":
                yield from from_profiles()
            case "decision_500_columns":
                yield from decision()
            case _:
                yield from million(options, name, folder)


CASES = ("decision_500_columns", "window_from_profiles", "scale_3m_x1000", "evidently_1m_x20", "nannyml_1m_x20",
         "whylogs_profile_1m_x20")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "assay-bench")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "drift.jsonl")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder)
        return
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    machine += f", load average {os.getloadavg()[0]:.1f} at the start"
    if options.rows != 1_000_000:
        machine += f", {options.rows} rows"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as place, options.out.open("a") as out:
        folder = Path(place)
        for seed, name in enumerate(("reference", "window")):
            frame = table(options.rows, NUMBERS, CATEGORIES, seed, 0.02 * seed)
            frame.write_parquet(folder / f"{name}.parquet")
        for figure in run(options, folder):
            ratio = figure.peer_value / figure.value if figure.peer_value else None
            line = {
                "bench": "drift", "case": figure.case, "metric": figure.metric, "value": round(figure.value, 4),
                "unit": figure.unit, "peer": figure.peer,
                "peer_value": None if figure.peer_value is None else round(figure.peer_value, 3),
                "ratio": None if ratio is None else round(ratio, 2), "at": timestamp(datetime.now(UTC)),
                "machine": machine,
            }  # fmt: skip
            out.write(json.dumps(line) + "\n")
            out.flush()
            beside = "" if ratio is None else f"   {figure.peer} {figure.peer_value:.2f}, ratio {ratio:.1f}"
            print(f"{figure.case:26s} {figure.metric:26s} {figure.value:10.3f} {figure.unit}{beside}", flush=True)


if __name__ == "__main__":
    main()
