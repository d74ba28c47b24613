"""The process that trained a run evaluates it as well, while the run is held: libraries are loaded once.

It changes nothing but where the evaluation runs. Its configuration is written after the training has been recorded, as
for a process of its own; a process that is gone is replaced by another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.process import Child
from retrain.runs.workspace import Workspace


@dataclass
class _Kept:
    child: Child | None = None


_KEPT: Final[ContextVar[_Kept | None]] = ContextVar("kept", default=None)


@contextmanager
def keeping() -> Iterator[None]:
    """Within the block a process that has trained stays for the evaluation; none outlives the block."""
    kept = _Kept()
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        if kept.child is not None:
            kept.child.kill()


def trainer(work: Workspace, module: str, evaluation: str, threads: int, until: Path) -> Child:
    """Start a training; within `keeping` its process stays for the module of the evaluation."""
    kept = _KEPT.get()
    if kept is not None and kept.child is not None:
        kept.child.kill()
    then = (evaluation, str(work.eval_config)) if kept is not None else ()
    child = Child(module, [str(work.train_config)], log=work.log, threads=threads, until=until, then=then)
    if kept is not None:
        kept.child = child
    return child


def evaluator(work: Workspace, module: str, threads: int, until: Path) -> Child:
    """Start an evaluation, in the process that trained if it is there and was told of this one."""
    kept, wanted = _KEPT.get(), (module, str(work.eval_config))
    child = kept.child if kept is not None else None
    if kept is not None:
        kept.child = None
    if child is not None and child.stays and child.then == wanted:
        child.go_on()
        return child
    if child is not None:
        child.kill()
    return Child(module, [str(work.eval_config)], log=work.log, threads=threads, until=until)
