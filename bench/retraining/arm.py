"""`python -m bench.retraining.arm`: one arm in a process of its own.

It loads its libraries, says `ready`, and reads its task as one line of JSON from standard input, so that the next arm
can load while this one measures. Its last line is the result as JSON.
"""

import dataclasses
import json
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from bench.retraining.arms import ARMS, Arm
from bench.retraining.model import SIZES, Size, adapted, config, documents, llama, tokenizer
from retrain.train.learned import Learned
from retrain.train.speed import attention
from retrain.train.speed.choose import choose, plain
from retrain.train.speed.completion_trainer import CompletionTrainer
from retrain.train.speed.memory import GIB, Shape, need
from retrain.train.speed.prepare import Prepared, apply

RANK = 16


class Clock(TrainerCallback):
    """Seconds of the steps after the warm ones, and the peak of memory from the first step on."""

    def __init__(self, warm: int, device: torch.device) -> None:
        self.warm, self.device = warm, device
        self.begin = self.end = self.first = 0.0

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.first = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.warm:
            self.begin = self._now()
        elif state.global_step == state.max_steps:
            self.end = self._now()


def run(task: dict[str, Any]) -> dict[str, Any]:
    arm, size = ARMS[task["arm"]], SIZES[task["size"]]
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    begun = time.perf_counter()
    torch.manual_seed(0)
    model = adapted(llama(size, device), rank=RANK, dropout=0.05 if arm.kind == "trl" else 0.0)
    built = time.perf_counter() - begun
    micro = size.row * size.rows
    prepared = _prepare(model, arm, size, device, task) if arm.kind == "ours" else None
    warm = task["warm"] + (2 if prepared is not None and prepared.plan.compiled else 0)
    clock, learned = Clock(warm, device), Learned()
    learned.follow(model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(model, arm, size, device, prepared, warm + task["steps"], Path(folder))
        trainer.add_callback(clock)
        trainer.add_callback(_Step(learned))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    seconds = clock.end - clock.begin
    tokens = sum(learned.tokens[warm:])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "arm": task["arm"], "tokens_per_s": tokens / seconds, "tokens": tokens, "seconds": seconds,
        "peak_gib": _peak(device), "warm_seconds": clock.begin - clock.first, "build_seconds": built,
        "loss": losses[-1], "micro_batch": micro, "steps": task["steps"],
        "plan": None if prepared is None else prepared.record(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "libraries": {"torch": torch.__version__, "transformers": transformers.__version__},
    }  # fmt: skip


class _Step(TrainerCallback):
    def __init__(self, learned: Learned) -> None:
        self.learned = learned

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.learned.step()


def _prepare(model: PeftModel, arm: Arm, size: Size, device: torch.device, task: dict[str, Any]) -> Prepared:
    tokens = size.row * size.rows
    plan, fit = arm.planned(tokens), None
    if plan is None:
        shape = Shape.of(config(size).to_dict())
        assert shape is not None
        free = (
            torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2 * need(shape, plain(tokens), RANK).total
        )
        if arm.share is not None and task.get("peer_gib"):
            free = int(arm.share * task["peer_gib"] * GIB / 0.92)
        profile = "auto" if arm.share is not None and task.get("peer_gib") else arm.profile
        fit = choose(shape, profile, tokens=tokens, rank=RANK, free=free)
        plan = fit.plan
    if device.type == "cpu":
        plan = dataclasses.replace(plan, optimiser="adamw_torch_fused", tokens=max(plan.tokens, size.row))
    return apply(
        model, plan, profile=arm.profile, device=device, rank=RANK, packed=True, fit=fit,
        backend=task.get("backend", "inductor"),
    )  # fmt: skip


def _trainer(
    model: PeftModel, arm: Arm, size: Size, device: torch.device, prepared: Prepared | None, steps: int, folder: Path
) -> SFTTrainer:
    rows, times = size.rows, 1
    if prepared is not None:
        rows = max(1, prepared.plan.tokens // size.row)
        times = size.rows // rows
    if arm.kind == "today":  # rows are documents; as many of them as make up the micro-batch on average
        rows = max(1, round(size.rows * size.row / min(450, size.row // 4)))
    if arm.varlen:
        attention.register()
        model.set_attn_implementation(attention.NAME)
    texts = documents(size, (steps + 2) * size.row * size.rows, seed=0)
    data = Dataset.from_list([{"input_ids": ids, "labels": ids} for ids in texts])
    options: dict[str, Any] = {
        "output_dir": str(folder), "max_steps": steps, "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": times, "learning_rate": 2e-4, "bf16": device.type == "cuda",
        "use_cpu": device.type == "cpu", "report_to": [], "save_strategy": "no", "disable_tqdm": True,
        "logging_steps": 1, "max_length": size.row, "packing": True, "seed": 0,
    }  # fmt: skip
    if arm.kind == "today":
        options |= {"packing": False, "max_length": None}
    if prepared is not None:
        options |= {"gradient_checkpointing": False, "optim": prepared.plan.optimiser}
    kind = SFTTrainer if prepared is None else CompletionTrainer
    trainer = kind(model=model, args=SFTConfig(**options), train_dataset=data, processing_class=tokenizer(size))
    if arm.kind != "trl":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # as the product does
    return trainer


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    line = sys.stdin.readline()
    if line.strip():
        print(json.dumps(run(json.loads(line))), flush=True)
