"""Attention over packed documents with torch's own kernel for rows of different length; no further package.

Packed rows are one row of several documents. Without the lengths, every token would see the documents before its own,
silently; so a call without them is an error here and never a plain causal attention.
"""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import AttentionInterface

from retrain.train.errors import DataError

NAME: Final = "torch_varlen"
DTYPES: Final = (torch.bfloat16, torch.float16)


def register() -> None:
    """Make `NAME` known to transformers. No mask function is registered, so no mask of tokens x tokens is built."""
    AttentionInterface.register(NAME, attend)


def attend(
    module: torch.nn.Module,  # noqa: ARG001  transformers passes it
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each document.

    Args:
        module: the attention layer; not read.
        query: shape (1, heads, tokens, head size).
        key: shape (1, key heads, tokens, head size); fewer heads than the query's are shared.
        value: as key.
        attention_mask: must be None; documents are told apart by `cu_seq_lens_q`.
        scaling: factor of the scores; None means 1 / sqrt(head size).
        cu_seq_lens_q: where documents start and the last one ends, int32, shape (documents + 1,).
        max_length_q: length of the longest document, in tokens.
        sliding_window: how many tokens back a token sees, itself included; None means all.

    Returns:
        Shape (1, tokens, heads, head size), and None in place of the weights.

    Raises:
        DataError: no lengths were passed, or a mask was.
    """
    if cu_seq_lens_q is None or attention_mask is not None:
        raise DataError(
            "cu_seq_lens_q: packed attention needs the lengths of the documents and no attention_mask; use packed "
            "rows, or attn_implementation sdpa"
        )
    if query.device.type != "cuda":
        return _segments(query, key, value, cu_seq_lens_q, scaling, sliding_window), None
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    longest = q.shape[0] if max_length_q is None else max_length_q
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    out = _kernel()(q, k, v, cu_seq_lens_q, cu_seq_lens_q, longest, longest, scale=scaling, **_options(window, q, k))
    return out.unsqueeze(0), None


def missing(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why packed attention cannot run on a device, or None."""
    if device.type != "cuda":
        return None  # document by document, with the ordinary attention
    if _find_kernel() is None:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen; 2.10 has"
    if dtype not in DTYPES:
        return f"packed attention on CUDA computes in bfloat16 or float16, not {dtype}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "packed attention needs a card of compute capability 8.0 or higher"
    return None


def unsupported(config: Any) -> str | None:
    """What of a model's attention this one cannot do, or None."""
    for name in ("attn_logit_softcapping", "attention_sink", "sinks"):
        if getattr(config, name, None):
            return f"the model's attention has {name}, which torch's packed kernel does not take"
    if getattr(config, "is_causal", True) is False:
        return "the model reads both ways; packed attention is causal"
    return None


def _find_kernel() -> Callable[..., Any] | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def _kernel() -> Callable[..., Any]:
    found = _find_kernel()
    assert found is not None  # `missing` was asked before
    return found


def _options(window: tuple[int, int], query: torch.Tensor, key: torch.Tensor) -> dict[str, Any]:
    """How to say causal and shared key heads: torch 2.10 has `is_causal`, later ones a window, 2.12 `enable_gqa`."""
    known = inspect.signature(_kernel()).parameters
    options: dict[str, Any] = {"window_size": window} if "window_size" in known else {"is_causal": True}
    if "enable_gqa" in known and query.shape[1] != key.shape[1]:
        options["enable_gqa"] = True
    return options


@torch.library.custom_op("assay::packed_attention", mutates_args=())
def _segments(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Document by document with the ordinary attention; one operation, as the kernel on the card is one."""
    edges = bounds.tolist()
    parts = [
        _one(query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], scaling, sliding_window)
        for a, b in itertools.pairwise(edges)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous()


@_segments.register_fake
def _(query: torch.Tensor, *_: Any) -> torch.Tensor:
    return query.new_empty(query.shape[0], query.shape[2], query.shape[1], query.shape[3])


@torch.library.custom_op("assay::packed_attention_backward", mutates_args=())
def _segments_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    edges = bounds.tolist()
    found: list[list[torch.Tensor]] = [[], [], []]
    for start, end in itertools.pairwise(edges):
        q, k, v = (x[:, :, start:end] for x in (query, key, value))
        given = gradient[:, start:end].transpose(1, 2)
        for whole, part in zip(found, _one_backward(given, q, k, v, scaling, sliding_window), strict=True):
            whole.append(part)
    q, k, v = (torch.cat(parts, dim=2) for parts in found)
    return q, k, v


@_segments_backward.register_fake
def _(*given: Any) -> tuple[torch.Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in given[1:4])


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ARG001  torch passes it
    query, key, value, bounds, ctx.scaling, ctx.window = inputs
    ctx.save_for_backward(query, key, value, bounds)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    return (*_segments_backward(gradient, *ctx.saved_tensors, ctx.scaling, ctx.window), None, None, None)


_segments.register_autograd(_backward, setup_context=_save)


def _one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, sliding_window: int | None
) -> torch.Tensor:
    """Causal attention of one document, shape as the query."""
    mask = _seen(query.shape[2], sliding_window, query.device)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


def _one_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of `_one`; an operation of our own has no graph of autograd inside, so they are written out."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    shared = query.shape[1] // key.shape[1]
    k, v = (x.repeat_interleave(shared, dim=1) for x in (key, value))
    seen = _seen(query.shape[2], sliding_window, query.device)
    weights = torch.softmax((query @ k.transpose(2, 3) * scale).masked_fill(~seen, float("-inf")), dim=-1)
    by_weight = gradient @ v.transpose(2, 3)
    by_score = weights * (by_weight - (by_weight * weights).sum(dim=-1, keepdim=True)) * scale
    into = (key.shape[0], key.shape[1], shared, key.shape[2], key.shape[3])
    by_key = (by_score.transpose(2, 3) @ query).reshape(into).sum(dim=2)
    by_value = (weights.transpose(2, 3) @ gradient).reshape(into).sum(dim=2)
    return by_score @ k, by_key, by_value


def _seen(length: int, sliding_window: int | None, device: torch.device) -> torch.Tensor:
    """Which tokens (columns) a token (row) sees, shape (length, length)."""
    ones = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return ones if sliding_window is None else ones.triu(1 - sliding_window)
