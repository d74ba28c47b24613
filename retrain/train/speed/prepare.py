"""Make a model ready to train as a profile says, and record what was done and why not more."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel

from retrain.train.config import VIRTUAL
from retrain.train.speed import attention
from retrain.train.speed.choose import Fit, Profile, choose
from retrain.train.speed.layers import checkpoint_layers, compile_layers, layers_of
from retrain.train.speed.memory import GIB, Plan, Shape
from retrain.train.speed.offload import Offload
from retrain.train.speed.placement import embedding_to_host, unpack

COMPILE_FLOPS: Final = 2e16  # work of a run from which compiling, about 15 s, pays; half a minute of an H100
STATE_BYTES: Final = 16  # a trained number, its gradient and two moments, 4 each
MIN_CAPABILITY: Final = (8, 0)  # bfloat16 and the packed kernel


@dataclass(slots=True)
class Prepared:
    """The model's plan as it stands, and what did not work. `offloaded` counts what went to host memory."""

    profile: Profile
    plan: Plan
    fit: Fit | None = None
    attention: str = "sdpa"
    reasons: list[str] = field(default_factory=list)
    halvings: list[dict[str, Any]] = field(default_factory=list)
    offload: Offload | None = None
    trial_bytes: int | None = None

    def record(self) -> dict[str, Any]:
        """For the run's record: the profile asked for, how the steps were computed, and each reason for less."""
        fit = self.fit
        return {
            "profile": self.profile,
            "attention": self.attention,
            **asdict(self.plan),
            "estimated_gib": None if fit is None else round(fit.bytes_needed / GIB, 3),
            "budget_gib": None if fit is None else round(fit.budget / GIB, 3),
            "trial_gib": None if self.trial_bytes is None else round(self.trial_bytes / GIB, 3),
            "out_of_memory": self.halvings,
            "reasons": self.reasons,
        }


def prepare(
    model: Any,
    base_dir: Path,
    *,
    profile: Profile,
    device: torch.device,
    tokens: int,
    rank: int,
    packed: bool,
    total_tokens: float,
    method: str = "qlora",
    memory_gib: float | None = None,
) -> Prepared:
    """Choose and apply the plan of a profile.

    Args:
        model: base with its adapter, on the device.
        base_dir: folder of the base, for its shape.
        profile: `fast`, `lean` or `auto`.
        device: where it trains; without CUDA nothing but the attention of packed rows is changed.
        tokens: of one micro-batch.
        rank: of the adapter.
        packed: whether rows are packed documents with their lengths.
        total_tokens: of the whole run, for whether compiling pays.
        method: of the recipe; only `qlora` has its base in 4 bits.
        memory_gib: how much of the card training may use; None means what is free.
    """
    if method in VIRTUAL:
        reason = f"{method} adds words to each row: eager, no layer checkpointed"
        return Prepared(profile, Plan(tokens, None, compiled=False, packed=False), reasons=[reason])
    if device.type != "cuda":
        plan = Plan(tokens, None, compiled=False, packed=packed)
        found = Prepared(profile, plan, reasons=["no CUDA device: eager"])
        if packed:
            attention.register()
            model.set_attn_implementation(attention.NAME)
            found.attention = attention.NAME
        return found
    shape = Shape.of(json.loads((base_dir / "config.json").read_text(encoding="utf-8")))
    if shape is None:
        checkpoint_layers(model, 0, rank=rank)
        reason = "the base's config.json does not name its sizes as a transformer does: eager, every layer checkpointed"
        return Prepared(profile, Plan(tokens, 0, compiled=False, packed=False), reasons=[reason])
    reasons, compiled = _can_compile(model, shape, total_tokens, device)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
    if memory_gib is not None:
        free = min(free, int(memory_gib * GIB))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    free -= max(0, trained - shape.adapter(rank)) * STATE_BYTES  # what another method trains beyond an adapter
    fit = choose(shape, profile, tokens=tokens, rank=rank, free=free, compiled=compiled, quantised=method == "qlora")
    if not fit.fits:
        reasons.append(
            f"the least plan needs {fit.bytes_needed / GIB:.1f} GiB, {fit.budget / GIB:.1f} GiB are allowed; "
            "it is tried all the same"
        )
    return apply(model, fit.plan, profile=profile, device=device, rank=rank, packed=packed, fit=fit, reasons=reasons)


def _can_compile(model: Any, shape: Shape, total_tokens: float, device: torch.device) -> tuple[list[str], bool]:
    if not layers_of(model):
        return ["the architecture does not mark its layers: nothing is compiled or checkpointed"], False
    if torch.cuda.get_device_capability(device) < MIN_CAPABILITY:
        return ["the card is older than compute capability 8.0: eager"], False
    if 4 * shape.linear * total_tokens < COMPILE_FLOPS:
        return ["the run is too short to win back the time of compiling: eager"], False
    try:
        import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError:
        return ["triton is not installed: eager"], False
    return [], True


def apply(
    model: Any,
    plan: Plan,
    *,
    profile: Profile,
    device: torch.device,
    rank: int,
    packed: bool,
    fit: Fit | None = None,
    reasons: list[str] | None = None,
    backend: str | Callable[..., Any] = "inductor",
) -> Prepared:
    """Change a model as a plan says; what a model does not take is left out with its reason."""
    found = list(reasons or ())
    changes: dict[str, Any] = {}
    name = "sdpa"
    if packed:
        why = attention.missing(device, torch.bfloat16) or attention.unsupported(model.config)
        if why is None:
            attention.register()
            model.set_attn_implementation(attention.NAME)
            name = attention.NAME
        else:
            found.append(f"{why}: sdpa")
            changes["packed"] = False
    elif plan.packed:
        changes["packed"] = False
    if plan.host_words and not isinstance(model, PeftModel):
        found.append("the embedding is trained: it stays on the card")
        changes["host_words"] = False
    elif plan.host_words and (why := embedding_to_host(model.get_base_model(), device)) is not None:
        found.append(f"{why}: it stays on the card")
        changes["host_words"] = False
    if plan.unpacked:
        unpack(model)
    checkpoint_layers(model, plan.keep, rank=rank, every=plan.every)
    if plan.compiled:
        os.environ.pop("TORCHDYNAMO_DISABLE", None)  # set for processes that compile nothing (core/process.py)
        compile_layers(model, backend=backend)
    prepared = Prepared(profile, _changed(plan, changes), fit, name, found)
    if plan.offload:
        prepared.offload = Offload(model, plan.offload, device)
    return prepared


def _changed(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    return replace(plan, **changes) if changes else plan


def finish(model: Any, prepared: Prepared) -> None:
    """After training: layers run eager and attention takes a mask again, as an evaluation needs it."""
    for layer in layers_of(model):
        layer._compiled_call_impl = None
    if prepared.attention == attention.NAME:
        model.set_attn_implementation("sdpa")


def without_compiling(model: Any, prepared: Prepared, error: Exception) -> None:
    """Fall back to eager layers after the compiler failed; the reason goes into the record."""
    for layer in layers_of(model):
        layer._compiled_call_impl = None
    prepared.plan = _changed(prepared.plan, {"compiled": False})
    words = " ".join(str(error).split())[:300]
    prepared.reasons.append(f"the layers could not be compiled ({type(error).__name__}: {words}): eager")
    if prepared.offload is not None:
        prepared.offload = Offload(model, prepared.plan.offload, prepared.offload.device)
