"""Which code made something."""

from importlib import metadata


def code_version() -> str:
    """The release of Assay that runs."""
    try:
        return metadata.version("assay")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "unreleased"
