"""QLoRA on an 8B Llama shape: TRL's defaults, TRL with packed attention, the recipe before, and the profiles.

    python -m bench.retrain --cases gpu_8b               # on a machine with a card: about 7 minutes
    python -m bench.retrain --cases gpu_8b --arms all    # every variant once, to choose from; about 10 minutes
    python -m bench.retrain --cases gpu_8b --dry-run     # tiny shapes on the CPU

A machine without a network gets its packages by bench/retraining/packages.py.

Random NF4 weights built on the card, rows of 2,048 tokens packed from documents of log-normal length (mean 450), a step
of 8,192 tokens, r = 16 on every product. Every arm is a fresh process with the same documents in the same order; 3 warm
steps (5 where layers are compiled), then 8 that count. `trl_default` runs three times, between the others, and its
median counts. Peaks are of torch's allocator from the first step on, warm ones included. Where a plan divides the
micro-batch, `tokens_per_pass` says so; the tokens of a step are the same for all. The correctness gate runs first, and
where it is not passed there is no figure. `through` trains the saved model with the trainer process of `assay retrain`.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from bench.retraining import through
from bench.retraining.arms import VARIANTS
from bench.retraining.case import Case, Options, record

FLOOR_US: Final = 60.5  # a token with every layer checkpointed, computed from the operations and the card's rate
ORDER: Final = ("trl_default", "trl_varlen", "fast", "trl_default", "lean", "equal", "trl_default", "today")
LIMIT_S: Final = 100.0
ROOT: Final = Path(__file__).resolve().parents[2]

Result = dict[str, Any]


class Loaded:
    """A process that has loaded its libraries and waits for its task."""

    def __init__(self, module: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.errors: list[str] = []
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def do(self, task: dict[str, Any], limit_s: float = LIMIT_S) -> Result:
        """Its result; where it failed or took longer than the limit, `failed` says why."""
        timer = threading.Timer(limit_s, self.process.kill)
        timer.start()
        try:
            output = self._exchange(task)
        finally:
            timer.cancel()
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if self.process.returncode == 0 and lines:
            found: Result = json.loads(lines[-1])
            return found
        why = next((x.strip() for x in reversed(self.errors) if x.strip()), "no message")
        return {"failed": f"exit {self.process.returncode}: {why[:400]}", **task}

    def _exchange(self, task: dict[str, Any]) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.close()
        except BrokenPipeError:  # it died while it loaded; its message follows
            pass
        output = self.process.stdout.read()
        self.process.wait()
        return output

    def drop(self) -> None:
        self.process.kill()
        self.process.wait()


# Lowest versions that have what the arms call.
NEEDED: Final = {
    "torch": "2.10", "transformers": "5.23", "trl": "1.16", "peft": "0.21", "bitsandbytes": "0.50",
    "accelerate": "1.15",
    "datasets": "5.2", "polars": "2.1", "pydantic": "2.12", "codecarbon": "3.3",
}  # fmt: skip


def lacking() -> list[str]:
    """What this machine has not, or in a version that is too old, a sentence each."""
    found = []
    for name, least in NEEDED.items():
        try:
            have = version(name)
        except PackageNotFoundError:
            found.append(f"{name} {least} is not installed")
            continue
        if [int(x) for x in re.findall(r"\d+", have)[:2]] < [int(x) for x in least.split(".")]:
            found.append(f"{name} is {have}, {least} is needed")
    return found


def run(options: Options) -> None:
    if missing := lacking():
        print(f"  not measured: {'; '.join(missing)}; bench/retraining/packages.py makes an archive to bring along")
        return
    print("  " + ", ".join(f"{name} {version(name)}" for name in NEEDED))
    task = {"size": "tiny" if options.dry_run else "8b", "warm": 2 if options.dry_run else 3,
            "steps": 2 if options.dry_run else 8}  # fmt: skip
    if options.dry_run:
        task["backend"] = "eager"
    begun = time.monotonic()
    order = _order(options)
    waiting = Loaded("bench.retraining.gate")
    following = Loaded("bench.retraining.arm")
    gate = waiting.do(task | {"size": "tiny" if options.dry_run else "8b-2"})
    if not _passed(gate, options):
        following.drop()
        return
    found: dict[str, list[Result]] = {}
    for index, name in enumerate(order):
        waiting = following
        following = Loaded("bench.retraining.arm") if index + 1 < len(order) else waiting
        peer = found.get("trl_default")
        result = waiting.do(task | {"arm": name, "peer_gib": peer[0]["peak_gib"] if peer else None})
        print(f"  {time.monotonic() - begun:5.0f} s  {json.dumps(result)}", flush=True)
        if "failed" not in result:
            found.setdefault(name, []).append(result)
    _write(found, options)
    through.run(options, found.get("fast"))


def _order(options: Options) -> tuple[str, ...]:
    if options.arms == ("all",):
        return ("trl_default", *VARIANTS)
    return options.arms or ORDER


def _passed(gate: Result, options: Options) -> bool:
    """Whether every plan computes what the reference does; the gate's own figures are lines as well."""
    if "failed" in gate:
        print(f"  the correctness gate did not run, so nothing is measured: {gate['failed']}")
        return False
    good = True
    for name, verdict in gate["gate"].items():
        figures = {
            "loss_gap": (abs(verdict["loss"] - verdict["reference_loss"]), "nats"),
            "cosine": (verdict["cosine"], "cosine"), "worst_cosine": (verdict["worst_cosine"], "cosine"),
            "packed_gap": (verdict["packed_gap"], "nats"),
        }  # fmt: skip
        record(options, f"gpu_8b_gate_{name}", figures, passed=not verdict["reasons"], device=gate["device"])
        for reason in verdict["reasons"]:
            print(f"  {name} does not pass the correctness gate: {reason}")
            good = False
    return good


def _write(found: dict[str, list[Result]], options: Options) -> None:
    """Lines of each arm against both peers; of an arm with several runs the median by speed."""
    middle = {name: _median(results) for name, results in found.items()}
    for name, result in middle.items():
        facts = {
            "device": result["device"], "runs": len(found[name]), "plan": result["plan"], "loss": result["loss"],
            "libraries": result["libraries"], "micro_batch": result["micro_batch"],
            "tokens_per_pass": result["plan"]["tokens"] if result["plan"] else result["micro_batch"],
            "warm_seconds": round(result["warm_seconds"], 2),
        }  # fmt: skip
        if len(found[name]) > 1:
            facts["tokens_per_s_of_runs"] = [round(r["tokens_per_s"], 1) for r in found[name]]
        values = {
            "tokens_per_s": (result["tokens_per_s"], "tokens/s"), "peak_gib": (result["peak_gib"], "GiB"),
            "ratio_to_floor": (1e6 / result["tokens_per_s"] / FLOOR_US, "ratio"),
        }  # fmt: skip
        for peer, case in (("trl_default", f"gpu_8b_{name}"), ("trl_varlen", f"gpu_8b_{name}_vs_varlen")):
            if name == peer or peer not in middle:
                if peer == "trl_default":
                    record(options, case, values, **facts)
                continue
            beside = {metric: middle[peer][metric] for metric in ("tokens_per_s", "peak_gib")}
            record(options, case, values, peer=peer, beside=beside, **facts)


def _median(results: list[Result]) -> Result:
    middle = statistics.median_low(r["tokens_per_s"] for r in results)
    return next(r for r in results if r["tokens_per_s"] == middle)


CASE = Case("gpu_8b", "QLoRA on an 8B shape against TRL, on the card", "cuda", run)
