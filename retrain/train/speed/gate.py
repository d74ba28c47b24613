"""The correctness gate: no figure of speed counts before a fast step has computed what a plain one does.

The reference is float32 throughout, reads one document at a time, compiles nothing and checkpoints nothing, on the same
weights: those of the 4-bit layers, unpacked.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional

from retrain.train.speed.placement import unpack

LOSS_GAP: Final = 1e-3
COSINE: Final = 0.999
STEPS: Final = 20
FALL: Final = 0.9  # the loss on the toy set must end below this share of where it began

Documents = Sequence[torch.Tensor]  # token ids, int64, shape (tokens,)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; `reasons` is empty when the gate is passed."""

    loss: float
    reference_loss: float
    cosine: float  # of all adapter gradients as one vector
    worst_cosine: float  # of a single tensor
    without_gradient: tuple[str, ...]
    packed_gap: float  # of the loss, all documents in one row against one at a time
    first_loss: float
    last_loss: float

    @property
    def reasons(self) -> tuple[str, ...]:
        found = []
        if not abs(self.loss - self.reference_loss) <= LOSS_GAP:
            found.append(
                f"loss {self.loss:.5f} is not within {LOSS_GAP:g} of the reference's {self.reference_loss:.5f}"
            )
        if not self.cosine > COSINE:
            found.append(f"cosine {self.cosine:.5f} of the adapter's gradients is not above {COSINE:g}")
        if self.without_gradient:
            found.append(
                f"no gradient reaches {len(self.without_gradient)} tensors, such as {self.without_gradient[0]}"
            )
        if not self.packed_gap <= LOSS_GAP:
            found.append(f"packed and single documents differ by {self.packed_gap:.5f} in loss")
        if not self.last_loss < FALL * self.first_loss:
            found.append(
                f"{STEPS} steps took the loss of a learnable set from {self.first_loss:.4f} to {self.last_loss:.4f}"
            )
        return tuple(found)


def judge(fast: Any, reference: Any, documents: Documents, toy: Documents, *, learning_rate: float = 2e-3) -> Verdict:
    """Compare a prepared model with a plain one, and let the prepared one learn.

    Args:
        fast: PEFT model on the device, prepared as it will train; its adapter's weights are not zero.
        reference: PEFT model with the same weights; it is changed to float32 here.
        documents: texts to compare on; each has two tokens or more.
        toy: texts that can be learned by heart in `STEPS` steps.
        learning_rate: of those steps.
    """
    device = next(p for p in fast.parameters() if p.requires_grad).device
    wanted_loss, wanted = _reference(reference, documents, device)
    fast.train()
    fast.zero_grad(set_to_none=True)
    loss = _loss(fast, packed(documents, device), device)
    torch.autograd.backward(loss)
    found = _gradients(fast)
    missing = tuple(n for n in wanted if n not in found or not bool(found[n].any()))
    each = {n: _cosine(found[n], wanted[n]) for n in wanted if n not in missing}
    names = list(each)
    whole = _cosine(torch.cat([found[n] for n in names]), torch.cat([wanted[n] for n in names])) if names else 0.0
    fast.zero_grad(set_to_none=True)
    with torch.no_grad():
        labels = sum(len(d) - 1 for d in documents)
        single = sum(float(_loss(fast, packed([d], device), device)) * (len(d) - 1) for d in documents) / labels
    plain = float(loss.detach())
    first, last = _learn(fast, packed(toy, device), device, learning_rate)
    return Verdict(
        loss=plain, reference_loss=wanted_loss, cosine=whole, worst_cosine=min(each.values(), default=0.0),
        without_gradient=missing, packed_gap=abs(single - plain), first_loss=first, last_loss=last,
    )  # fmt: skip


def packed(documents: Documents, device: torch.device) -> dict[str, Any]:
    """One row of all documents, as TRL's collator makes it: positions, lengths, no label on a first token, no mask."""
    lengths = torch.tensor([len(d) for d in documents])
    bounds = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to(torch.int32)
    ids = torch.cat([d.cpu() for d in documents])[None]
    labels = ids.clone()
    labels[0, bounds[:-1].long()] = -100
    positions = torch.cat([torch.arange(int(n)) for n in lengths])[None]
    row = {
        "input_ids": ids,
        "labels": labels,
        "position_ids": positions,
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
    }
    longest = int(lengths.max())
    return {k: v.to(device) for k, v in row.items()} | {"max_length_q": longest, "max_length_k": longest}


def _loss(model: Any, batch: dict[str, Any], device: torch.device) -> torch.Tensor:
    labels = batch["labels"]
    with _autocast(device):
        logits = model(**{k: v for k, v in batch.items() if k != "labels"}, use_cache=False).logits
    return functional.cross_entropy(logits[0, :-1].float(), labels[0, 1:], ignore_index=-100)


def _reference(model: Any, documents: Documents, device: torch.device) -> tuple[float, dict[str, torch.Tensor]]:
    unpack(model)
    model.float()
    model.train()
    labels, total = sum(len(d) - 1 for d in documents), 0.0
    for document in documents:
        ids = document[None].to(device)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        loss = functional.cross_entropy(logits, ids[0, 1:], reduction="sum") / labels
        torch.autograd.backward(loss)
        total += float(loss.detach())
    found = _gradients(model)
    model.zero_grad(set_to_none=True)
    return total, found


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    """Gradients of what is trained, by name, float32 on the CPU."""
    return {
        name: p.grad.detach().float().flatten().cpu()
        for name, p in model.named_parameters()
        if p.requires_grad and p.grad is not None
    }


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(functional.cosine_similarity(one.double(), other.double(), dim=0))


def _learn(model: Any, batch: dict[str, Any], device: torch.device, learning_rate: float) -> tuple[float, float]:
    step: Callable[..., torch.Tensor] = lambda: _loss(model, batch, device)  # noqa: E731  twice the same call
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate)
    first = 0.0
    for index in range(STEPS):
        loss = step()
        first = float(loss.detach()) if index == 0 else first
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    with torch.no_grad():
        return first, float(step())


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()
