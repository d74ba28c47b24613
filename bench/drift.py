"""Time and memory of drift measurement compared with peers: from Parquet files to a verdict, and from stored profiles.

    python -m bench.drift [--rows N] [--cases evidently_1m_x20,...] [--peers PATH]

A million rows are compared with a million, of 15 numbers and 5 categories: from two Parquet files to a verdict with
every statistic of the catalogue, each run in a process of its own. Peers: Evidently's DataDriftPreset (from this
environment), NannyML's univariate calculator and whylogs' profiling, each in a virtual environment that is made once
under --peers. A peer that does not install is left out, and the reason is printed. With fewer --rows, the case names
stay and the line states the rows. CPU seconds are reported next to wall seconds, because they hold on a busy machine.

3 million rows by 1,000 columns are predicted from runs that reach each of the two separately (bench/speed/law.py).
These are all printed and stored, with a run of a size in between that the fit did not use.

Appends JSON lines to bench/results/drift.jsonl.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.speed.law import fit_law  # noqa: E402
from bench.speed.rows import write_sides  # noqa: E402
from bench.speed.stored import time_decision, time_windows  # noqa: E402
from bench.speed.work import run_ours, run_peer  # noqa: E402
from core.canonical import timestamp  # noqa: E402

NUMBERS, CATEGORIES = 15, 5
CASES = ("decision_500_columns", "window_from_profiles", "scale_3m_x1000", "evidently_1m_x20", "nannyml_1m_x20",
         "whylogs_profile_1m_x20")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    case: str
    metric: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    basis: str = ""


def beside_peer(options: argparse.Namespace, case: str) -> Iterator[Figure]:
    """One of the three cases, compared with a peer."""
    peer = case.split("_", maxsplit=1)[0]
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as place:
        write_sides(Path(place), options.rows, NUMBERS, CATEGORIES)
        mine = run_ours("profiling" if peer == "whylogs" else "verdict", Path(place))
        try:
            theirs = run_peer(peer, Path(place), options.peers)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{case}: {peer} left out: {str(error).strip()[-200:]}", file=sys.stderr)
            theirs = None
    for metric, unit in (("seconds", "s"), ("cpu_seconds", "s"), ("peak_mb", "MB")):
        beside = None if theirs is None else getattr(theirs, metric)
        yield Figure(case, metric, getattr(mine, metric), unit, peer if theirs else None, beside)


def scale_figures(options: argparse.Namespace) -> Iterator[Figure]:
    case, found = "scale_3m_x1000", fit_law(options.rows / 1_000_000)
    for (rows, columns), taken in found.runs.items():
        for metric, value, unit in (
            ("seconds", taken.seconds, "s"), ("cpu_seconds", taken.cpu_seconds, "s"), ("peak_mb", taken.peak_mb, "MB"),
        ):  # fmt: skip
            yield Figure(case, f"{metric}_{rows}_x{columns}", value, unit)
    yield Figure(case, "exponent_rows", found.by_rows, "exponent of CPU seconds")
    yield Figure(case, "exponent_columns", found.by_columns, "exponent of CPU seconds")
    yield Figure(case, "check_cpu_seconds", found.check.cpu_seconds, "measured over predicted")
    yield Figure(case, "check_peak_mb", found.check.peak_mb, "measured over predicted")
    basis = "predicted by the law fitted on the other runs"
    yield Figure(case, "seconds", found.predicted.seconds, "s", basis=basis)
    yield Figure(case, "cpu_seconds", found.predicted.cpu_seconds, "s", basis=basis)
    yield Figure(case, "peak_mb", found.predicted.peak_mb, "MB", basis=basis)


def window_figures() -> Iterator[Figure]:
    """Windows with 200 rows in a quarter of a day, and with 100 times as many."""
    few, many = time_windows((200, 20_000))
    yield Figure("window_from_profiles", "ms", few[0], "ms")
    yield Figure("window_from_profiles", "cpu_ms", few[1], "ms")
    yield Figure("growth_100x", "growth", many[0] / few[0], "ratio")
    yield Figure("growth_100x", "cpu_growth", many[1] / few[1], "ratio")


def run(options: argparse.Namespace) -> Iterator[Figure]:
    for name in options.cases.split(","):
        match name:
            case "scale_3m_x1000":
                yield from scale_figures(options)
            case "window_from_profiles" | "growth_100x":
                yield from window_figures()
            case "decision_500_columns":
                wall, cpu = time_decision()
                yield Figure(name, "ms", wall, "ms")
                yield Figure(name, "cpu_ms", cpu, "ms")
            case _:
                yield from beside_peer(options, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "assay-bench")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "drift.jsonl")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as out:
        for figure in run(options):
            machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
            machine += f", load average {os.getloadavg()[0]:.1f}"
            if os.nice(0):
                machine += f", niceness {os.nice(0)}"
            if options.rows != 1_000_000:
                machine += f", {options.rows} rows"
            if figure.basis:
                machine += f", {figure.basis}"
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
