"""Whether this machine can train what the models of a home declare: base model, licence, memory. Nothing is loaded."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from core.errors import AppError
from monitor.spec.model import ModelSpec
from retrain.envelope import Plan, base_folder
from retrain.train.config import Recipe
from retrain.train.speed.choose import PASS_TOKENS, SAFE_SHARE, choose, least
from retrain.train.speed.memory import GIB, Shape
from retrain.train.tabular.recipe import TableRecipe

State = Literal["ok", "missing", "unknown"]
_LICENCES: Final = {
    "apache license": "apache-2.0", "mit license": "mit", "bsd 3-clause": "bsd-3-clause",
    "bsd 2-clause": "bsd-2-clause", "llama 3": "llama3", "llama 2": "llama2", "gemma terms": "gemma",
    "gnu general public": "gpl",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Readiness:
    """One line of the answer. `missing` stops a run, `unknown` does not."""

    check: str
    state: State
    detail: str


def readiness(spec: ModelSpec, home: Path, machine: Mapping[str, Any] | None) -> list[Readiness]:
    """Base model, licence and memory of a model's recipe; nothing for a model without one.

    Args:
        spec: as stored.
        home: relative paths of base models start here.
        machine: what `retrain.train.speed.probe` found; None where it could not be asked.
    """
    name = spec.model
    try:
        plan = Plan.of(spec)
        folder = base_folder(plan.recipe, home)
    except AppError as error:
        return [Readiness(f"{name}: base model", "missing", error.message)]
    if isinstance(plan.recipe, TableRecipe):
        return [Readiness(f"{name}: base model", "ok", f"{folder}, {plan.recipe.estimator} of typed columns")]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = licence(folder)
    return [
        Readiness(f"{name}: base model", "ok", f"{folder}, {config.get('model_type', 'of unknown type')}"),
        Readiness(f"{name}: licence", "ok", found)
        if found
        else Readiness(
            f"{name}: licence",
            "unknown",
            f"{folder} declares none in README.md or LICENSE; ask where the base comes from",
        ),
        _memory(name, plan.recipe, Shape.of(config), machine),
    ]


def licence(folder: Path) -> str | None:
    """The licence that a base model's folder declares: `license` at the head of README.md, or the title of LICENSE."""
    card = folder / "README.md"
    if card.is_file():
        head = card.read_text(encoding="utf-8", errors="replace")[:4000]
        if head.startswith("---"):
            lines = re.split(r"^---\s*$", head, maxsplit=2, flags=re.MULTILINE)[1].splitlines()
            named = dict(line.split(":", 1) for line in lines if re.match(r"license(_name)?:", line))
            value = (named.get("license") or "").strip().strip("'\"")
            if value and value != "other":
                return value
            if other := (named.get("license_name") or "").strip().strip("'\""):
                return other
    for file in sorted(folder.glob("LICEN[CS]E*")):
        title = " ".join(file.read_text(encoding="utf-8", errors="replace")[:600].lower().split())
        return next((short for words, short in _LICENCES.items() if words in title), f"see {file.name}")
    return None


def _memory(name: str, recipe: Recipe, shape: Shape | None, machine: Mapping[str, Any] | None) -> Readiness:
    check = f"{name}: memory"
    if shape is None:
        return Readiness(check, "unknown", "config.json of the base does not name its sizes as a transformer does")
    step, most = recipe.batch_size * recipe.gradient_accumulation_steps * recipe.max_length, recipe.max_length
    if recipe.task == "sequence_classification":
        most = recipe.batch_size * recipe.max_length
    tokens = min(step, max(PASS_TOKENS, most))  # of the first micro-batch that a run tries
    if machine is None:
        return Readiness(check, "unknown", "the machine could not be asked what it computes with")
    if machine["device"] != "cuda":
        needed, free = least(shape, tokens=recipe.max_length, rank=recipe.r, width=4), psutil.virtual_memory().available
        words = f"about {needed / GIB:.1f} GiB on the CPU, {free / GIB:.1f} GiB are free"
        return Readiness(check, "ok" if needed <= free else "missing", words)
    free, compiled = int(machine["free"]), machine.get("compiler") is None
    fit = choose(shape, recipe.speed, tokens=tokens, rank=recipe.r, free=free, compiled=compiled)
    words = f"speed {recipe.speed} needs about {fit.bytes_needed / GIB:.1f} GiB, {fit.budget / GIB:.1f} GiB may be used"
    if fit.fits:
        return Readiness(check, "ok", words)
    needed = least(shape, tokens=recipe.max_length, rank=recipe.r)
    if needed <= free * SAFE_SHARE:
        return Readiness(check, "ok", f"{words}; with one row a pass {needed / GIB:.1f} GiB, which a run falls back to")
    return Readiness(check, "missing", f"{words}; even one row a pass needs {needed / GIB:.1f} GiB")
