"""`python -m retrain.train.speed.probe`: what this machine computes with, as one line of JSON. A process of its own."""

import json
import sys
from typing import Any

import torch

from retrain.train.base_model import pick_device


def probe() -> dict[str, Any]:
    """Facts of the machine; what is missing is a sentence, what works is null."""
    device = pick_device("auto")
    card = device.type == "cuda"
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "device": device.type,
        "name": None,
        "free": None,
        "total": None,
    }
    if card:
        found["name"] = torch.cuda.get_device_name(device)
        found["free"], found["total"] = torch.cuda.mem_get_info(device)
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
    found["bf16"] = None if not card or torch.cuda.is_bf16_supported() else "the card has no bfloat16"
    found["packed_attention"] = _packed_attention(device)
    found["compiler"] = _compiler() if card else None
    found["bitsandbytes"] = _four_bits(device)
    return found


def _packed_attention(device: torch.device) -> str | None:
    from retrain.train.speed import attention

    if (why := attention.missing(device, torch.bfloat16)) is not None or device.type != "cuda":
        return why
    states = torch.zeros(1, 2, 64, 64, dtype=torch.bfloat16, device=device)
    bounds = torch.tensor([0, 32, 64], dtype=torch.int32, device=device)
    try:
        attention.attend(torch.nn.Identity(), states, states, states, cu_seq_lens_q=bounds, max_length_q=32)
    except Exception as error:  # noqa: BLE001  whatever a kernel raises is the finding
        return _short(error)
    return None


def _compiler() -> str | None:
    try:
        import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError:
        return "triton is not installed; layers run eager"
    return None


def _four_bits(device: torch.device) -> str | None:
    """Pack and use a small layer in 4 bits, as a run does."""
    try:
        from bitsandbytes.nn.modules import Linear4bit

        layer: Any = Linear4bit(64, 64, bias=False, compute_dtype=torch.float32).to(device)  # type: ignore[no-untyped-call]
        layer(torch.zeros(2, 64, device=device))
    except Exception as error:  # noqa: BLE001  whatever the library raises is the finding
        return _short(error)
    return None


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
