"""Checkpoints in host memory, copied on a stream of their own while the layers compute.

Of what a layer saves for its backward pass, as much as its share goes to pinned host memory. Going out, a tensor is let
go of in the order of the computing stream, after its copy (a block that is merely marked as in use elsewhere cannot be
used again until the card has caught up, and the peak would not fall). Coming back, a layer's backward pass starts the
copy of the layer before it.
"""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.autograd.graph import saved_tensors_hooks

from retrain.train.speed.layers import layers_of

WAITING: Final = 2  # layers whose copies may be under way before the computation waits for the oldest
LEAST_SHARE: Final = 0.5  # of the hidden state's columns; narrower tensors are not worth a copy


@dataclass(eq=False)
class _Held:
    """One saved tensor: on the card, in host memory, or on its way back."""

    host: torch.Tensor
    device: torch.device
    back: torch.Tensor | None = None
    done: Any = None  # event of the copy back


class Offload:
    """Saved tensors of all layers of one model. `columns` per token and layer go to host memory."""

    def __init__(self, model: torch.nn.Module, columns: int, device: torch.device) -> None:
        self.columns, self.device = columns, device
        self.cuda = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if self.cuda else None  # type: ignore[no-untyped-call]
        self.fixed = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
        self.layers: list[list[_Held]] = []
        self.leaving: deque[tuple[list[torch.Tensor], Any]] = deque()
        self.free: dict[tuple[torch.dtype, int], list[torch.Tensor]] = {}
        self.copied = 0  # bytes in all, for the record
        for index, layer in enumerate(layers_of(model)):
            self.layers.append([])
            self._wrap(layer, index)

    def _wrap(self, layer: Any, index: int) -> None:
        # Hooks of the module would be compiled with it; this is the call that the compiled layer is behind.
        inner: Callable[..., Any] = layer._compiled_call_impl or layer._call_impl

        def call(*args: Any, **kwargs: Any) -> Any:
            if not (torch.is_grad_enabled() and layer.training):
                return inner(*args, **kwargs)
            states = args[0] if args else kwargs["hidden_states"]
            return self._pass(index, states, lambda: inner(*args, **kwargs))

        layer._compiled_call_impl = call

    def _pass(self, index: int, states: torch.Tensor, run: Callable[[], Any]) -> Any:
        tokens = states.numel() // states.shape[-1]
        left, mine, going = self.columns * tokens, self.layers[index], list[torch.Tensor]()
        mine.clear()

        def pack(tensor: torch.Tensor) -> Any:
            nonlocal left
            size = tensor.numel()
            if (
                tensor.device != self.device or size > left or size < LEAST_SHARE * states.numel()
                or not tensor.is_floating_point() or not tensor.is_contiguous()
                or tensor.untyped_storage().data_ptr() in self.fixed
            ):  # fmt: skip
                return tensor
            left -= size
            held = self._out(tensor)
            going.append(tensor)
            mine.append(held)
            return held

        with saved_tensors_hooks(pack, lambda held: self._in(held, index) if isinstance(held, _Held) else held):
            result = run()
        self._let_go(going)
        return result

    def _out(self, tensor: torch.Tensor) -> _Held:
        pool = self.free.setdefault((tensor.dtype, tensor.numel()), [])
        host = pool.pop() if pool else torch.empty(tensor.numel(), dtype=tensor.dtype, pin_memory=self.cuda)
        host = host.view(tensor.shape)
        self.copied += tensor.numel() * tensor.element_size()
        with self._on_stream():
            host.copy_(tensor, non_blocking=self.cuda)
        return _Held(host, tensor.device)

    def _let_go(self, going: list[torch.Tensor]) -> None:
        if not self.cuda or not going:
            return
        assert self.stream is not None
        self.leaving.append((going, self.stream.record_event()))
        while len(self.leaving) > WAITING:
            tensors, done = self.leaving.popleft()
            torch.cuda.current_stream(self.device).wait_event(done)
            tensors.clear()

    def _in(self, held: _Held, index: int) -> torch.Tensor:
        while self.leaving:  # the forward pass is over
            tensors, done = self.leaving.popleft()
            torch.cuda.current_stream(self.device).wait_event(done)
            tensors.clear()
        self._start(held)
        for before in self.layers[index - 1] if index else ():
            self._start(before)
        assert held.back is not None
        if self.cuda:
            torch.cuda.current_stream(self.device).wait_event(held.done)
        tensor, held.back = held.back, None
        self.free[tensor.dtype, tensor.numel()].append(held.host.view(-1))
        if held in self.layers[index]:
            self.layers[index].remove(held)
        return tensor

    def _start(self, held: _Held) -> None:
        if held.back is not None:
            return
        held.back = torch.empty_like(held.host, device=held.device)
        with self._on_stream():
            held.back.copy_(held.host, non_blocking=self.cuda)
        held.done = self.stream.record_event() if self.stream is not None else None

    def _on_stream(self) -> AbstractContextManager[Any]:
        """On the card: the stream of copies, behind everything that was asked of the computing one so far."""
        if self.stream is None:
            return nullcontext()
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self.stream)
