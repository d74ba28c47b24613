"""A Python process that stays: it answers requests one after the other, a line of JSON each, and dies with this one."""

import atexit
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, Final

from core.errors import BusyError
from core.process import environment, processor_s

LOOK_S: Final = 0.5


class AnsweringEndedError(BusyError):
    """The process ended before it answered; the request may be repeated."""

    code = "process_ended"


class Answering:
    """A running module that calls `answer_requests`. Used by one thread at a time."""

    def __init__(self, module: str, arguments: Sequence[str] = (), *, threads: int) -> None:
        self.module = module
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules, no shell
            [sys.executable, "-P", "-m", "core.process", str(os.getpid()), module, *arguments],
            env=environment(threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        atexit.register(self.close)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, request: Any, *, still_s: float) -> Any:
        """The answer to a request, however long the process works on it.

        Raises:
            AnsweringEndedError: it ended, or used no CPU for `still_s` and was killed.
        """
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; reading finds out
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        return json.loads(self._line(still_s))

    def _line(self, still_s: float) -> bytes:
        assert self.process.stdout is not None
        found, used, moved = bytearray(), 0.0, time.monotonic()
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() - moved < still_s:
                if waiting.select(LOOK_S):
                    part = os.read(self.process.stdout.fileno(), 1 << 20)
                    found += part
                    if part.endswith(b"\n"):
                        return bytes(found)
                    if not part:
                        break
                before, used = used, processor_s(self.process.pid)
                moved = moved if used == before else time.monotonic()
        self.close()
        raise AnsweringEndedError(f"{self.module} ended before it answered; it is asked again", retry_after_s=1)

    def close(self) -> None:
        """End the process, whatever it does."""
        atexit.unregister(self.close)
        with suppress(ProcessLookupError, PermissionError):  # gone already
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def answer_requests(answer: Callable[[Any], Any]) -> None:
    """Answer each request on standard input on what was standard output, until the other end is closed.

    What libraries print goes to standard error.
    """
    replies: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        replies.write(json.dumps(answer(json.loads(line)), ensure_ascii=False).encode() + b"\n")
        replies.flush()
