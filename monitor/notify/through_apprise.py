"""Ask Apprise in a process of its own: whether it knows a URL, and to send a message."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.process import environment
from monitor.notify.outcome import Outcome

_MODULE: Final = "monitor.notify.apprise_process"
CHECK_LIMIT_S: Final = 120.0  # its plugins are many, and the machine may be busy


def send(document: Mapping[str, Any], *, limit_s: float) -> Outcome:
    """Send one message; the process is ended at the limit."""
    try:
        said = _ask({"send": document}, limit_s)
    except subprocess.TimeoutExpired:
        return Outcome(delivered=False, reason=f"no answer within {limit_s:g} s")
    if said is None:
        return Outcome(delivered=False, reason="the sending process ended without an answer")
    return Outcome(delivered=said["delivered"], reason=said["reason"])


def unknown(urls: Mapping[str, str]) -> Sequence[str]:
    """The names of the URLs that Apprise does not understand; none if it does not answer in time."""
    try:
        said = _ask({"check": dict(urls)}, CHECK_LIMIT_S)
    except subprocess.TimeoutExpired:
        return []
    return said["unknown"] if said is not None else []


def _ask(document: Mapping[str, Any], limit_s: float) -> dict[str, Any] | None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and module, no shell
        [sys.executable, "-P", "-m", "core.process", str(os.getpid()), _MODULE],
        input=json.dumps(document), capture_output=True, text=True, timeout=limit_s, env=environment(1), check=False,
    )  # fmt: skip
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None  # its error output may hold a URL, so it is not shown
    return said
