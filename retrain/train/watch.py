"""Watching a trainer: progress lines, what it uses and learns, a stop at a limit or a loss that is not finite."""

import json
import math
import time
from pathlib import Path
from typing import Any, Final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from retrain.train.energy import Meter
from retrain.train.errors import LimitError, NonFiniteLossError
from retrain.train.learned import Learned
from retrain.train.memory_series import MemorySeries, resident_bytes
from retrain.train.progress import Progress, write_json
from retrain.train.used import KEEP_S, limit_passed

COMPLETE: Final = "complete.json"


class Watch(TrainerCallback):
    """Follows one training run; what earlier, killed attempts at it already took and used counts."""

    def __init__(
        self, progress: Progress, max_seconds: float | None, max_kwh: float | None = None, meter: Meter | None = None
    ) -> None:
        """Without a meter nothing is kept of what was used, and a limit stops the run without a checkpoint."""
        self.progress, self.max_seconds, self.max_kwh, self.meter = progress, max_seconds, max_kwh, meter
        self.spent_s = meter.trained_s if meter is not None else 0.0
        self.learned, self.memory = Learned(), MemorySeries()
        self.passed: LimitError | None = None  # the limit that stops the run, once its checkpoint is written
        self.started, self.first_step = time.monotonic(), 0
        self.ended: float | None = None
        self.written = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds of training, those of earlier attempts included."""
        return self.spent_s + (self.ended or time.monotonic()) - self.started

    def asked(self, rows: int, of: int) -> None:
        """So many rows were put to the teacher; that time is training time.

        Raises:
            LimitError: a limit is passed; what was answered is kept.
        """
        self.spent_s, self.started = self.elapsed_s, time.monotonic()
        self.progress.write("ask the teacher", rows, of)
        used = self.meter.keep(self.elapsed_s, every_s=KEEP_S) if self.meter is not None else None
        passed = limit_passed(
            used, self.elapsed_s, max_seconds=self.max_seconds, max_kwh=self.max_kwh,
            at=f"at row {rows} of {of} that the teacher was asked", fewer="rows",
        )  # fmt: skip
        if passed is not None:
            raise passed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step
        self.learned.follow(given["model"])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        for name in ("loss", "grad_norm"):
            if not math.isfinite(float(logs.get(name, 0.0))):
                raise NonFiniteLossError(
                    f"{name} is {logs[name]} at step {state.global_step} of {state.max_steps}; lower "
                    "recipe.learning_rate, and check the base model's weights for values that are not finite",
                    step=state.global_step,
                )
        used = resident_bytes()
        self.memory.add(state.global_step, used, _card_bytes())
        self.passed = self._passed(state)
        if self.passed is not None and self.meter is None:
            raise self.passed
        control.should_save = control.should_save or self.passed is not None
        now = time.monotonic()
        if now - self.written < 0.2 and state.global_step not in (1, state.max_steps):
            return
        self.written = now
        done = max(1, state.global_step - self.first_step)
        eta = (now - self.started) / done * (state.max_steps - state.global_step)
        self.progress.write(
            "train",
            state.global_step,
            state.max_steps,
            round(state.epoch or 0.0, 3),
            float(logs["loss"]),
            round(eta, 1),
            used,
        )

    def _passed(self, state: TrainerState) -> LimitError | None:
        return limit_passed(
            self.meter.keep(self.elapsed_s, every_s=KEEP_S) if self.meter is not None else None, self.elapsed_s,
            max_seconds=self.max_seconds, max_kwh=self.max_kwh,
            at=f"at step {state.global_step} of {state.max_steps}", fewer="rows or epochs",
        )  # fmt: skip

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.learned.step()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.ended = time.monotonic()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        # Written last: a checkpoint cut short by a kill has no marker and is not resumed from.
        if self.meter is not None:
            self.meter.keep(self.elapsed_s)
        if state.is_world_process_zero:
            write_json(folder / COMPLETE, {"elapsed_s": self.elapsed_s, "learned": self.learned.record()})
        if self.passed is not None:
            raise self.passed


def _card_bytes() -> int | None:
    """What the process holds of the memory of its accelerator; None without one."""
    return int(torch.cuda.memory_reserved()) if torch.cuda.is_available() else None


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to the end."""
    complete = [p for p in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if (p / COMPLETE).is_file()]
    if not complete:
        return None
    return max(complete, key=lambda p: int(p.name.rsplit("-", 1)[1]))


def learned_until(checkpoint: Path | None) -> dict[str, Any] | None:
    """What was counted until a checkpoint was written; one of an earlier release has no counts."""
    if checkpoint is None:
        return None
    found: dict[str, Any] | None = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8")).get("learned")
    return found
