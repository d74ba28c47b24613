"""Drift measurement against peers: time and memory, from Parquet files to a verdict, and from stored profiles.

    python -m bench.drift [--rows N] [--cases evidently_1m_x20,...] [--peers PATH]

A million rows against a million, 15 numbers and 5 categories, from two Parquet files to a verdict with every
statistic of the catalogue, each run in a process of its own. Peers: Evidently's DataDriftPreset (from this
environment), NannyML's univariate calculator and whylogs' profiling, each in a virtual environment made once under
--peers; one that does not install is left out and the reason printed. With fewer --rows the case names stay and the
line says the rows. CPU seconds stand beside wall seconds: they hold on a machine that does other things too.

3 million rows by 1,000 columns are foretold from runs that reach each of the two by itself (bench/speed/law.py), which
are all printed and stored, with a run in between that the law did not see.

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

from bench.speed.law import law  # noqa: E402
from bench.speed.rows import write_sides  # noqa: E402
from bench.speed.stored import decision, windows  # noqa: E402
from bench.speed.work import ours, peers  # noqa: E402
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


def million(options: argparse.Namespace, case: str) -> Iterator[Figure]:
    """One of the three cases with a peer."""
    peer = case.split("_", maxsplit=1)[0]
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as place:
        write_sides(Path(place), options.rows, NUMBERS, CATEGORIES)
        mine = ours("profiling" if peer == "whylogs" else "verdict", Path(place))
        try:
            theirs = peers(peer, Path(place), options.peers)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{case}: {peer} left out: {str(error).strip()[-200:]}", file=sys.stderr)
            theirs = None
    for metric, unit in (("seconds", "s"), ("cpu_seconds", "s"), ("peak_mb", "MB")):
        beside = None if theirs is None else getattr(theirs, metric)
        yield Figure(case, metric, getattr(mine, metric), unit, peer if theirs else None, beside)


def scale(options: argparse.Namespace) -> Iterator[Figure]:
    case, found = "scale_3m_x1000", law(options.rows / 1_000_000)
    for (rows, columns), taken in found.runs.items():
        for metric, value, unit in (
            ("seconds", taken.seconds, "s"), ("cpu_seconds", taken.cpu_seconds, "s"), ("peak_mb", taken.peak_mb, "MB"),
        ):  # fmt: skip
            yield Figure(case, f"{metric}_{rows}_x{columns}", value, unit)
    yield Figure(case, "exponent_rows", found.by_rows, "exponent of CPU seconds")
    yield Figure(case, "exponent_columns", found.by_columns, "exponent of CPU seconds")
    yield Figure(case, "check_cpu_seconds", found.check.cpu_seconds, "measured over foretold")
    yield Figure(case, "check_peak_mb", found.check.peak_mb, "measured over foretold")
    basis = "foretold by the law of the runs beside"
    yield Figure(case, "seconds", found.foretold.seconds, "s", basis=basis)
    yield Figure(case, "cpu_seconds", found.foretold.cpu_seconds, "s", basis=basis)
    yield Figure(case, "peak_mb", found.foretold.peak_mb, "MB", basis=basis)


def from_profiles() -> Iterator[Figure]:
    """At 200 rows a quarter of a day, and at 100 times as many."""
    few, many = windows((200, 20_000))
    yield Figure("window_from_profiles", "ms", few[0], "ms")
    yield Figure("window_from_profiles", "cpu_ms", few[1], "ms")
    yield Figure("growth_100x", "growth", many[0] / few[0], "ratio")
    yield Figure("growth_100x", "cpu_growth", many[1] / few[1], "ratio")


def run(options: argparse.Namespace) -> Iterator[Figure]:
    for name in options.cases.split(","):
        match name:
            case "scale_3m_x1000":
                yield from scale(options)
            case "window_from_profiles" | "growth_100x":
                yield from from_profiles()
            case "decision_500_columns":
                wall, cpu = decision()
                yield Figure(name, "ms", wall, "ms")
                yield Figure(name, "cpu_ms", cpu, "ms")
            case _:
                yield from million(options, name)


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
