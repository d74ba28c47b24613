"""Retraining: speed and memory on a GPU, the loop on the CPU, gates, faults and schedulers.

    python -m bench.retrain [--cases NAME ...] [--data FOLDER] [--dry-run] [--arms NAME ...]

The CPU cases always run, the GPU case where CUDA is there. `--dry-run` runs every case that has a small form at tiny
shapes on the CPU and writes its lines to a temporary file. Appends JSON lines to bench/results/retrain.jsonl.
"""

import argparse
import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.retraining.case import Case, Options

ROOT: Final = Path(__file__).resolve().parents[1]
# Name of a case and its module, loaded when it runs: a machine with a card need not have what the others import.
CASES: Final = {
    "cpu_banking77": "banking", "distill_cpu": "distill", "dpo_cpu": "dpo", "faults": "faults", "gates": "gates",
    "gpu_8b": "gpu",
    "schedulers": "schedulers",
}  # fmt: skip


def cuda() -> bool:
    """Whether a CUDA device is there; asked without torch, which the cases load in processes of their own."""
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), help="without it: all")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "retrain.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", default=(), help="arms of the GPU case; without it: those of the results")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on the CPU; results go to a temporary file")
    given = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="retrain-dry-")) / "retrain.jsonl" if given.dry_run else given.out
    options = Options(given.data, out, given.dry_run, given.threads, given.seed, tuple(given.arms))
    # Threads that wait actively cost several times the step time as soon as anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in given.cases or CASES:
        case: Case = importlib.import_module(f"bench.retraining.{CASES[name]}").CASE
        if case.needs == "cuda" and not cuda() and not given.dry_run:
            print(f"== {case.name}: left out, this machine has no CUDA device")
            continue
        print(f"== {case.name}: {case.about}", flush=True)
        begin = time.monotonic()
        case.run(options)
        print(f"   {time.monotonic() - begin:.0f} s", flush=True)
    print(f"results: {out}")


if __name__ == "__main__":
    main()
