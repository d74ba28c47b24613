"""Jobs that take more than they may, for the processes of `api.processes.turns` to run."""

import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from api.processes.worker import JobFunction
from core.jobs import ReportJob
from monitor.site import Site


def work(_: Site, payload: Mapping[str, Any]) -> None:
    """What the name of the model says: sleeps, works, uses memory, dies, panics, or ends at once."""
    match str(payload.get("model")).partition("-"):
        case "sleeps", _, seconds:
            threading.Event().wait(float(seconds))
        case "works", _, seconds:
            end = time.process_time() + float(seconds)
            while time.process_time() < end:
                pass
        case "fills", _, megabytes:
            kept = []
            for _megabyte in range(int(megabytes)):
                kept.append(b"x" * (1 << 20))
            threading.Event().wait(60)
        case "dies", _, _:
            os.abort()
        case "panics", _, _:
            raise GeneratorExit  # as `pyo3_runtime.PanicException`, it is no Exception


JOBS: Final[Mapping[str, JobFunction]] = {"monitor.evaluate": work, "monitor.upkeep": work, ReportJob.name: work}
