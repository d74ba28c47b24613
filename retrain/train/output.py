"""The folder that a run leaves: `adapter/` once it is whole."""

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from retrain.train.config import RunFiles
from retrain.train.errors import ResumeConflictError


def finished(config: RunFiles) -> bool:
    """True when this very run is already complete; another run's output is never overwritten.

    Raises:
        ResumeConflictError: the folder holds the finished run of another config.
    """
    done = config.output_dir / "adapter"
    if not done.exists():
        return False
    found = json.loads((done / "run.json").read_text(encoding="utf-8"))["digests"]["config"]
    if found != config.digest():
        raise ResumeConflictError(
            f"output_dir: {config.output_dir} holds the finished run of another config ({found}); use an empty folder",
            field="output_dir",
        )
    return True


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Installed versions by name; what is not installed is left out."""
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
