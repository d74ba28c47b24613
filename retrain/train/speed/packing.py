"""Whether documents share a row in training, and that a model reads each of them as if it stood alone."""

from typing import Any, Final

import torch

from retrain.train.chat_keys import Packing
from retrain.train.speed import attention
from retrain.train.speed.gate import packed as one_row

LENGTHS: Final = (5, 3)  # tokens of the documents that are tried
GAP: Final = 1e-3  # of a logit, relative to the largest


def packed_rows(wanted: Packing, model: Any, device: torch.device, *, possible: bool = True) -> tuple[bool, str | None]:
    """Whether rows are packed, and why not where they could have been.

    `auto` packs on a card that has the kernel; on the CPU it wins little, so only `true` packs there. A model that does
    not tell the documents of a row apart is not packed, whatever is wanted. `possible`: task and method have such rows.
    """
    if not possible or wanted is False or (wanted == "auto" and device.type != "cuda"):
        return False, None
    why = attention.missing(device, torch.bfloat16) or attention.unsupported(model.config)
    if why is None and device.type != "cuda":
        why = mixed(model, device)
    return why is None, None if why is None else f"{why}: rows are not packed"


def mixed(model: Any, device: torch.device) -> str | None:
    """Why packed documents would be read otherwise than alone, found by reading two; None where they are not."""
    size = int(getattr(model.config, "vocab_size", 8))
    documents = [torch.arange(1, n + 1) % size for n in LENGTHS]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = [model(input_ids=one[None].to(device), use_cache=False).logits[0] for one in documents]
            attention.register()
            model.set_attn_implementation(attention.NAME)
            row = {name: value for name, value in one_row(documents, device).items() if name != "labels"}
            together = model(**row, use_cache=False).logits[0]
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        return f"the model takes no packed row ({type(error).__name__})"
    finally:
        model.set_attn_implementation("sdpa")
        model.train(was_training)
    wanted = torch.cat(alone)
    gap = float((together - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))
    return (
        None if gap <= GAP else f"documents of one row see each other in this architecture (logits move by {gap:.2g})"
    )
