"""What a training process tells the outside: progress lines while it runs, an exit report when it ends."""

import json
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from core.canonical import timestamp
from core.clock import SystemClock
from core.errors import AppError
from retrain.train.errors import LimitError

EXIT_REPORT: Final = "exit.json"


class Progress:
    """Appends JSON lines `{at, phase, step, steps, epoch, loss, eta_s, bytes}` to a file; unknown values are null."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(
        self,
        phase: str,
        step: int | None = None,
        steps: int | None = None,
        epoch: float | None = None,
        loss: float | None = None,
        eta_s: float | None = None,
        used: int | None = None,
    ) -> None:
        """`used`: bytes of memory that the process takes."""
        line = {
            "at": timestamp(SystemClock().now()),
            "phase": phase,
            "step": step,
            "steps": steps,
            "epoch": epoch,
            "loss": loss,
            "eta_s": eta_s,
            "bytes": used,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


class _TerminatedError(BaseException):
    """SIGTERM arrived; no library's `except Exception` may swallow it."""


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _TerminatedError


def report_exit(config_path: Path, work: Callable[[Path], None]) -> int:
    """Run `work` and write `exit.json` into the output folder its config names, however it ended.

    Returns the process exit code: 0 succeeded, 2 an error the user can act on, 1 anything else. Only kill -9 (or a
    config that names no folder) leaves no report.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    report = _report_path(config_path)
    if report is not None:
        report.unlink(missing_ok=True)
    code = 0
    state: dict[str, Any] = {"state": "succeeded", "code": "ok", "message": ""}
    try:
        work(config_path)
    except AppError as error:
        code, state = 2, {"state": "failed", "code": error.code, "message": error.message}
        if isinstance(error, LimitError):
            state["facts"] = error.facts
    except (_TerminatedError, KeyboardInterrupt):
        code, state = 1, {"state": "failed", "code": "terminated", "message": "stopped by a signal; start it again"}
    except Exception as error:  # noqa: BLE001  the edge of the process: the report is the only channel left
        traceback.print_exc()
        code, state = 1, {"state": "failed", "code": "unexpected", "message": f"{type(error).__name__}: {error}"}
    finally:
        signal.signal(signal.SIGTERM, before)
    if report is not None:
        write_json(report, state)
    if code:
        sys.stderr.write(f"{state['code']}: {state['message']}\n")
    return code


def _report_path(config_path: Path) -> Path | None:
    try:
        document = json.loads(config_path.read_text(encoding="utf-8"))
        return config_path.parent / str(document["output_dir"]) / EXIT_REPORT
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the config itself will be refused with its own message
