"""Disk, memory and card that a run needs at least, against what this machine has free, before anything starts."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from core.errors import AppError
from core.settings import Settings
from monitor.site import Site
from monitor.spec.model import ModelSpec
from retrain.envelope import Plan, base_folder
from retrain.train.config import Recipe

GIB: Final = 2**30
RUNTIME: Final = GIB // 2  # torch, transformers and what they load, measured at about 0.5 GiB
BESIDE: Final = 100 * 2**20  # datasets, logs and records of a run on disk
QUANTISED: Final = 4.127 / 8  # bytes of one weight in NF4 with its scales quantised again (Dettmers and others, 2023)
TRAINED: Final = 16  # bytes of one trained weight: itself, its gradient and Adam's two moments, in float32
SAVED: Final = 36  # and on disk: two checkpoints with the moments, the result, and its copy among the artifacts
LAYER: Final = 34  # bytes of one layer's activations by token and hidden unit in 16 bit (Korthikanti and others, 2022)
MAX_HEADER: Final = 100 * 2**20
CGROUP: Final = Path("/sys/fs/cgroup")
_KEPT: Final = re.compile(r"embed|wte|wpe|lm_head|classifier|score")  # layers that stay in the compute type


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes of disk, memory and card. `card`: None where the run uses none, or where nobody can say."""

    disk: int
    memory: int
    card: int | None


def lacking(site: Site, spec: ModelSpec) -> tuple[str, ...]:
    """What a run of a spec needs and this machine lacks, each with both figures; empty where it fits."""
    try:
        plan = Plan.of(spec)
    except AppError:  # the envelope's blocker names it
        return ()
    try:
        folder = base_folder(plan.recipe, site.settings.home_dir)
    except AppError as error:
        return (error.message,)
    card = free_card(site.settings)
    if site.settings.train.device == "cuda" and card is None and not any(Path("/dev").glob("nvidia*")):
        return ("train.device is cuda, and this machine has no card; set ASSAY_TRAIN__DEVICE to cpu or auto",)
    free = Amount(shutil.disk_usage(site.settings.home_dir).free, free_memory(), card)
    return compared(need(plan.recipe, folder, on_card=card is not None), free)


def compared(needed: Amount, free: Amount) -> tuple[str, ...]:
    """The amounts that do not suffice, in words."""
    found = [
        f"{name}: a run needs at least {_size(wanted)}, and {_size(there)} are free"
        for name, wanted, there in (
            ("disk", needed.disk, free.disk), ("memory", needed.memory, free.memory), ("card", needed.card, free.card),
        )
        if wanted is not None and there is not None and wanted > there
    ]  # fmt: skip
    return tuple(found)


def _size(amount: int) -> str:
    return f"{amount / GIB:,.1f} GiB" if amount >= GIB // 10 else f"{amount / 2**20:,.0f} MiB"


def need(recipe: Recipe, folder: Path, *, on_card: bool) -> Amount:
    """The least that a run needs, from the shapes of the base model's weights, the method and the batch.

    A lower bound: with all but one layer's activations computed again, and without the room that allocators leave.

    Args:
        folder: of the base model.
        on_card: weights and activations lie on a card; in memory otherwise.
    """
    compute = 2 if on_card else 4
    method: str = recipe.method
    shapes = list(tensor_shapes(folder))
    weights = trained = 0
    for name, shape in shapes:
        count = _product(shape)
        linear = len(shape) == 2 and not _KEPT.search(name)
        weights += round(count * (QUANTISED if linear and method == "qlora" else compute))
        if method == "full":
            trained += count
        elif linear:
            trained += recipe.r * sum(shape)
    largest = max((file.stat().st_size for file in folder.glob("*.safetensors")), default=0)
    model = weights + trained * (TRAINED - (compute if method == "full" else 0)) + _activations(recipe, folder)
    memory = RUNTIME + (largest if on_card else max(model, largest))
    return Amount(trained * SAVED + BESIDE, memory, model if on_card else None)


def _activations(recipe: Recipe, folder: Path) -> int:
    """Bytes of the activations of one batch: the input of each layer, and all of one layer."""
    with suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
        hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
        vocabulary = int(config.get("vocab_size") or 0) if recipe.task == "causal_lm" else 0
        tokens = recipe.batch_size * min(recipe.max_length, int(config.get("max_position_embeddings") or 2**31))
        return tokens * (hidden * (2 * layers + LAYER) + 4 * vocabulary)
    return 0


def tensor_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor of a folder's safetensors files, read from their headers.

    A file whose header cannot be read counts as one vector of its size in 16 bit.
    """
    for file in sorted(folder.glob("*.safetensors")):
        try:
            yield from ((name, tuple(one["shape"])) for name, one in _header(file).items() if name != "__metadata__")
        except (OSError, ValueError, KeyError, TypeError):
            yield file.name, (file.stat().st_size // 2,)


def _header(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        found: dict[str, Any] = json.loads(stream.read(length))
        return found


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= int(length)
    return count


def free_memory() -> int:
    """Bytes of memory that processes can still take on this machine, within the limit of this container."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))  # the word `max` where there is none
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        free = min(free, limit - used + int(stat.get("inactive_file", 0)))
    return free


def free_card(settings: Settings) -> int | None:
    """Bytes free on the card with the most; None without a card, or where the settings do not use one."""
    tool = shutil.which("nvidia-smi")
    if settings.train.device == "cpu" or tool is None:
        return None
    asked = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - no input
        return max(int(line) for line in answer.stdout.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
