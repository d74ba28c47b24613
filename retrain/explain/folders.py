"""Folders in which explaining processes work on decisions; each is locked by the worker that made it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from core.held_folder import held_folder
from monitor.site import Site

PREFIX: Final = "explain-"


def working_folder(site: Site) -> AbstractContextManager[Path]:
    """A folder of this worker's own; it holds texts, and is removed in the end."""
    return held_folder(site.settings.home_dir / "runs", PREFIX)
