"""Vega for the charts of pages: the bundle that vl-convert carries, served from our own origin.

It is made once (1.6 s) and kept, compressed, below the home folder; its address names the version, so that browsers
keep it for good.
"""

import gzip
import hashlib
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from core.logs import logger

NAME: Final = "vega.js"
SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"  # all that charts.js calls
FOLDER: Final = "cache"  # below the home folder; can be deleted at any time


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Names what is in the bundle, without making it."""
    return hashlib.sha256(version("vl-convert-python").encode()).hexdigest()[:12]


@lru_cache(maxsize=2)
def bundle(home: Path) -> bytes:
    """The script, compressed by gzip; about 300 kB."""
    kept = home / FOLDER / f"vega-{fingerprint()}.js.gz"
    try:
        found = kept.read_bytes()
        gzip.decompress(found)
    except (OSError, EOFError, gzip.BadGzipFile):
        import vl_convert  # only for a process that makes the script

        found = gzip.compress(vl_convert.javascript_bundle(SNIPPET).encode(), mtime=0)
        _keep(kept, found)
    return found


def _keep(path: Path, content: bytes) -> None:
    """Kept whole or not at all; a home that cannot be written costs only time."""
    try:
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        logger(__name__).warning("the chart library could not be kept", error=type(error).__name__)
