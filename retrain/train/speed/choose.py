"""Which way to compute a step: the fastest of those that fit the memory, by an estimate; pure.

The estimate of time counts operations, as a share of a forward and a backward pass without anything computed twice,
with weights from one H100 (docs/retraining.md): what is computed again costs its share of a forward pass, unpacking
4-bit weights a fixed time a pass, copying checkpoints to host memory what the copy does not hide.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from retrain.train.speed.memory import Plan, Shape, budgets, need

Profile = Literal["fast", "lean", "auto"]
LEAN_SHARE: Final = 0.75  # of the memory that a plain run needs
SAFE_SHARE: Final = 0.92  # of free memory: the rest is for what no estimate knows, and for gaps between blocks
PASS_TOKENS: Final = 8192  # a pass with more is no faster, and needs more memory
LEAST_TOKENS: Final = 2048  # a pass with fewer spends too much of its time unpacking weights
UNPACK_TOKENS: Final = 330  # unpacking in one pass costs as much as so many tokens of a forward pass
COPY_SHARE: Final = 0.01  # of a step, that copying to host memory costs although it has a stream of its own
COPY_COLUMNS: Final = 6e-5  # per parameter of a layer, copied while it computes: 40 GB/s beside 650 TFLOP/s
EIGHT_BIT_SHARE: Final = 0.002
PRODUCTS_SHARE: Final = 0.65  # of a compiled step that computes nothing twice: products with frozen weights


@dataclass(frozen=True, slots=True)
class Fit:
    """A plan, what it needs, and whether that is within the budget. `time` is relative: 1.0 computes nothing twice."""

    plan: Plan
    bytes_needed: int
    budget: int
    time: float
    fits: bool


def plain(tokens: int) -> Plan:
    """What TRL's trainer does by default: every layer checkpointed, nothing compiled, a mask for packed rows."""
    return Plan(tokens=tokens, keep=0, compiled=False, packed=False)


def choose(
    shape: Shape,
    profile: Profile,
    *,
    tokens: int,
    rank: int,
    free: int,
    compiled: bool = True,
    quantised: bool = True,
) -> Fit:
    """The fastest plan within the budget of a profile.

    Args:
        shape: of the base model.
        profile: `auto` may use `SAFE_SHARE` of what is free; `lean` also at most `LEAN_SHARE` of what a plain run
            needs; `fast` computes nothing twice, whatever is free.
        tokens: of one micro-batch as the recipe gives it; a plan may divide it.
        rank: of the adapter.
        free: bytes of the card that are free.
        compiled: whether layers can be compiled.
        quantised: whether the frozen products are in 4 bits.

    Returns:
        The fastest plan that fits; where none does, the one that needs least, with `fits` false.
    """
    budget = int(free * SAFE_SHARE)
    if profile == "lean":
        budget = min(budget, int(LEAN_SHARE * need(shape, plain(tokens), rank, quantised=quantised).total))
    if profile == "fast":
        found = [_fit(shape, plan, rank, budget, tokens, quantised) for plan in _fastest(tokens, compiled)]
        return next((fit for fit in found if fit.fits), found[-1])
    found = [_fit(shape, p, rank, budget, tokens, quantised) for p in plans(shape, tokens, compiled=compiled)]
    fitting = [fit for fit in found if fit.fits]
    if fitting:
        return min(fitting, key=lambda fit: (fit.time, fit.bytes_needed))
    return min(found, key=lambda fit: (fit.bytes_needed, fit.time))


def _fastest(tokens: int, compiled: bool) -> Iterator[Plan]:
    plan = Plan(tokens=tokens, keep=None, compiled=compiled)
    yield replace(plan, unpacked=True)
    yield plan


def plans(shape: Shape, tokens: int, *, compiled: bool = True) -> Iterator[Plan]:
    """Every plan worth a thought for a micro-batch of so many tokens."""
    yield from _fastest(tokens, compiled)
    sizes = [tokens]
    while sizes[-1] // 2 >= LEAST_TOKENS:
        sizes.append(sizes[-1] // 2)
    for size in sizes:
        for host in (False, True) if not shape.tied else (False,):
            for optimiser in ("adamw_torch_fused", "adamw_8bit"):
                base = Plan(tokens=size, compiled=compiled, host_words=host, optimiser=optimiser)
                yield replace(base, keep=None)
                yield replace(base, keep=budgets(shape)[-1], every=2)
                for keep in budgets(shape):
                    yield replace(base, keep=keep)
                    yield replace(base, keep=keep, offload=shape.hidden)
                    yield replace(base, keep=keep, offload=max(shape.hidden, hidden_copy(shape)))


def hidden_copy(shape: Shape) -> int:
    """Columns per token that one layer's forward pass has time to copy to host memory."""
    return int(COPY_COLUMNS * shape.linear / shape.layers)


def relative_time(shape: Shape, plan: Plan, micro: int) -> float:
    """Time of a micro-batch of `micro` tokens, computed in passes of `plan.tokens`; 1.0 computes nothing twice."""
    sizes = [a * b for a, b in zip(shape.columns_in, shape.columns_out, strict=True)]
    forward = float(sum(sizes))
    again, passes = 0.0, 2
    if plan.keep is not None:
        left = plan.keep
        read_again = sizes[:-1] if plan.compiled else sizes  # compiled, the last product is not repeated
        for size, width in zip(read_again, shape.columns_out, strict=False):
            if width <= left:
                left -= width
            else:
                again += size
        share = -(-shape.layers // plan.every) / shape.layers
        again = again * share / forward + (0.03 * share if plan.keep == 0 else 0.0) + 0.01 * share
        passes += 1 if again > 0.1 else 0
    time = 1 + PRODUCTS_SHARE * again / 2
    if not plan.compiled:
        time *= 1.3  # measured: 1.25 to 1.35, for what is not fused
    if not plan.unpacked:
        time += passes * (micro // plan.tokens) * UNPACK_TOKENS / micro / 2
    if plan.tokens < micro:
        time *= 1.01
    if plan.host_words:
        time += 0.015
    return time + COPY_SHARE * (plan.offload > 0) + EIGHT_BIT_SHARE * (plan.optimiser == "adamw_8bit")


def _fit(shape: Shape, plan: Plan, rank: int, budget: int, micro: int, quantised: bool) -> Fit:
    total = need(shape, plan, rank, quantised=quantised).total
    return Fit(plan, total, budget, relative_time(shape, plan, micro), total <= budget)


def least(shape: Shape, *, tokens: int, rank: int, width: int = 2) -> int:
    """Bytes of the plan that needs least, for passes of so many tokens; `width` 4 is that of the CPU, eager."""
    if width == 4:
        return need(shape, Plan(tokens, None, compiled=False), rank, width=width).total
    return min(need(shape, plan, rank).total for plan in plans(shape, tokens))
