"""Trainers that are killed with signal 9, of every method: the weights they end with are those of a run left alone."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.retrain.train import random_bases, tiny

pytestmark = pytest.mark.filterwarnings("ignore")
ALL = (*tiny.OLD, *tiny.NEW)
ANSWERS = ("lora", "prompt_tuning", "prefix_tuning")
PREFERENCE = {"other": "second", "outcome": "better"}

CASES: dict[str, dict[str, Any]] = {
    "adalora": {"method": "adalora", "lora_dropout": 0.1},
    "lora": {"method": "lora", "lora_dropout": 0.1},
    "dora": {"method": "lora", "use_dora": True, "use_rslora": True},
    "full": {"method": "full", "learning_rate": 1e-3},
    "ia3": {"method": "ia3"},
    "prompt_tuning": {"method": "prompt_tuning", "virtual_tokens": 4},
    "prefix_tuning": {"method": "prefix_tuning", "virtual_tokens": 4},
    "accumulated": {"method": "lora", "batch_size": 8, "gradient_accumulation_steps": 3},
    "early_stopping": {"method": "lora", "early_stopping": 10, "class_weights": "balanced"},
    "answers": {"method": "lora", "task": "causal_lm", "max_length": 48},
    "answers_adalora": {"method": "adalora", "task": "causal_lm", "max_length": 48},
    "answers_full": {"method": "full", "task": "causal_lm", "max_length": 48, "learning_rate": 1e-3},
    "answers_ia3": {"method": "ia3", "task": "causal_lm", "max_length": 48},
    "answers_prompt": {"method": "prompt_tuning", "task": "causal_lm", "max_length": 48, "virtual_tokens": 4},
    "answers_prefix": {"method": "prefix_tuning", "task": "causal_lm", "max_length": 48, "virtual_tokens": 4},
    "answers_stopping": {"method": "lora", "task": "causal_lm", "max_length": 48, "early_stopping": 10},
    "dpo": {"method": "qlora", "task": "dpo", "max_length": 64, "preference": PREFERENCE, "lora_dropout": 0.1},
    "dpo_lora": {"method": "lora", "task": "dpo", "max_length": 64, "preference": PREFERENCE, "early_stopping": 10},
}  # fmt: skip


def config(folder: Path, base: Path, recipe: dict[str, Any]) -> Path:
    """A run of 25 steps or more that ends in the middle of an epoch, as its checkpoints do."""
    given = {"epochs": 3.2, "batch_size": 20, **recipe}
    if given.get("task", "sequence_classification") == "sequence_classification":
        rows, held_out = tiny.messages(ALL, 170, seed=1), tiny.messages(ALL, 20, seed=2)
        return tiny.run_config(folder, base, rows, held_out, recipe=given)
    rows = tiny.pairs(170, seed=1, answer="your {} will come soon")
    if given["task"] == "dpo":
        rows = rows.rename({"completion": "chosen"})
        rows = rows.with_columns(tiny.pairs(170, seed=1)["completion"].alias("rejected"))
    return tiny.run_config(folder, base, rows, rows.head(10), recipe=given, labels=[])


def weights(folder: Path) -> dict[str, str]:
    """Digest of each file of weights that a run left."""
    found = sorted((folder / "out" / "adapter").glob("*.safetensors"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def kill_at(path: Path, out: Path, number: int = 4) -> None:
    """Run the trainer in a process of its own, and end it with signal 9 at a checkpoint in `out`, counted from 1."""
    deadline = time.monotonic() + 300
    command = [sys.executable, "-m", "retrain.train.run", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        seen: set[str] = set()
        while len(seen) < number:
            seen |= {p.parent.name for p in (out / "checkpoints").glob("checkpoint-*/complete.json")}
            assert process.poll() is None, "the run ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (path.parent / "out" / "adapter").exists()


@pytest.mark.slow  # tests/retrain/train/test_run.py kills a run of qlora
@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_of_any_method_ends_with_the_bytes_of_one_left_alone(
    case: str, tiny_base: Path, tiny_causal_base: Path, tmp_path: Path
) -> None:
    from retrain.train.run import train

    recipe = CASES[case]
    base = tiny_base if recipe.get("task") is None else tiny_causal_base
    if case == "prompt_tuning":  # a decoder that classifies takes none
        base = random_bases.base(tmp_path / "base", "bert", labels=tiny.OLD)
    train(config(tmp_path / "whole", base, recipe))
    path = config(tmp_path / "killed", base, recipe)
    kill_at(path, tmp_path / "killed/out")  # at the fourth of ten checkpoints
    seen = len(tiny.progress(tmp_path / "killed/progress.jsonl"))
    train(path)
    went_on = [line["step"] for line in tiny.progress(tmp_path / "killed/progress.jsonl")[seen:] if line["step"]]
    assert went_on[0] > 1, "it began again"
    whole, resumed = (tiny.read(tmp_path / name / "out/adapter/run.json") for name in ("whole", "killed"))
    assert resumed["loss"] == whole["loss"]
    assert resumed["learned"] == whole["learned"]
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole") != {}
