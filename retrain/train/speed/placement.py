"""Where frozen weights lie while a model trains: the table of words in host memory, 4-bit weights unpacked once."""

from typing import Any, cast

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from torch import nn


class HostEmbedding(nn.Module):
    """A frozen table of word vectors that stays in host memory; the rows of a batch are copied to the card.

    8 billion parameters with 128,256 words hold 1 GiB of such rows, of which a batch needs a hundredth. The copy waits
    for the card once a batch.
    """

    def __init__(self, table: nn.Embedding, device: torch.device) -> None:
        super().__init__()
        weight = table.weight.detach().to("cpu")
        self.weight = nn.Parameter(weight.pin_memory() if device.type == "cuda" else weight, requires_grad=False)
        self.padding_idx = table.padding_idx
        self.device = device

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = nn.functional.embedding(ids.to("cpu"), self.weight, self.padding_idx)
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        return rows.to(self.device, non_blocking=True)

    def _apply(self, fn: Any, recurse: bool = True) -> "HostEmbedding":
        return self  # moving the model to the card leaves the table where it is


def embedding_to_host(model: Any, device: torch.device) -> str | None:
    """Move the table of words to host memory. Returns why it stayed, or None when it moved."""
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding:
        return f"the table of words is a {type(table).__name__}, which cannot be moved"
    if table.weight.requires_grad:
        return "the table of words is trained"
    head = model.get_output_embeddings()
    if head is not None and head.weight is table.weight:
        return "the table of words is the output layer as well"
    model.set_input_embeddings(HostEmbedding(table, device))
    return None


def unpack(model: nn.Module) -> int:
    """Replace every frozen 4-bit layer by one with the same values in the type it computes in. Returns how many.

    The products are the same numbers: without this, each pass unpacks the same weights to the same values. It takes 2
    bytes a parameter instead of half a byte, and spares the unpacking in each pass.
    """
    done = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear4bit):
                setattr(parent, name, _plain(child))
                done += 1
    return done


def _plain(layer: Linear4bit) -> nn.Linear:
    weight = cast(Any, layer.weight)
    state = weight.quant_state
    plain = nn.Linear(state.shape[1], state.shape[0], bias=layer.bias is not None, device="meta")
    values = dequantize_4bit(weight.data, state).to(layer.compute_dtype or state.dtype)
    plain.weight = nn.Parameter(values, requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.detach().to(values.dtype), requires_grad=False)
    return plain
