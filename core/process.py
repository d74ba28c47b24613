"""Python processes for the heavy work of a run. They die with the worker that started them.

    python -P -m core.process PARENT [--until FILE] MODULE ARGUMENT... [--then MODULE ARGUMENT...]

runs a module as `python -P -m MODULE ARGUMENT...` would, in a process that dies with the process PARENT. FILE
says how long the process may live. A module after `--then` runs in the same process when the parent says so.
"""

import atexit
import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
# What must be on Python's path to find Assay: a checkout; an installed Assay is found as it is.
CHECKOUT: Final = () if ROOT.name in ("site-packages", "dist-packages") else (str(ROOT),)
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
SETTINGS_PREFIX: Final = "ASSAY_"
GO: Final = b"1"  # from a process that stays: the first module ended well; to it: run the second
# Numeric libraries read these when they load. Threads that wait for each other by spinning cost several times the CPU
# on a machine that has other work: a replay beside four busy processes took 1.9 times as much. The matrices here are
# too small for threads of their own; torch has its own setting.
WAITING_THREADS: Final = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
# The trees that a command fits are small as well: two threads took a tenth more of a replay's CPU. A process that is
# started for heavy work is told its own number.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1"}
# Nothing here is compiled by torch. bitsandbytes prepares functions for its compiler when it is imported, and loading
# the compiler took a fifth of what a training process needs to start.
NO_COMPILER: Final = {"TORCHDYNAMO_DISABLE": "1"}


def keep_threads_passive() -> None:
    """Let no numeric thread of this process or its children wait actively, and start few; call it before numpy loads.

    What the user has set stays.
    """
    for name, value in {**WAITING_THREADS, **ONE_THREAD}.items():
        os.environ.setdefault(name, value)


def look_for_garbage_less_often() -> None:
    """Let Python look for reference cycles each 200,000 new objects instead of each 700; call it before all else loads.

    Almost everything that a process makes while it loads its libraries stays; passing over it again and again took a
    sixth of an import of torch or FastAPI, and a tenth of a small replay. At its end Python would look for them in all
    that was ever loaded, several times, to free what ends with the process: another fifth of that replay.
    """
    gc.set_threshold(200_000, 20, 20)
    atexit.register(gc.freeze)


def isolated(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python finds Assay, and imports nothing from the working directory.

    A folder `reports` or a file `json.py` that lies where somebody started the service would otherwise stand in for
    the module of that name.
    """
    named = [p for p in environ.get("PYTHONPATH", "").split(os.pathsep) if Path(p).is_absolute()]
    path = os.pathsep.join(dict.fromkeys((*CHECKOUT, *named)))
    return {**environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def leave_working_directory() -> None:
    """Import nothing more from the working directory, in this process and in all that it starts."""
    if not sys.flags.safe_path and sys.path[:1] and Path(sys.path[0] or ".").resolve() == Path.cwd() != ROOT:
        del sys.path[0]  # `python -m` and `python -c` put it there
    sys.path[:] = [p for p in sys.path if Path(p).is_absolute() or p.startswith("__editable__")]
    os.environ.update(isolated(os.environ))


def environment(threads: int) -> dict[str, str]:
    """The worker's environment without Assay's settings (they hold secrets), offline, with few threads."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(SETTINGS_PREFIX)}
    return isolated(kept) | {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads),
        **WAITING_THREADS, **NO_COMPILER,
    }  # fmt: skip


def answer_of(module: str, arguments: Sequence[str], *, limit_s: float) -> Any:
    """What a module prints as JSON on its last line, run in a process of its own that dies with this one.

    Raises:
        subprocess.CalledProcessError: it ended with an error, of which `last_words` tells.
        subprocess.TimeoutExpired: it took longer than the limit, and was killed.
        ValueError: it printed something else, or nothing.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and modules, no shell
        [sys.executable, "-P", "-m", "core.process", str(os.getpid()), module, *arguments],
        env=environment(1), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=True,
        start_new_session=True,
    )  # fmt: skip
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def last_words(error: subprocess.CalledProcessError) -> str:
    """The last line that a process wrote about its end."""
    return (error.stderr.strip().rpartition("\n")[2] or "no reason")[:200]


class Child:
    """A running module, the leader of its own process group."""

    def __init__(
        self, module: str, arguments: Sequence[str], *, log: Path, threads: int, until: Path | None = None,
        then: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`until`: the process ends itself when the time in this file has passed; see `write_until`.

        `then`: a module and its arguments for the same process, so that it loads its libraries once. If the first
        module ends well the process stays, and `go_on` starts the second.
        """
        limited = [] if until is None else ["--until", str(until)]
        more = ["--then", *then] if then else []
        log.parent.mkdir(parents=True, exist_ok=True)
        self.then, self.stays = tuple(then), False
        self._line: socket.socket | None = None
        theirs: socket.socket | None = None
        if then:
            self._line, theirs = socket.socketpair()
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules, no shell
                [sys.executable, "-P", "-m", "core.process", str(os.getpid()), *limited, module, *arguments, *more],
                env=environment(threads), stdin=subprocess.DEVNULL if theirs is None else theirs.fileno(),
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        if theirs is not None:
            theirs.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, limit_s: float, look: Callable[[], None], *, every_s: float = 1.0) -> int | None:
        """Wait for the module to end, calling `look` about once a second. None if the limit passed and it was killed.

        No process is left behind, even if `look` raises, but one that stays for a second module.
        """
        deadline = time.monotonic() + limit_s
        try:
            while True:
                code = self._code(min(every_s, max(0.01, deadline - time.monotonic())))
                if code is not None:
                    return code
                look()
                if time.monotonic() >= deadline:
                    return None
        finally:
            if not self.stays:
                self.kill()

    def go_on(self) -> None:
        """Start the second module in a process that stays; then `wait` again."""
        self.stays = False
        if self._line is not None:
            with suppress(OSError), self._line:  # it was killed meanwhile
                self._line.sendall(GO)
            self._line = None

    def _code(self, within_s: float) -> int | None:
        """The exit code of the module, or None if it still runs after this time."""
        if self._line is not None and self.process.poll() is None:
            self._line.settimeout(within_s)
            try:
                self.stays = self._line.recv(1) == GO
            except TimeoutError:
                return None
            except ConnectionError:
                self.stays = False
            if self.stays:
                return 0
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def wait_while_it_works(
        self, still_s: float, *, every_s: float = 0.2, look: Callable[[], None] | None = None
    ) -> int | None:
        """Wait for the process to end, however long it works, calling `look` meanwhile.

        None if it used no CPU for `still_s` and was killed. No process is left behind, even if `look` raises.
        """
        used, moved = 0.0, time.monotonic()
        try:
            while time.monotonic() - moved < still_s:
                try:
                    return self.process.wait(every_s)
                except subprocess.TimeoutExpired:
                    before, used = used, processor_s(self.pid)
                    moved = moved if used == before else time.monotonic()
                    if look is not None:
                        look()
            return None
        finally:
            self.kill()

    def kill(self) -> None:
        self.stays = False
        with suppress(ProcessLookupError, PermissionError):  # gone already
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._line is not None:
            self._line.close()


def processor_s(pid: int) -> float:
    """CPU seconds that a process has used; `core.process` runs the module in the process that was started."""
    import psutil  # every command imports this module

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return float(times.user + times.system)


def tie_to(parent: int) -> None:
    """Make this process die with its parent, or at once if the parent has already died."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def write_until(path: Path, monotonic_s: float) -> None:
    """Let processes that were started with this file live until then, by `time.monotonic` of this machine."""
    part = path.with_name(path.name + ".part")
    part.write_text(repr(monotonic_s), encoding="ascii")
    part.replace(path)


def live_until(path: Path, *, every_s: float = 0.5) -> None:
    """End this process and its group when the time in the file has passed, or the file is gone.

    It depends on nobody: a parent that is stopped, or waits for a database that does not answer, cannot end it.
    """

    def watch() -> None:
        while True:
            try:
                passed = time.monotonic() >= float(path.read_text(encoding="ascii"))
            except OSError:
                passed = True
            if passed:
                os.killpg(0, signal.SIGKILL)
            time.sleep(every_s)

    threading.Thread(target=watch, name="until", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _run(command: list[str]) -> None:
    module, sys.argv = command[0], command
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_then(command: list[str], then: list[str]) -> None:
    """Run one module, and if it ends well the other, once the parent says so on standard input."""
    try:
        _run(command)
    except SystemExit as end:
        if end.code:
            raise
    gc.collect()  # what was trained is large
    os.write(0, GO)
    if os.read(0, 1) == GO:
        _run(then)


if __name__ == "__main__":
    tie_to(int(sys.argv[1]))
    del sys.argv[1]
    if sys.argv[1] == "--until":
        live_until(Path(sys.argv[2]))
        del sys.argv[1:3]
    look_for_garbage_less_often()
    if "--then" in sys.argv:
        at = sys.argv.index("--then")
        _run_then(sys.argv[1:at], sys.argv[at + 1 :])
    else:
        _run(sys.argv[1:])
