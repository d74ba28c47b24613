"""What gradients and attention say of each token of one text, on the model that serves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from core.arrays import Floats

STEPS: Final = 50
AT_ONCE: Final = 16  # steps in one pass


def integrated_gradients(
    model: Any, ids: Sequence[int], baseline: Sequence[int], score: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[Floats, float]:
    """Integrated gradients of a score on the embedding layer, and how far their sum misses score minus baseline score.

    Args:
        model: with an embedding layer for its tokens.
        ids: tokens of one text; baseline: those that stand for it, the same number.
        score: logits or whatever the model returns for tokens of shape (n, tokens), as scores of shape (n,).

    Returns:
        One value a token, in the unit of the score, and the convergence delta.

    Source: Sundararajan, Taly and Yan (2017); captum.attr.LayerIntegratedGradients.
    """
    from captum.attr import LayerIntegratedGradients

    device = next(model.parameters()).device
    words, table = torch.tensor([list(ids)], device=device), model.get_input_embeddings()
    none = torch.tensor([list(baseline)], device=device)
    explainer = LayerIntegratedGradients(score, table)
    found = explainer.attribute(words, baselines=none, n_steps=STEPS, internal_batch_size=AT_ONCE)
    values = found.sum(dim=-1)[0].detach().double().cpu().numpy()
    with torch.inference_mode():
        instead = table(none)
        whole = float(score(words)[0])
        hook = table.register_forward_hook(lambda *_: instead)  # a decoder finds its last token by the tokens
        try:
            empty = float(score(words)[0])
        finally:
            hook.remove()
    return values, float(values.sum()) - (whole - empty)


def attention(model: Any, ids: Sequence[int]) -> Floats:
    """How much the place from which the model answers looks at each token, 0..1: the mean of all layers and heads.

    That place is the last token of a decoder and the first of an encoder. A model may look at a token without using
    it, and use one that it does not look at from there.
    """
    device = next(model.parameters()).device
    with _eager(model) as whole, torch.inference_mode():
        found = whole(
            input_ids=torch.tensor([list(ids)], device=device),
            attention_mask=torch.ones((1, len(ids)), dtype=torch.long, device=device), output_attentions=True,
        ).attentions  # fmt: skip
    if not found or found[0] is None:
        raise ValueError("the model gives no attention maps")
    maps = torch.stack([layer[0].float().mean(dim=0) for layer in found]).mean(dim=0)
    place = 0 if model.config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not _is_decoder(model) else -1
    return np.asarray(maps[place, -len(ids) :].double().cpu().numpy())


def _is_decoder(model: Any) -> bool:
    return bool(getattr(model.config, "is_decoder", False))


@contextmanager
def _eager(model: Any) -> Iterator[Any]:
    """The model with the attention that keeps its maps; the others never make them."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = base.config._attn_implementation
    base.set_attn_implementation("eager")
    try:
        yield model
    finally:
        base.set_attn_implementation(before)
