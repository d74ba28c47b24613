"""`assay serve` as its users run it: another process, known only by the line it prints."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.forks import ROOT, Forked, Forks

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


# A start of the API takes seconds of imports, and tests start dozens.
_SERVE = """
import os, socket, sys
import uvicorn
from api.app import from_environment
from api.cli import main
from api.server import configured

def service(*arguments):
    os.setsid()
    sys.argv = ["-c", *arguments]
    main()

def api():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    app = from_environment()
    server = uvicorn.Server(configured(app, app.state.site.settings.server))
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])

def run(what, *arguments):
    {"service": service, "api": api}[what](*arguments)
"""


@cache
def servers() -> Forks:
    """Starts a `service` with its arguments, or the `api` alone, which prints its port."""
    return Forks(_SERVE, environment())


class Service:
    """One installation: a home folder, and at most one process serving it.

    The process is split off an interpreter that has imported the API, unless it is to run in a folder of its own.
    """

    def __init__(
        self, home: Path, *, database_url: str | None = None, environ: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.home, self.cwd = home, cwd
        self.environ = dict(environ) | ({"ASSAY_DB__URL": database_url} if database_url else {})
        self.log = home.parent / f"{home.name}.log"
        self.url = ""
        self.admin_key = ""
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def start(self, timeout_s: float = 180, *, port: int = 0) -> None:
        """Start the process and wait for the line that says it is ready; port 0 is any that is free."""
        arguments = ("serve", "--home", str(self.home), "--port", str(port), "--json")
        printed, environ = self.home.parent / f"{self.home.name}.out", environment(self.environ)
        printed.unlink(missing_ok=True)
        if self.cwd is None:
            self.process = servers().process("service", *arguments, environ=environ, stdout=printed, stderr=self.log)
        else:
            with self.log.open("a") as log, printed.open("w") as out:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _RUN, *arguments], env=environ, stdin=subprocess.DEVNULL, stdout=out,
                    stderr=log, start_new_session=True, cwd=self.cwd,
                )  # fmt: skip
        ready = self._first_line(printed, timeout_s)
        self.url = ready["url"].rstrip("/")
        self.admin_key = ready.get("admin_key") or self.admin_key  # printed on the first start only

    def _first_line(self, printed: Path, timeout_s: float) -> dict[str, Any]:
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while not (line := printed.read_text() if printed.exists() else "").endswith("\n"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        try:
            document = json.loads(line)
        except json.JSONDecodeError as error:
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
