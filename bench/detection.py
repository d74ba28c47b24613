"""How often the drift rule alarms: traffic without drift, planted shifts, irrelevant shifts, texts, a month of days.

    python -m bench.detection [--full] [--trials N] [--cases null,power,...] [--seed N] [--processes N]

By default it is small (minutes); --full runs every kind of traffic, about an hour on one idle core. Every window is
judged by the default path of the service: `monitor.detect.rules` with a spec, and with the blocks, budget and
permutations of production. In every trial a reference is fitted on its own rows, and some windows after it are judged;
`standard_error` is over references, not windows. Windows of 10,000 rows and more are drawn from a bank of profiles,
whose bins are fitted on other rows.

Some of the windows are also judged by the rules of other tools, each at its own settings: Evidently's default (any
column, half of the columns), Kolmogorov-Smirnov and chi-square with Bonferroni at 5 %, three standard deviations over
chunks (NannyML), PSI over 0.1. The case `peers` compares these rules with Evidently and NannyML themselves. Read alarm
rates next to false-alarm rates: a rule that always alarms detects everything.

The cases `early` and `early_power` measure the early rule of `windows: auto` with the spec of README, on a first
reference of about 1,000 rows: minutes on one core (--cases early,early_power).

Cases: null_<traffic>_<window>_<rows a day>, mean_over_null, run_length_<traffic>, power_<shift>_<rows>,
irrelevant_<rows>, text_banking77_<shift>_<rows>, peers, early_<traffic>_<rows a day>,
early_power_<shift>_<rows a day>. Tables come from ../shared/data next to the checkout.

Appends JSON lines to bench/results/detection.jsonl.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", POLARS_MAX_THREADS="1")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.detect.cells import DATA, Cell, Figure, cells_of, mean_over_null, run_cell  # noqa: E402
from core.canonical import timestamp  # noqa: E402

CASES = ("null", "power", "irrelevant", "run_length", "text", "peers", "early", "early_power")


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    cells: list[Cell] = [cell for case in options.cases.split(",") for cell in cells_of(case, options)]
    nulls: list[Figure] = []
    # Processes are spawned, because Polars' threads do not survive a fork.
    with ProcessPoolExecutor(options.processes, get_context("spawn"), os.nice, (15,)) as pool:
        for found in pool.map(run_cell, cells):
            nulls += [f for f in found if f.exchangeable]
            yield from found
    yield from mean_over_null(nulls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every traffic, size and shift; hours")
    parser.add_argument(
        "--trials", type=int, default=60, help="windows of a null cell; other cells have a part of them"
    )
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--traffic", default="", help="only these kinds of traffic, by name")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "assay-bench")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "detection.jsonl")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("no public datasets in shared/data next to the checkout; this bench draws its traffic from them")
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as out:
        for figure in figures(options):
            line = {
                "bench": "detection", "case": figure.case, "metric": figure.metric, "value": round(figure.value, 4),
                "unit": figure.unit, "peer": figure.peer,
                "peer_value": None if figure.peer_value is None else round(figure.peer_value, 4), "ratio": None,
                "at": timestamp(datetime.now(UTC)), "machine": machine, "seed": options.seed,
            }  # fmt: skip
            out.write(json.dumps(line) + "\n")
            out.flush()
            beside = "" if figure.peer is None else f"   {figure.peer} {figure.peer_value:.3f}"
            print(f"{figure.case:36s} {figure.metric:34s} {figure.value:8.4f} {figure.unit}{beside}", flush=True)


if __name__ == "__main__":
    main()
