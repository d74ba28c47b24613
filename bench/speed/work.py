"""The work that is timed in a process of its own, ours and the peers'. It prints wall and CPU seconds and peak memory.

python -m bench.speed.work verdict|profiling|evidently FOLDER
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.speed.rows import column_kinds  # noqa: E402

REPEATS = 3  # of our work, after one run that loads code and files
# The packages of each peer, with those that it needs at import but does not declare.
PEERS = {
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pyarrow", "setuptools<80"),
    "whylogs": ("whylogs==1.6.4", "pandas<3", "numpy<2", "statsmodels", "pyarrow<20", "setuptools<80"),
}


@dataclass(frozen=True)
class Measured:
    """Wall seconds, CPU seconds and peak memory in MB of one process."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def verdict(folder: Path) -> Callable[[], None]:
    """Reference and window from Parquet to a decision and every statistic."""
    from monitor.detect.decide import decide
    from monitor.drift import drift_scores
    from monitor.profile.block import equal_blocks, merge_all, profile_blocks
    from monitor.profile.by_column import column_names, row_count
    from monitor.profile.fit_reference import fit_reference

    def once() -> None:
        reference, window = (pl.scan_parquet(folder / f"{name}.parquet") for name in ("reference", "window"))
        profile = fit_reference(reference, column_kinds(column_names(reference)), blocks=30)
        rows = row_count(window)
        blocks = profile_blocks(window, profile, equal_blocks(rows, -(-rows // 10)))
        decision = decide(profile, blocks, alpha=0.01)
        assert decision.judged
        assert len(drift_scores(profile, merge_all(blocks))) > 0

    return once


def profiling(folder: Path) -> Callable[[], None]:
    """The profile of a window only; the reference profile is fitted beforehand and not timed."""
    from monitor.profile.block import profile_block
    from monitor.profile.by_column import column_names
    from monitor.profile.fit_reference import fit_reference

    reference = pl.read_parquet(folder / "reference.parquet", n_rows=100_000)
    profile = fit_reference(reference, column_kinds(column_names(reference)), blocks=30)

    def once() -> None:
        profile_block(pl.scan_parquet(folder / "window.parquet"), profile)

    return once


def evidently(folder: Path) -> Callable[[], None]:
    import warnings

    import pandas as pd

    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def once() -> None:
        reference, window = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "window"))
        names = list(reference.columns)
        definition = DataDefinition(
            numerical_columns=[n for n in names if n[0] == "n"], categorical_columns=[n for n in names if n[0] == "c"]
        )
        sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in (window, reference)]
        Report([DataDriftPreset()]).run(*sides).dict()

    return once


_PEER = """
import sys, time, json, resource, warnings; warnings.simplefilter("ignore")
import pandas as pd
{imports}
folder, start = sys.argv[1], time.perf_counter()
before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
{work}
seconds = time.perf_counter() - start
cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, cpu, int(peak.split()[1]) / 1024]))
"""
NANNYML = _PEER.format(
    imports="import nannyml",
    work="""
reference, window = (pd.read_parquet(folder + "/" + n + ".parquet") for n in ("reference", "window"))
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(reference.columns), chunk_number=10,
    continuous_methods=["kolmogorov_smirnov", "wasserstein", "jensen_shannon"],
    categorical_methods=["chi2", "jensen_shannon"])
calculator.fit(reference).calculate(window)
""",
)
WHYLOGS = _PEER.format(
    imports="import whylogs", work='whylogs.log(pd.read_parquet(folder + "/window.parquet")).view().to_pandas()'
)


def run_ours(name: str, folder: Path) -> Measured:
    return _run([sys.executable, "-m", "bench.speed.work", name, str(folder)])


def run_peer(name: str, folder: Path, homes: Path) -> Measured:
    if name == "evidently":
        return run_ours(name, folder)
    script = NANNYML if name == "nannyml" else WHYLOGS
    return _run([str(peer_python(homes, name)), "-c", script, str(folder)])


def _run(command: list[str]) -> Measured:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-400:])
    return Measured(*json.loads(done.stdout.strip().splitlines()[-1]))


def peer_python(folder: Path, peer: str) -> Path:
    """The interpreter of a peer's own environment, which is made on first use."""
    home = folder / peer
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[peer]], check=True)
        (home / "installed").touch()
    return python


def main(name: str, folder: Path) -> None:
    """Print the median of a few repeats of our work, or one run of a peer's, which takes minutes."""
    once = {"verdict": verdict, "profiling": profiling, "evidently": evidently}[name](folder)
    if name != "evidently":
        once()
    taken = []
    for _ in range(1 if name == "evidently" else REPEATS):
        start, before = time.perf_counter(), _cpu()
        once()
        taken.append((time.perf_counter() - start, _cpu() - before))
    # Not from getrusage, whose peak includes that of the process that forked this one.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM"))
    middle = len(taken) // 2
    print(json.dumps([*(sorted(column)[middle] for column in zip(*taken, strict=True)), int(peak.split()[1]) / 1024]))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
