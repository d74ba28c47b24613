"""Replay: CPU seconds of `assay replay --json`, side by side with another build of Assay, whose answers must be equal.

    python -m bench.replay [--today FOLDER | --commit SHA] [--cases history_250k,compas,sparse_50_years,busy]
                           [--rows N] [--days N] [--rounds N]

history_250k: 277,000 rows of 19 columns in 54 windows, with outcomes, 3 KPIs, estimates and 2 fairness metrics.
compas: two windows of 7,214 people; half of its time is imports, so it is run several times.
sparse_50_years: one row a day for 18,159 days, 8 numbers, windows of a year.
busy: compas alone, and again beside four processes that never wait.

Both builds run in turn, each in a process of its own. CPU is that of the process and of everything it started. The
other build is the folder of --today, or else a worktree of --commit, made in a temporary folder and removed. The specs
declare windows and reference and no limits, so that no rule that came later changes a verdict; an answer that differs
in anything but wording, identifiers and estimates ends the bench. For a shorter run: --rows 60000 --days 2000.

Appends JSON lines to bench/results/replay.jsonl.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.speed.histories import Files, compas, history, sparse  # noqa: E402
from core.canonical import timestamp  # noqa: E402

COMMIT: Final = "e2e513b"
PACKAGES: Final = ("api", "core", "governance", "migrations", "monitor", "reports", "retrain")
COMMAND: Final = "from api.cli import main; main()"
BUSY_PROCESSES: Final = 4
# Fields whose change is not a change of a verdict or value. Estimates have a bench of their own, bench/estimates.py.
WORDING: Final = ("sentence", "reason", "estimate_reason", "meaning", "definition", "notes", "evidence", "first_window",
    "last_window", "window")  # fmt: skip
ESTIMATES: Final = ("estimated", "low", "high", "estimate_valid", "band_held")
ALERTS: Final = ("column", "value", "limit", "headlines")  # an alert of several windows or columns tells of the worst
TOLERANCE: Final = 1e-12  # relative, of a number; of one below 0.001, of 0.001


@dataclass(frozen=True)
class Replayed:
    cpu_seconds: float
    document: dict[str, Any]


def replay(build: Path, files: Files) -> Replayed:
    """One replay by one build, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("ASSAY_")}
    spec = files.spec if build == ROOT or files.today is None else files.today
    command = [sys.executable, "-c", COMMAND, "replay", str(spec), str(files.events), "--json"]
    before = _children_seconds()
    done = subprocess.run(
        command, cwd=build, env=kept | {"PYTHONPATH": str(build)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{build}: {done.stderr[-2000:]}")
    return Replayed(_children_seconds() - before, json.loads(done.stdout))


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def differences(before: Any, after: Any, path: str = "", field: str = "") -> Iterator[str]:
    """Where two documents differ in a verdict or value; fields that only the newer one has do not count."""
    if field in WORDING or (field in ESTIMATES and ".kpi." in path) or (field in ALERTS and ".alerts" in path):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name not in after:
                yield f"{path}.{name} is gone"
            else:
                yield from differences(value, after[name], f"{path}.{name}", name)
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} entries, now {len(after)}"
        for at, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from differences(one, other, f"{path}[{at}]", field)
    elif isinstance(before, float) and isinstance(after, float):
        if abs(before - after) > TOLERANCE * max(abs(before), abs(after), 1e-3):
            yield f"{path}: {before!r}, now {after!r}"
    elif before != after:
        yield f"{path}: {before!r}, now {after!r}"


def compared(case: str, builds: Sequence[Path], files: Files, rounds: int) -> list[float]:
    """The median CPU seconds of each build, run in turn; ours first.

    Raises:
        RuntimeError: the builds do not agree.
    """
    taken: list[list[float]] = [[] for _ in builds]
    for _ in range(rounds):
        runs = [replay(build, files) for build in builds]
        found = list(differences(runs[1].document, runs[0].document))
        if found:
            raise RuntimeError(f"{case}: {len(found)} differences, such as " + "; ".join(found[:5]))
        for seconds, run in zip(taken, runs, strict=True):
            seconds.append(run.cpu_seconds)
        windows = len(runs[0].document["windows"])
        print(f"{case}: {windows} windows; ours, today: {[f'{s[-1]:.2f}' for s in taken]} s of CPU", flush=True)
    return [statistics.median(seconds) for seconds in taken]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """`count` processes that never wait."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def beside_busy_processes(builds: Sequence[Path], files: Files, rounds: int) -> list[float]:
    """CPU beside four busy processes over CPU alone, medians over the rounds, of each build."""
    shares: list[list[float]] = [[] for _ in builds]
    for _ in range(rounds):
        for share, build in zip(shares, builds, strict=True):
            alone = replay(build, files).cpu_seconds
            with busy(BUSY_PROCESSES):
                share.append(replay(build, files).cpu_seconds / alone)
        print(f"busy: ours, today: {[f'{s[-1]:.2f}' for s in shares]} times", flush=True)
    return [statistics.median(share) for share in shares]


@contextmanager
def other_build(options: argparse.Namespace, folder: Path) -> Iterator[Path]:
    """The folder of the build that is compared with, a temporary worktree unless one was given."""
    if options.today is not None:
        yield options.today.resolve()
        return
    place = folder / "today"
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--detach", str(place), options.commit], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True, capture_output=True)


def compile_once(build: Path) -> None:
    """Write byte code, so that neither build is timed compiling itself."""
    folders = [str(build / name) for name in PACKAGES]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=True)


def measure(options: argparse.Namespace, builds: Sequence[Path], folder: Path) -> Iterator[tuple[str, str, str, Any]]:
    """Case, metric, unit, and ours and today's value."""
    cases: dict[str, Callable[[], tuple[str, str, Any]]] = {
        "history_250k": lambda: (
            "cpu_seconds", "s", compared("history_250k", builds, history(folder, options.rows), 1),
        ),
        "compas": lambda: ("cpu_seconds", "s", compared("compas", builds, compas(folder), options.rounds)),
        "sparse_50_years": lambda: (
            "cpu_seconds", "s", compared("sparse_50_years", builds, sparse(folder, options.days), 1),
        ),
        "busy": lambda: (
            "busy_over_quiet", "times", beside_busy_processes(builds, compas(folder), options.rounds),
        ),
    }  # fmt: skip
    for case in options.cases.split(","):
        metric, unit, values = cases[case]()
        yield case, metric, unit, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--today", type=Path, help="folder of the build to compare with")
    parser.add_argument("--commit", default=COMMIT, help="or the commit to compare with")
    parser.add_argument("--cases", default="history_250k,compas,sparse_50_years,busy")
    parser.add_argument("--rows", type=int, default=277_000, help="of history_250k")
    parser.add_argument("--days", type=int, default=18_159, help="of sparse_50_years")
    parser.add_argument("--rounds", type=int, default=2, help="of compas and busy")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "replay.jsonl")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    machine += f", load average {os.getloadavg()[0]:.1f} at the start, {options.rows} rows, {options.days} days"
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as place:
        folder = Path(place)
        with other_build(options, folder) as today, options.out.open("a") as out:
            builds = (ROOT, today)
            for build in builds:
                compile_once(build)
            for case, metric, unit, (ours, theirs) in measure(options, builds, folder):
                line = {
                    "bench": "replay", "case": case, "metric": metric, "value": round(ours, 3), "unit": unit,
                    "peer": "today", "peer_value": round(theirs, 3), "ratio": round(theirs / ours, 2),
                    "at": timestamp(datetime.now(UTC)), "machine": machine,
                }  # fmt: skip
                out.write(json.dumps(line) + "\n")
                out.flush()
                print(f"{case:16s} {metric:16s} {ours:9.2f} {unit}  today {theirs:9.2f}  ratio {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
