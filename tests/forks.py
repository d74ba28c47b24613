"""Processes split off an interpreter that has its imports behind it: a start without its seconds."""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Follows a program that imports what it needs, starts no thread, and defines `run`.
_LOOP = """
import json, os, signal, sys, threading, traceback

def _child(arguments, environ, cwd, stdout, stderr):
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for target, path, flags in ((0, os.devnull, os.O_RDONLY), (1, stdout, append), (2, stderr, append)):
        os.dup2(os.open(path, flags), target)
    try:
        code = run(*arguments) or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code

def _wait(child, timeout):
    late = []
    signal.signal(signal.SIGALRM, lambda *_: (late.append(1), os.kill(child, signal.SIGKILL)))
    signal.setitimer(signal.ITIMER_REAL, timeout)
    status = os.waitpid(child, 0)[1]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return "late" if late else os.waitstatus_to_exitcode(status)

_running = set()
for line in sys.stdin:
    what, *rest = json.loads(line)
    if what == "wait":
        print(_wait(*rest), flush=True)
        _running.discard(rest[0])
        continue
    assert threading.active_count() == 1
    child = os.fork()
    if child == 0:
        code = 120
        try:
            code = _child(*rest)
        finally:
            os._exit(code)
    _running.add(child)
    print(child, flush=True)
for child in _running:
    os.kill(child, signal.SIGKILL)
"""


class Forks:
    """One such interpreter. `program` defines `run(*arguments)`, which returns an exit code or None."""

    def __init__(self, program: str, environ: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", program + _LOOP], env=environ, cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        atexit.register(self.end)

    def _ask(self, *request: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
        assert answer, "the interpreter that splits off processes has ended"
        return answer

    def start(
        self, *arguments: Any, environ: Mapping[str, str], stdout: Path, stderr: Path, cwd: Path | None = None
    ) -> int:
        """Start a process that appends what it prints to the two files; returns its id."""
        return int(self._ask("start", arguments, dict(environ), str(cwd or ROOT), str(stdout), str(stderr)))

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """Exit code of a process that was started, negative for a signal; None when it was late and was killed."""
        answer = self._ask("wait", pid, timeout_s)
        return None if answer == "late" else int(answer)

    def ended(self, pid: int) -> bool:
        """Whether a process that was started and not waited for has ended."""
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.wait(pid, 60)

    def process(self, *arguments: Any, environ: Mapping[str, str], stdout: Path, stderr: Path) -> "Forked":
        """`start`, with what a Popen can do."""
        return Forked(self, self.start(*arguments, environ=environ, stdout=stdout, stderr=stderr))

    def end(self) -> None:
        """Closing its input ends it, and what it started."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


class Forked:
    """A process that was split off, with what of a Popen is used."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks, self.pid = forks, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self._forks.ended(self.pid):
            self.returncode = self._forks.wait(self.pid, 60)
        return self.returncode

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
