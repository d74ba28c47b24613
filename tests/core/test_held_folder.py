"""An explaining process works in a folder of its own, which nobody else may take for one that a killed process left."""

import subprocess
import sys
from pathlib import Path

from core.held_folder import is_abandoned

HOLD = (
    "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True); input()"
)


def test_a_folder_is_abandoned_once_its_worker_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "explain-1"
    assert not is_abandoned(folder)  # removed by its worker
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert not is_abandoned(folder)
        worker.kill()
    assert is_abandoned(folder)
