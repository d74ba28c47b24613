"""What is made once in a session of tests, whichever of its processes asks first."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` has filled. The first process to ask calls it, the others wait; nobody may change it."""
    above = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        above = above.parent  # of all workers
    folder, made = above / f"once-{name}", above / f"once-{name}.made"
    with (above / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed while it made it
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
