"""The layers of a model: checkpointed with a budget of what is kept, and compiled.

A checkpointed layer saves its input and computes the rest again in the backward pass. Its costly parts are attention
and the products with the frozen weights. What a byte of memory buys is the same for all products that read the hidden
state (the inner size of the product in operations per element kept), and more for attention. So a layer keeps attention
first, then its products in the order of execution, as far as the budget goes; norms, SwiGLU, rotary positions and the
products of the adapter are always computed again, in the compiled layer fused with what reads them. The product whose
output the backward pass never reads (the last of the feed-forward part) is dropped by the compiler.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import torch
import torch._dynamo
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

_ATTENTION: Final = (
    "torch_attn::_varlen_attn", "assay::packed_attention", "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
)  # fmt: skip


def layers_of(model: torch.nn.Module) -> list[GradientCheckpointingLayer]:
    """The repeated layers, in order; empty for an architecture that does not mark them."""
    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


class Keep:
    """The decision for one pass through a layer: which outputs are kept, up to `columns` per token.

    A column is one number per token. The same object decides the forward pass and its repetition, each with a count of
    its own, for both run the same operations in the same order. Products of the adapter are told by its `rank`: the
    first has that many columns and is kept, for it is small and reads much; the second costs little and is not.
    """

    def __init__(self, columns: int, rank: int) -> None:
        self.columns, self.rank = columns, rank
        self.used = {False: 0, True: 0}

    def __call__(self, context: Any, op: Any, *args: Any, **_: Any) -> CheckpointPolicy:
        name = op.name().split(".")[0]
        if name in _ATTENTION:
            return CheckpointPolicy.MUST_SAVE
        size = product_size(name, args)
        if size is None:
            return CheckpointPolicy.PREFER_RECOMPUTE
        inner, width = size
        if inner <= self.rank:
            return CheckpointPolicy.PREFER_RECOMPUTE
        if width <= self.rank:
            return CheckpointPolicy.MUST_SAVE
        again = bool(context.is_recompute)
        if self.used[again] + width > self.columns:
            return CheckpointPolicy.MUST_RECOMPUTE
        self.used[again] += width
        return CheckpointPolicy.MUST_SAVE


def product_size(name: str, args: Sequence[Any]) -> tuple[int, int] | None:
    """Inner size and columns of a matrix product by weights, or None for another operation."""
    if name == "bitsandbytes::gemm_4bit":
        columns, inner = args[2]
        return int(inner), int(columns)
    if name == "aten::mm":
        return int(args[0].shape[1]), int(args[1].shape[1])
    if name == "aten::addmm":
        return int(args[1].shape[1]), int(args[2].shape[1])
    return None


def checkpoint_layers(model: torch.nn.Module, keep: int | None, *, rank: int, every: int = 1) -> int:
    """Checkpoint every `every`-th layer, keeping `keep` columns per token of each (see `Keep`); None checkpoints none.

    Returns:
        How many layers are checkpointed.
    """
    done = 0
    for index, layer in enumerate(layers_of(model)):
        chosen = keep is not None and index % every == 0
        layer.gradient_checkpointing = chosen
        if keep is not None and chosen:
            layer._gradient_checkpointing_func = _checkpoint(keep, rank)  # type: ignore[assignment]  # as transformers does
            done += 1
    return done


def _checkpoint(columns: int, rank: int) -> Callable[..., Any]:
    if columns == 0:
        return partial(checkpoint, use_reentrant=False)
    return partial(checkpoint, use_reentrant=False, context_fn=partial(_contexts, columns, rank))


def _contexts(columns: int, rank: int) -> Any:
    return create_selective_checkpoint_contexts(Keep(columns, rank))  # type: ignore[no-untyped-call]


def compile_layers(model: PreTrainedModel | torch.nn.Module, *, backend: str | Callable[..., Any] = "inductor") -> int:
    """Compile each layer where it stands; layers of one shape share the compiled code. Returns how many there are."""
    found = layers_of(model)
    # First layer or later, checkpointed or not, with a fixed length or any: each is code of its own.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    for layer in found:
        layer.compile(backend=backend, dynamic=None)
    return len(found)
