"""Folders in which explaining processes work on decisions; each is locked by the worker that made it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from monitor.site import Site

PREFIX: Final = "explain-"


@contextmanager
def working_folder(site: Site) -> Iterator[Path]:
    """A folder of this worker's own; it holds texts, and is removed in the end."""
    parent = site.settings.home_dir / "runs"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def is_abandoned(folder: Path) -> bool:
    """Whether the worker that explained something in this folder is gone: it holds the folder's lock."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # it has just been removed
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
