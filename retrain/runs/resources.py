"""Disk, memory and card that a run needs at least, against what this machine has free, before anything starts."""

import json
import math
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import AppError
from core.settings import Settings
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import models
from retrain import store
from retrain.envelope import AnyRecipe, Plan, base_folder
from retrain.teaching import base_of
from retrain.train.shape import is_quantised, is_whole
from retrain.train.speed.choose import least
from retrain.train.speed.memory import GIB, NF4_BYTES, Shape
from retrain.train.tabular.recipe import TableRecipe

RUNTIME: Final = GIB // 2  # torch, transformers and what they load, measured at about 0.5 GiB
BESIDE: Final = 100 * 2**20  # datasets, logs and records of a run on disk
TRAINED: Final = 16  # bytes of one trained weight: itself, its gradient and Adam's two moments, in float32
SAVED: Final = 36  # and on disk: two checkpoints with the moments, the result, and its copy among the artifacts
MAX_HEADER: Final = 100 * 2**20
CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes of disk, memory and card. `card`: None where the run uses none, or where nobody can say."""

    disk: int
    memory: int
    card: int | None


@dataclass(frozen=True, slots=True)
class Weights:
    """Folder of the weights that a model is loaded from, and whether into 4 bits."""

    folder: Path
    packed: bool

    def loaded(self, width: int) -> int:
        """Bytes, with so many for a weight that is not packed."""
        count = sum(math.prod(shape) for _, shape in tensor_shapes(self.folder))
        return round(count * (NF4_BYTES if self.packed else width))

    @property
    def largest_file(self) -> int:
        return max((file.stat().st_size for file in self.folder.glob("*.safetensors")), default=0)


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
    needed = need(plan.recipe, folder, on_card=card is not None, champion=_champion(site, spec, plan.recipe))
    return compared(needed, free)


def _champion(site: Site, spec: ModelSpec, recipe: AnyRecipe) -> Weights | None:
    """What is loaded of the champion; None of a table, and where another blocker names what is missing."""
    if isinstance(recipe, TableRecipe):
        return None
    with site.database.read() as db:
        model = next((one for one in models(db) if one.name == spec.model), None)
        champion = None if model is None else store.champion(db, model.id)
    if champion is None:
        return None
    with suppress(AppError):
        own = site.artifacts.path(champion.adapter) if champion.adapter else None
        packed = is_quantised(own) if own is not None else recipe.method == "qlora"
        return Weights(own if own is not None and is_whole(own) else base_of(site, champion, recipe), packed)
    return None


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


def need(recipe: AnyRecipe, folder: Path, *, on_card: bool, champion: Weights | None = None) -> Amount:
    """The least that a run needs, from the size of the base model, the method and the batch.

    A lower bound: of the plans that can train this base the one that needs least memory, without the room that
    allocators leave.

    Args:
        folder: of the base model.
        on_card: weights and activations lie on a card; in memory otherwise.
        champion: answers the held-out rows, and teaches where the recipe says so; both are never loaded at one time, so
            that the larger counts.
    """
    if isinstance(recipe, TableRecipe):
        return Amount(BESIDE, RUNTIME, None)
    method: str = recipe.method
    width = 2 if on_card else 4
    shapes = [shape for _, shape in tensor_shapes(folder)]
    weights = sum(math.prod(shape) for shape in shapes)
    full = method == "full"
    ranks = recipe.r if method in ("qlora", "lora", "adalora") else 0  # the others train next to nothing
    trained = weights if full else ranks * sum(sum(shape) for shape in shapes if len(shape) == 2)
    sizes = Shape.of(_config(folder))
    if full:
        model = weights * TRAINED
    elif sizes is not None:  # each row of a batch has a token at least
        model = least(sizes, tokens=max(recipe.max_length, recipe.batch_size), rank=recipe.r, width=width)
    else:
        model = round(weights * (NF4_BYTES if method == "qlora" else width)) + trained * TRAINED
    merged = recipe.serve == "merged"
    largest = Weights(folder, packed=False).largest_file
    if champion is not None:
        model, largest = max(model, champion.loaded(width)), max(largest, champion.largest_file)
    memory = RUNTIME + max(largest, weights * 4 if merged else 0, 0 if on_card else model)
    # Of a merged model there is the one that is made and its copy among the artifacts.
    disk = trained * SAVED + (2 * weights * width if merged else 0) + BESIDE
    return Amount(disk, memory, model if on_card else None)


def _config(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def tensor_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor of a folder's safetensors files, read from their headers.

    A file whose header cannot be read counts as one vector of its size in 16 bit.
    """
    for file in sorted(folder.glob("*.safetensors")):
        try:
            named = [(name, tuple(map(int, one["shape"]))) for name, one in _header(file) if name != "__metadata__"]
        except (OSError, ValueError, KeyError, TypeError):
            named = [(file.name, (file.stat().st_size // 2,))]
        yield from named


def _header(file: Path) -> Iterable[tuple[str, Any]]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        found = json.loads(stream.read(length))
    if not isinstance(found, dict):
        raise ValueError("a header is a mapping")
    return found.items()


def free_memory() -> int:
    """Bytes of memory that processes can still take on this machine, within the limit of this container."""
    import psutil  # the API need not load it to start

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
