"""A process of the worker that runs jobs one at a time, so that one that takes too much can be stopped alone.

It is forked from a server that has loaded Assay and done nothing else, so it starts within a fraction of a second.
"""

import importlib
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from api.processes import worker
from core import logs
from core.process import tie_to
from core.settings import Settings
from monitor.site import open_site

KILLED_FIRST: Final = "600"  # of 1000: where memory runs out, the kernel takes this process before the API's
OOM_SCORE: Final = Path("/proc/self/oom_score_adj")


def serve(settings: Settings, jobs: str, connection: Connection) -> None:
    """Run each job that is received and send back its id and how it ended, until the other end is closed.

    Args:
        jobs: module whose `JOBS` names the functions.
    """
    tie_to(os.getppid())  # the server, which ends with the worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the worker ends its processes itself
    if sys.platform == "linux":
        with suppress(OSError):
            OOM_SCORE.write_text(KILLED_FIRST)
    logs.configure(settings.log.level)
    table = importlib.import_module(jobs).JOBS
    site = open_site(settings)
    try:
        connection.send(None)
        while True:
            job = connection.recv()
            connection.send((job.id, worker.run_one(site, job, table)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        site.close()
    os._exit(0)  # nothing of a job that was left behind keeps the process
