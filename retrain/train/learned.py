"""Rows and tokens that really went through a model in training, counted step by step as it learns."""

from collections.abc import Mapping
from typing import Any

import torch

IGNORED = -100  # a label that gives no loss


class Learned:
    """Counts what the model is given in training, by optimiser step; evaluations in between do not count."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.tokens: list[int] = []
        self.learned: list[int] = []  # tokens whose prediction gives the loss; for a classifier all it reads
        self._now: dict[str, Any] = {"rows": 0, "tokens": 0, "learned": 0}
        self._following: Any = None

    def follow(self, model: torch.nn.Module) -> None:
        """Count what this model is given; a second call, after memory ran out, counts nothing twice."""
        if self._following is not None:
            self._following.remove()
        self._following = model.register_forward_pre_hook(self._given, with_kwargs=True)

    def resume(self, record: Mapping[str, Any] | None) -> None:
        """Go on from what a checkpoint recorded; without one, from nothing."""
        for name in ("rows", "tokens", "learned"):
            setattr(self, name, list((record or {}).get(name, ())))
            self._now[name] = 0

    def _given(self, module: torch.nn.Module, _args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
        ids = given.get("input_ids")
        if not module.training or not torch.is_grad_enabled() or ids is None:
            return
        mask, places, labels = given.get("attention_mask"), given.get("position_ids"), given.get("labels")
        tokens = ids.numel() if mask is None or mask.shape != ids.shape else mask.sum()
        # Several documents in one row, each counted from 0, have no mask.
        self._now["rows"] += ids.shape[0] if mask is not None or places is None else (places == 0).sum()
        self._now["tokens"] += tokens
        by_token = labels is not None and labels.shape == ids.shape
        self._now["learned"] += (labels[:, 1:] != IGNORED).sum() if labels is not None and by_token else tokens

    def step(self) -> None:
        """An optimiser step has ended; the counts of all cards are added up."""
        names = ("rows", "tokens", "learned")
        found = [int(self._now[name]) for name in names]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            where = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
            together = torch.tensor(found, device=where)
            torch.distributed.all_reduce(together)
            found = together.tolist()
        for name, count in zip(names, found, strict=True):
            getattr(self, name).append(count)
            self._now[name] = 0

    def record(self) -> dict[str, Any]:
        return {"rows": list(self.rows), "tokens": list(self.tokens), "learned": list(self.learned)}
