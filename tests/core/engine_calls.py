"""Calls that worker processes of the engine tests import."""

import os
import signal
import sys
from pathlib import Path

import polars as pl

from core.errors import ConflictError, InvalidError


class NarrowError(ConflictError):
    code = "narrow"

    def __init__(self, model: str, *, version: int) -> None:
        super().__init__(f"model {model} has no version {version}", model=model, version=version)


def square(x: int) -> int:
    return x * x


def where() -> tuple[int, bool, int]:
    """Process, whether torch is loaded, and the threads polars takes."""
    return os.getpid(), "torch" in sys.modules, pl.thread_pool_size()


def node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # ray has no types here


def refuse(x: int) -> int:
    if x == 2:
        raise NarrowError("loans", version=x)
    if x == 3:
        raise InvalidError("three", field="x")
    return x


def stumble(x: int) -> int:
    class UnknownToOthersError(Exception):
        pass

    raise UnknownToOthersError(f"at {x}")


def die_once(x: int, marker: str) -> int:
    if x == 1 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x
