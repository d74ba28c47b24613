"""Whether others can load an adapter: the layout of PEFT, and the rules that vLLM publishes for it. Pure."""

from collections.abc import Mapping
from typing import Any, Final

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
WHOLE_CONFIG: Final = "config.json"
VLLM_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # values of max_lora_rank
VLLM_HEADS: Final = ("classifier", "score")  # what modules_to_save may name
VLLM_INITS: Final = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")  # named ones that leave the base as it is
VLLM_UNKNOWN: Final = (
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "use_bdlora",
    "use_qalora",
)
VLLM_SOURCE: Final = "vllm/lora/peft_helper.py and vllm/config/lora.py, as published in 2026"


def peft_faults(files: Mapping[str, int], config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What keeps PEFT from loading a folder.

    Args:
        files: size in bytes by name.
        config: adapter_config.json, parsed. Its text differs between equal runs, for it lists modules in no order.
    """
    found = []
    if config is None and files.get(WHOLE_CONFIG):
        return ("it is a whole model, as method full saves it; load it with transformers",)
    if not files.get(WEIGHTS):
        found.append(f"{WEIGHTS} is missing or empty")
    if config is None:
        return (*found, f"{CONFIG} is missing or is no JSON object")
    found += [f"{CONFIG} has no {name}" for name in ("peft_type", "base_model_name_or_path") if not config.get(name)]
    if str(config.get("base_model_name_or_path") or "").startswith("~"):
        found.append(f"{CONFIG}: base_model_name_or_path begins with ~, which PEFT does not expand")
    return tuple(found)


def vllm_refusals(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Rules of vLLM that an adapter's configuration breaks; empty if it keeps them all. Read, never run here.

    Source: VLLM_SOURCE.
    """
    if config.get("peft_type") != "LORA":
        return (f"peft_type is {config.get('peft_type')}; vLLM serves LORA",)
    rank, found = _rank(config), []
    if rank is None or rank > VLLM_RANKS[-1]:
        found.append(f"rank {rank} is beyond {VLLM_RANKS[-1]}, the largest max_lora_rank")
    if config.get("bias", "none") != "none":
        found.append(f"bias is {config['bias']}; vLLM takes none")
    if heads := [m for m in config.get("modules_to_save") or () if m not in VLLM_HEADS]:
        found.append(f"modules_to_save has {', '.join(heads)}; vLLM takes {' and '.join(VLLM_HEADS)} only")
    found += [f"{name} is set; vLLM does not have it" for name in VLLM_UNKNOWN if config.get(name)]
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in VLLM_INITS:
        found.append(f"init_lora_weights {init} changes the base; vLLM does not have it")
    return tuple(found)


def vllm_rank(config: Mapping[str, Any]) -> int | None:
    """The smallest max_lora_rank that vLLM must be started with; None if there is none."""
    rank = _rank(config)
    return None if rank is None else next((r for r in VLLM_RANKS if r >= rank), None)


def _rank(config: Mapping[str, Any]) -> int | None:
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    return max((r for r in ranks if isinstance(r, int) and r > 0), default=None)
