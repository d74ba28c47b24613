"""Watching a trainer: progress lines, a stop at a loss that is not finite, the time limit, checkpoint markers."""

import json
import math
import time
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from retrain.train.errors import NonFiniteLossError, TimeLimitError
from retrain.train.progress import Progress, write_json

COMPLETE: Final = "complete.json"


class Watch(TrainerCallback):
    """Follows one training run; `spent_s` is what earlier, killed attempts at it already took."""

    def __init__(self, progress: Progress, max_seconds: float | None, spent_s: float = 0.0) -> None:
        self.progress, self.max_seconds, self.spent_s = progress, max_seconds, spent_s
        self.started, self.first_step = time.monotonic(), 0
        self.written = 0.0

    @property
    def elapsed_s(self) -> float:
        return self.spent_s + time.monotonic() - self.started

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step

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
        if self.max_seconds is not None and self.elapsed_s > self.max_seconds:
            raise TimeLimitError(
                f"max_seconds: {self.max_seconds:g} s were over at step {state.global_step} of {state.max_steps}; "
                "allow more time, fewer rows or fewer epochs",
                step=state.global_step,
            )
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
        )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        # Written last: a checkpoint cut short by a kill has no marker and is not resumed from.
        write_json(folder / COMPLETE, {"elapsed_s": self.elapsed_s})


def last_checkpoint(folder: Path) -> tuple[Path, float] | None:
    """The newest checkpoint that was written to the end, and the seconds spent until then."""
    complete = [p for p in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if (p / COMPLETE).is_file()]
    if not complete:
        return None
    newest = max(complete, key=lambda p: int(p.name.rsplit("-", 1)[1]))
    return newest, float(json.loads((newest / COMPLETE).read_text(encoding="utf-8"))["elapsed_s"])
