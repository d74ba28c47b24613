"""A load generator: connections that send their next batch as soon as the last is answered."""

import http.client
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from bench.load.rows import TYPES, Bodies
from bench.load.service import Service


@dataclass
class LoadResult:
    acknowledged: list[int] = field(default_factory=list)  # batch numbers
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0


def load(
    service: Service, bodies: Bodies, connections: int, seconds: float, *, kill_after: float | None,
    per_second: float | None = None,
) -> LoadResult:  # fmt: skip
    """Send until the time is over or the service is killed: `per_second` requests, or as many as are answered."""
    done, guard, stop = LoadResult(), threading.Lock(), threading.Event()
    numbers = iter(range(10**6))

    def run() -> None:
        connection = service.connect()
        while not stop.is_set():
            with guard:
                number = next(numbers)
            body = bodies.make(number)
            if per_second is not None and (wait := started + number / per_second - time.monotonic()) > 0:
                time.sleep(wait)
            begin = time.monotonic()
            try:
                service.send(connection, body, TYPES[bodies.case])
            except (OSError, http.client.HTTPException):
                return
            with guard:
                done.acknowledged.append(number)
                done.took.append(time.monotonic() - begin)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    begin = started = time.monotonic()
    for thread in threads:
        thread.start()
    if kill_after is not None:
        time.sleep(kill_after)
        service.end(signal.SIGKILL)
    else:
        time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    done.seconds = time.monotonic() - begin
    return done


def until_queryable(service: Service, bodies: Bodies, stored: Callable[[], pl.Series]) -> float:
    """Seconds from sending one batch until a second reader sees its rows."""
    begin = time.monotonic()
    service.send(service.connect(), bodies.make(999_999), TYPES[bodies.case])
    wanted = bodies.ids(999_999)[-1]
    while not (stored() == wanted).any():
        time.sleep(0.01)
    return time.monotonic() - begin


def memory_mb(service: Service, what: str) -> float:
    """`VmHWM`: the most it has had resident; `RssAnon`: what is resident now and is no file's. MiB."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) / 1024


@contextmanager
def watched(service: Service) -> Iterator[list[float]]:
    """What is resident and no file's, each half second: a mapped file's pages go when somebody else needs the room."""
    found, stop = [memory_mb(service, "RssAnon")], threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            found.append(memory_mb(service, "RssAnon"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
