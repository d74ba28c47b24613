"""One run on several cards: a process for each, which add up their gradients through accelerate.

The process that was started only waits. It starts one process per card, which all die with it; the first writes
everything that is kept, the others only train. When one of them ends with an error, all are ended, and the run's exit
report says which.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from retrain.train.config import RunConfig
from retrain.train.errors import CardsError
from retrain.train.progress import EXIT_REPORT, write_json

FOLDER: Final = ".cards"
GRACE_S: Final = 5.0  # for the first process to say why it ended


def checkpoints_of(config: RunConfig) -> Path:
    """Where checkpoints lie: one place for all processes of a run."""
    return (config.output_dir.parents[1] if config.card else config.output_dir) / "checkpoints"


def processes(config: RunConfig) -> int:
    """How many train this run together."""
    return 1 if config.card is None else config.cards


def wants_others(config: RunConfig) -> bool:
    """Whether this process has to start one per card."""
    return config.cards > 1 and config.card is None


def see_one_card() -> None:
    """Hide all GPUs but the first, unless the user chose; the trainers would spread a run over all, which fails."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")


def check_shared(config: RunConfig) -> None:
    """Raises CardsError if the rows of a step cannot be shared evenly."""
    step = config.recipe.batch_size * config.recipe.gradient_accumulation_steps
    if step % config.cards:
        raise CardsError(
            f"recipe.batch_size: the {step} rows of a step cannot be shared evenly by train.cards {config.cards}; "
            f"use a multiple of {config.cards}",
            field="recipe.batch_size",
        )


def run_on_cards(config: RunConfig) -> int:
    """Start a process per card and wait for all. Returns the exit code of the run."""
    shutil.rmtree(config.output_dir / FOLDER, ignore_errors=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = [_start(config, number, port) for number in range(config.cards)]
    try:
        return _wait(others, config.output_dir / EXIT_REPORT)
    finally:
        for other in others:
            with suppress(ProcessLookupError):
                other.kill()
            other.wait()
        shutil.rmtree(config.output_dir / FOLDER, ignore_errors=True)


def _start(config: RunConfig, number: int, port: int) -> "subprocess.Popen[bytes]":
    folder = config.output_dir / FOLDER / str(number)
    folder.mkdir(parents=True)
    own: dict[str, Any] = {"card": number}
    if number:
        own |= {"output_dir": folder, "progress": folder / "progress.jsonl"}
    path = folder / "run.json"
    path.write_text(json.dumps(config.model_copy(update=own).model_dump(mode="json")), encoding="utf-8")
    environment = os.environ | {
        "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(config.cards),
        "LOCAL_WORLD_SIZE": str(config.cards), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "core.process", str(os.getpid()), "retrain.train.run", str(path)]
    return subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter and modules


def _wait(others: list["subprocess.Popen[bytes]"], report: Path) -> int:
    while True:
        codes = [other.poll() for other in others]
        failed = [number for number, code in enumerate(codes) if code]
        if failed:
            break
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.2)
    first, number = others[0], failed[0]
    if first.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            first.wait(GRACE_S)  # it may be about to end for the same reason
    stopped = first.poll() is None
    if stopped:
        first.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            first.wait(GRACE_S)
    if number == 0 or not stopped:
        return first.returncode or codes[number] or 1
    code = codes[number] or 1
    found = _report(report.parent / FOLDER / str(number) / EXIT_REPORT)
    words = found.get("message") or f"it ended with {code}"
    name = "terminated" if code < 0 else found.get("code", "unexpected")  # one that was killed is resumed
    write_json(report, {"state": "failed", "code": name, "message": f"card {number}: {words}"})
    return 2 if code == 2 else 1


def _report(path: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
