"""The demo's child processes: the trainer of the first model, the serving application, the service itself."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import AppError
from core.process import isolated

OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # the service, the trainer and the application share few cores
}  # fmt: skip


class ProcessError(AppError):
    """A child process failed; the message ends with the last lines it wrote."""

    code = "process_failed"


def _command(module: str, *arguments: str) -> list[str]:
    """Run a module in a process that dies with this one, should somebody kill the demo."""
    return [sys.executable, "-P", "-m", "core.process", str(os.getpid()), module, *arguments]


def run_module(
    module: str,
    config: Mapping[str, Any],
    *,
    progress: Path | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Run `python -P -m module CONFIG.json` to its end, passing on each line of its progress file.

    Raises:
        ProcessError: it ended with an error.
    """
    with tempfile.TemporaryDirectory(prefix="assay-demo-") as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config))
        with (Path(folder) / "log").open("w+") as log:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                _command(module, str(path)),
                env=isolated(os.environ) | OFFLINE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            seen = 0
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=0.5)
                if progress is not None and on_progress is not None and progress.exists():
                    lines = progress.read_text().splitlines()
                    for line in lines[seen:]:
                        on_progress(json.loads(line))
                    seen = len(lines)
                if child.returncode is not None:
                    break
            if child.returncode != 0:
                log.seek(0)
                raise ProcessError(f"{module} ended with {child.returncode}: ...{log.read()[-2000:]}", module=module)


def predict(texts: Sequence[str], models: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Answers of each model (`name`, `base_dir`, `adapter_dir`) to the texts: `<name>.label`, `<name>.confidence`."""
    with tempfile.TemporaryDirectory(prefix="assay-demo-") as folder:
        asked, answered = Path(folder) / "texts.parquet", Path(folder) / "answers.parquet"
        pl.DataFrame({"text": list(texts)}).write_parquet(asked)
        run_module("retrain.evals.predict", {"texts": str(asked), "models": list(models), "output": str(answered)})
        return pl.read_parquet(answered)


class Service:
    """`assay serve` as a child process on a free port; it gets ready while its caller does something else."""

    def __init__(self, home: Path, port: int = 0) -> None:
        """`port`: to listen on; 0 takes a free one."""
        self._log = (home.parent / "service.log").open("a")
        environment = isolated({k: v for k, v in os.environ.items() if not k.startswith("ASSAY_")}) | OFFLINE
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            _command("api.cli", "serve", "--home", str(home), "--port", str(port), "--json"),
            env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self._home, self.url, self.admin_key = home, "", ""

    def wait_until_ready(self) -> None:
        """Raises ProcessError where the service did not start."""
        assert self._child.stdout is not None  # a pipe was asked for
        line = self._child.stdout.readline()
        if not line:
            raise ProcessError(f"the service did not start; see {self._log.name}", home=str(self._home))
        ready = json.loads(line)
        self.url, self.admin_key = ready["url"], ready.get("admin_key", "")  # the key is told at the first start
        threading.Thread(target=self._child.stdout.read, daemon=True).start()

    def wait(self) -> None:
        """Until the service ends."""
        self._child.wait()

    def stop(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._log.close()
