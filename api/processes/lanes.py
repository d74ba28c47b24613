"""The lanes of the worker: turns for the jobs that all models need, a thread for each lane of jobs that last."""

import os
import socket
import threading
from typing import Final

from api.processes.turns import LANE, Turns
from api.processes.worker import step
from core.jobs import ExplainJob
from core.logs import logger
from core.queue import LANES
from monitor.site import Site
from retrain.explain.process import EXPLAINING

OWN_THREAD: Final = tuple(lane for lane in LANES if lane != LANE)  # their jobs start processes of their own
log = logger("api.processes.lanes")


def run_forever(site: Site, stop: threading.Event) -> None:
    """Run the lanes until the event is set, so that a training run never delays the windows."""
    name = f"{socket.gethostname()}:{os.getpid()}"

    def lane_loop(lane: str) -> None:
        while not stop.is_set():
            try:
                busy = step(site, worker=f"{name}:{lane}", lanes=(lane,))
            except Exception:
                log.exception("worker loop", lane=lane)
                busy = False
            if not busy:
                if lane == ExplainJob.lane:
                    stay_ready(site)
                stop.wait(site.settings.queue.poll_s)

    def stay_ready(site: Site) -> None:
        try:
            EXPLAINING.keep(site)
        except Exception:
            log.exception("explaining process")

    threads = [
        threading.Thread(target=lane_loop, args=(lane,), name=f"lane-{lane}", daemon=True) for lane in OWN_THREAD
    ]
    for thread in threads:
        thread.start()
    turns = Turns(site, worker=f"{name}:{LANE}")
    try:
        turns.run(stop)
    finally:
        turns.close()
    for thread in threads:
        thread.join(timeout=5)
    EXPLAINING.close()
