"""Files of one run while it is under way: configs, progress, logs, the trainer's output. One worker holds it."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from core.artifacts import write_durably
from core.settings import Settings
from retrain.errors import RunLockedError
from retrain.train.config import Frozen


@dataclass(frozen=True, slots=True)
class Workspace:
    run_id: UUID
    folder: Path

    @classmethod
    def of(cls, settings: Settings, run_id: UUID) -> "Workspace":
        folder = settings.home_dir / "runs" / str(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(run_id, folder)

    @property
    def train_config(self) -> Path:
        return self.folder / "train.json"

    @property
    def eval_config(self) -> Path:
        return self.folder / "eval.json"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def trained(self) -> Path:
        """Output folder of the trainer."""
        return self.folder / "trained"

    @property
    def evaluated(self) -> Path:
        """Output folder of the evaluation."""
        return self.folder / "evaluated"

    def until(self, holder: str) -> Path:
        """Says how long processes that a holder of the run started may live; see `core.process.write_until`.

        Each holder has a file of its own: one that was cut off and comes back neither ends the processes of its
        successor, nor do its own live as long as those.
        """
        return self.folder / f"until-{holder}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run on this machine; the kernel lets go when the process dies.

        A worker that lost its lease may still be alive: two of them must not train into one folder.

        Raises:
            RunLockedError: another worker holds it.
        """
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunLockedError(self.run_id) from error
            yield

    def tidy(self) -> None:
        """Remove what is large and kept elsewhere; configs, progress and logs stay."""
        for folder in (self.trained, self.evaluated):
            shutil.rmtree(folder, ignore_errors=True)
        for left in (*self.folder.glob(".new-*"), *self.folder.glob("until*")):  # of workers that were killed
            left.unlink(missing_ok=True)


def write_config(path: Path, config: Frozen, home: Path) -> None:
    """Write the config of a process; it names files in and beside the home folder by their way from its own."""
    write_durably(path, config.file_text(path.parent, home).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None if the file is missing or incomplete."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def last_line(path: Path) -> dict[str, Any] | None:
    """The last complete line of a JSON lines file."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        return document if isinstance(document, dict) else None
    return None
