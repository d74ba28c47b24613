"""On the CPU, 4-bit layers that keep their float32 values give the numbers of those that do not, bit for bit."""

from pathlib import Path
from typing import Any

from tests.retrain.train import tiny


def gradients(model: Any, tokens: Any) -> tuple[Any, Any]:
    embedded = model.get_input_embeddings()(tokens).detach().requires_grad_()
    logits = model(inputs_embeds=embedded).logits
    logits.square().sum().backward()
    return logits.detach(), embedded.grad


def test_products_and_gradients_are_those_of_the_library(tiny_base: Path) -> None:
    import torch
    from bitsandbytes.nn.modules import Linear4bit

    from retrain.train.base_model import load_base

    cpu, tokens = torch.device("cpu"), torch.tensor([[5, 9, 11, 7], [6, 8, 10, 12]])
    kept = load_base(tiny_base, "sequence_classification", tiny.OLD, cpu, pad=0)
    plain = load_base(tiny_base, "sequence_classification", tiny.OLD, cpu, pad=0)
    layers = [m for m in plain.modules() if isinstance(m, Linear4bit)]
    assert layers
    for layer in layers:
        del vars(layer)["forward"]  # the library's own from here on
    for one, other in zip(gradients(kept, tokens), gradients(plain, tokens), strict=True):
        assert torch.equal(one, other)
    with torch.inference_mode():
        assert torch.equal(kept(tokens).logits, plain(tokens).logits)
