"""The 8B shape trained by the process that a run of `assay retrain` starts, against the bare arm beside it.

The model is built and saved once on the machine, with a tokenizer whose words are its ids. The run's own file names a
recipe and two data sets, as the worker writes it; tokens per second are those of the steps after the warm ones, by the
times in its progress and the tokens in its record.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.retraining.case import Options, record

ROOT: Final = Path(__file__).resolve().parents[2]
WARM, STEPS = 6, 8
LIMIT_S: Final = 240.0


def run(options: Options, bare: list[dict[str, Any]] | None) -> None:
    """`bare` are the results of the arm `fast` in the same call."""
    size = "tiny" if options.dry_run else "8b"
    with tempfile.TemporaryDirectory(prefix="retrain-8b-") as name:
        folder = Path(name)
        begun = time.monotonic()
        built = _python("bench.retraining.saved", [str(folder), size, str(WARM + STEPS)], folder, 120.0)
        if built is not None:
            print(f"  through: the model could not be saved: {built}")
            return
        failed = _python("core.process", [str(os.getpid()), "retrain.train.run", f"{folder}/run.json"], folder, LIMIT_S)
        if failed is not None:
            print(f"  through: the run failed: {failed}")
            return
        found = _result(folder)
        peer = bare[0]["tokens_per_s"] if bare else None
        record(
            options, "gpu_8b_through", {"tokens_per_s": (found["tokens_per_s"], "tokens/s")}, peer="fast",
            beside={"tokens_per_s": peer} if peer else None, speed=found["speed"], device=found["device"],
            wall_seconds=round(time.monotonic() - begun, 1),
        )  # fmt: skip


def _python(module: str, arguments: list[str], folder: Path, limit_s: float) -> str | None:
    """Run a module; why it failed, or None. The environment is the one that a worker gives its processes."""
    from core.process import environment

    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    with (folder / "log.txt").open("wb") as log:
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=log, stderr=log,
                timeout=limit_s, check=False, env=environment(4) | {"PYTHONPATH": path},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"longer than {limit_s:.0f} s"
    if done.returncode == 0:
        return None
    lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    return f"exit {done.returncode}: {' | '.join(lines[-3:])[:600]}"


def _result(folder: Path) -> dict[str, Any]:
    card = json.loads((folder / "out" / "adapter" / "run.json").read_text())
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    steps = [(line["step"], datetime.fromisoformat(line["at"])) for line in lines if line["phase"] == "train"]
    first = next((s for s in steps if s[0] >= min(WARM, card["steps"] - 1)), steps[0])
    last = steps[-1]
    seconds = (last[1] - first[1]).total_seconds() if last[0] > first[0] else card["train_seconds"]
    tokens = sum(card["learned"]["tokens"][first[0] if last[0] > first[0] else 0 : last[0]])
    return {"tokens_per_s": tokens / seconds, "speed": card["speed"], "device": card["device"]}
