"""TRL's trainer for completions, without the figures that it computes beside the loss in every micro-batch."""

from typing import Any

import torch
from trl.trainer.sft_trainer import SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from retrain.train.checkpoints import Checkpoints


class CompletionTrainer(Checkpoints, SFTTrainer):
    """The same loss and gradient. Entropy and accuracy per token cost a part of the output layer's time and four waits
    for the card per micro-batch, and nothing here reads them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model: Any = self.model
        self.plain = (
            self.compute_loss_func is None and self.label_smoother is None and not self.aux_loss_enabled
            and kwargs["args"].loss_type == "nll" and not _has_prompt(model)
        )  # fmt: skip
        if self.plain:
            add_fused_lm_head(model.get_base_model() if hasattr(model, "get_base_model") else model)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not self.plain or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        outputs = model(**{**inputs, "use_cache": False}, fused_lm_head=True)
        labels = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = -outputs.log_probs.sum() / torch.as_tensor(labels).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return loss


def _has_prompt(model: Any) -> bool:
    """Virtual tokens before each text are put there by PEFT's own forward, which has no fused output layer."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))
