"""Which code made something."""

from functools import lru_cache
from importlib import metadata


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release of Assay that runs."""
    try:
        return metadata.version("assay")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "unreleased"
