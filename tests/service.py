"""`assay serve` as its users run it: another process, known only by the line it prints."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.forks import ROOT, Forks

# With `-P`, as the installed script: it finds nothing in the working directory.
_RUN = "from api.cli import main; main()"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a child process: this one's without ASSAY_*, with the checkout importable."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("ASSAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), **(extra or {})}


def assay(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Run one `assay` command to its end, in a process split off an interpreter that imported the command line."""
    forks = _command_line()
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        printed = {"stdout": Path(out.name), "stderr": Path(err.name)}
        child = forks.start(*arguments, environ=environment(environ), cwd=cwd or Path.cwd(), **printed)
        code = forks.wait(child, timeout_s)
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout_s, out.read(), err.read())
        return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


def assay_afresh(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Run one `assay` command to its end in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-c", _RUN, *arguments], env=environment(environ), cwd=cwd, timeout=timeout_s,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


# What commands import, as far as it starts no thread; a start takes half a second, and tests run hundreds of commands.
_COMMAND = """
import sys
import alembic.config, fastapi, httpx2, rich.console, sqlalchemy, uvicorn, yaml
from api.cli import main

def run(*arguments):
    sys.argv = ["-c", *arguments]
    main()
"""


@cache
def _command_line() -> Forks:
    return Forks(_COMMAND, environment())


class Service:
    """One installation: a home folder, and at most one process serving it."""

    def __init__(
        self, home: Path, *, database_url: str | None = None, environ: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.home, self.cwd = home, cwd
        self.environ = dict(environ) | ({"ASSAY_DB__URL": database_url} if database_url else {})
        self.log = home.parent / f"{home.name}.log"
        self.url = ""
        self.admin_key = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self, timeout_s: float = 180, *, port: int = 0) -> None:
        """Start the process and wait for the line that says it is ready; port 0 is any that is free."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _RUN, "serve", "--home", str(self.home), "--port", str(port), "--json"],
                env=environment(self.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True, cwd=self.cwd,
            )  # fmt: skip
        ready = self._first_line(timeout_s)
        self.url = ready["url"].rstrip("/")
        self.admin_key = ready.get("admin_key") or self.admin_key  # printed on the first start only

    def _first_line(self, timeout_s: float) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        output = self.process.stdout
        lines: queue.Queue[str] = queue.Queue()

        def drain() -> None:  # for as long as the process lives, so that it never blocks on a full pipe
            for line in output:
                lines.put(line)
            lines.put("")
            output.close()

        threading.Thread(target=drain, daemon=True).start()
        try:
            line = lines.get(timeout=timeout_s)
            document = json.loads(line)
        except (queue.Empty, json.JSONDecodeError) as error:
            self.kill()
            raise RuntimeError(f"assay serve did not become ready; its log ends:\n{self.log_tail()}") from error
        assert isinstance(document, dict)
        return document

    def log_tail(self, characters: int = 4000) -> str:
        return self.log.read_text()[-characters:] if self.log.exists() else ""

    def headers(self, key: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key or self.admin_key}"}

    def kill(self) -> None:
        """SIGKILL to the process and everything it started: a power cut, as far as the software can tell."""
        self._end(signal.SIGKILL)

    def stop(self, timeout_s: float = 60) -> int | None:
        """SIGTERM, as a service manager sends it; returns the exit status."""
        if self.process is None:
            return None
        process = self.process
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        self._end(signal.SIGKILL)  # what it left behind
        return process.returncode

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)  # start_new_session made it the leader of its own group
        self.process.wait(60)
        self.process = None
