"""Which files may be loaded as weights, and the digest of a folder of them."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Final

from core.canonical import digest
from retrain.train.errors import UnsafeWeightsError, WeightsNotFoundError

WHOLE: Final = "model.safetensors"
INDEX: Final = f"{WHOLE}.index.json"
PICKLED: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def check_base(path: Path, field: str = "base_dir") -> None:
    """Refuse a base model folder that is missing, incomplete, or that holds pickled weights only."""
    if not path.is_dir():
        raise WeightsNotFoundError(field, path, "is not a folder; put it back, or give the folder of a saved model")
    if not (path / WHOLE).is_file() and not (path / INDEX).is_file():
        _check_weights(path, field, WHOLE)
    if not (path / "config.json").is_file():
        raise WeightsNotFoundError(field, path, "has no config.json; save the model with save_pretrained")
    if not (path / "tokenizer.json").is_file():
        raise WeightsNotFoundError(field, path, "has no tokenizer.json; save the fast tokenizer next to the model")


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a base: those that its index names, or the one file."""
    index = path / INDEX
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8")).get("weight_map") or {}
        return [path / name for name in sorted(set(map(str, named.values())))]
    return [path / WHOLE]


def check_adapter(path: Path, field: str = "adapter_dir") -> None:
    """Refuse an adapter folder that is missing, incomplete, or that holds pickled weights only.

    What `full` trained is a whole model, with its own config.json.
    """
    if not path.is_dir():
        raise WeightsNotFoundError(field, path, "is not a folder; give the folder of a saved adapter")
    if (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
        _check_weights(path, field, "model*.safetensors")
        return
    _check_weights(path, field, "adapter_model.safetensors")
    if not (path / "adapter_config.json").is_file():
        raise WeightsNotFoundError(field, path, "has no adapter_config.json; save the adapter with save_pretrained")


def _check_weights(path: Path, field: str, pattern: str) -> None:
    if any(path.glob(pattern)):
        return
    pickled = sorted(p.name for p in path.iterdir() if p.suffix in PICKLED)
    if pickled:
        raise UnsafeWeightsError(field, path, pickled)
    if pattern == WHOLE and (parts := sorted(p.name for p in path.glob("*.safetensors"))):
        raise WeightsNotFoundError(
            field, path, f"has {parts[0]}, and neither {WHOLE} nor {INDEX}, which says where each weight lies; copy "
            "every file of the base",
        )  # fmt: skip
    raise WeightsNotFoundError(field, path, f"has no {pattern}; save the weights as safetensors")


def file_digest(path: Path) -> str:
    """`sha256:` and the hexadecimal digest of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def folder_files(path: Path) -> dict[str, str]:
    """Digest of each file directly in a folder, by name."""
    return {p.name: file_digest(p) for p in sorted(path.iterdir()) if p.is_file()}


def folder_digest(path: Path) -> str:
    """Digest over the names and digests of the files directly in a folder."""
    return digest(folder_files(path))


def held_digest(path: Path) -> str:
    """The same, computed anew only once a file was written or replaced, as its size, times and inode tell."""
    found = [(p.name, p.stat()) for p in sorted(path.iterdir()) if p.is_file()]
    return _digest_of(path, tuple((n, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for n, s in found))


@functools.lru_cache(maxsize=16)
def _digest_of(path: Path, _files: tuple[tuple[str, int, int, int, int], ...]) -> str:
    return folder_digest(path)
