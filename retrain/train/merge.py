"""Merge a trained adapter into a copy of its base in 16 bits, for serving that loads one model.

Never into the base in 4 bits: that moves the answers more than the adapter itself does. An adapter that was trained
beside a base in 4 bits corrects that base, so the merged model is another one, and the gates judge it, not the adapter.
"""

import shutil
from pathlib import Path
from typing import Any, Final, cast

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from safetensors import safe_open

from retrain.train.base_model import load_base, load_tokenizer, quiet
from retrain.train.config import RunConfig
from retrain.train.errors import DataError
from retrain.train.kinds import KINDS
from retrain.train.shape import BESIDE
from retrain.train.weights import weight_files

ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors", "labels.json")
_HALF: Final = ("F16", "BF16")  # as safetensors calls them


def merge(saved: Path, config: RunConfig, *, on_card: bool) -> dict[str, Any]:
    """Make a saved adapter's folder one of a merged model, with the adapter in a folder of it.

    The sum is made in float32 on the CPU and rounded once.

    Args:
        saved: adapter, tokenizer and labels.
        config: of the run.
        on_card: training used a card.

    Returns:
        Facts for the record: type of the weights, their bytes, and how many layers the adapter changed.

    Raises:
        DataError: a sum is not finite, or a layer cannot be merged.
    """
    dtype = merged_dtype(config.base_dir, on_card=on_card)
    architecture = KINDS[config.recipe.task].architecture
    tokenizer = load_tokenizer(saved)
    model = load_base(
        config.base_dir, architecture, config.labels, torch.device("cpu"), quantise=False, pad=tokenizer.pad_token_id
    )
    whole = saved.with_name(".merged")
    shutil.rmtree(whole, ignore_errors=True)
    with quiet():
        beside = PeftModel.from_pretrained(cast(Any, model), str(saved), use_safetensors=True, local_files_only=True)
        layers = sum(hasattr(module, "merge") and hasattr(module, "merged_adapters") for module in beside.modules())
        _keep_heads(beside)
        try:
            merged: Any = beside.merge_and_unload(safe_merge=True)
        except (ValueError, NotImplementedError) as error:
            raise DataError(f"recipe.serve: the adapter cannot be merged ({error})", field="recipe.serve") from error
        merged.config.use_cache = True  # off in training only
        merged.to(dtype).save_pretrained(str(whole), safe_serialization=True)
    tokenizer.save_pretrained(whole)
    (whole / "labels.json").write_bytes((saved / "labels.json").read_bytes())
    (whole / BESIDE).mkdir()
    for name in ADAPTER_FILES:
        (saved / name).rename(whole / BESIDE / name)
    shutil.rmtree(saved)
    whole.rename(saved)
    size = sum(path.stat().st_size for path in saved.glob("*.safetensors"))
    return {"dtype": str(dtype).removeprefix("torch."), "layers": layers, "bytes": size, "adapter": f"{BESIDE}/"}


def _keep_heads(model: PeftModel) -> None:
    """Put the trained modules in place of their wrappers; with IA3 the library fails on one without a weight."""
    root = model.get_base_model()
    for name, module in list(root.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            parent, _, last = name.rpartition(".")
            setattr(root.get_submodule(parent), last, module.modules_to_save[cast(str, module.active_adapter)])


def merged_dtype(base_dir: Path, *, on_card: bool) -> torch.dtype:
    """bfloat16; float32 where the base is saved so and no card was used."""
    if on_card or _in_16_bits(base_dir):
        return torch.bfloat16
    return torch.float32


def _in_16_bits(base_dir: Path) -> bool:
    """Whether any matrix of a base is saved in 16 bits, read from the headers of its files."""
    for path in weight_files(base_dir):
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  a safetensors file is no mapping
                part = file.get_slice(name)
                if len(part.get_shape()) > 1:
                    return bool(part.get_dtype() in _HALF)
    return False
