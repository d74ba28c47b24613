"""Decision 0017: does it pay to wait for more small bodies before those that are there are stored?

    python -m bench.decisions.intake_wait [--rounds N] [--seconds S]

Requests of one row each, sent in this process without HTTP, as fast as they are answered. The ways of waiting take
turns, one slice of time each: none; 1, 2 or 4 ms before each batch; and 4 ms while that brings at least two bodies more
(tried again every 16th batch). Prints medians over the rounds: requests per second, CPU per request, p50 and p99; and
how long a full garbage collection takes with and without `gc.freeze`.
"""

import argparse
import asyncio
import gc
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.types import Message

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from api.app import create_app  # noqa: E402
from api.commands.serve import prepare  # noqa: E402
from api.http.intake import Intake  # noqa: E402
from bench.load.rows import MODEL, SPEC, Bodies  # noqa: E402
from core.settings import load  # noqa: E402
from governance.access.api_keys import first_admin  # noqa: E402
from monitor import service  # noqa: E402
from monitor.site import Site  # noqa: E402
from monitor.spec.parse import parse_spec  # noqa: E402

CONNECTIONS = (50, 8, 1)
WAITS_S = (0.001, 0.002, 0.004)


class Waiting(Intake):
    """Waits before each batch."""

    def __init__(self, site: Site, wait_s: float) -> None:
        super().__init__(site)
        self._wait_s = wait_s

    def _take_small(self) -> Any:
        self._change.release()  # the caller holds it
        self._wait()
        self._change.acquire()
        return super()._take_small()

    def _wait(self) -> None:
        time.sleep(self._wait_s)


class Adaptive(Waiting):
    """Waits while that brings more bodies, and if the last batch ended a moment ago."""

    def __init__(self, site: Site, wait_s: float) -> None:
        super().__init__(site, wait_s)
        self._pays, self._batches, self._ended = False, 0, 0.0

    def _wait(self) -> None:
        self._batches += 1
        if time.monotonic() - self._ended <= self._wait_s and (self._pays or self._batches % 16 == 0):
            before = len(self._tasks)
            time.sleep(self._wait_s)
            self._pays = len(self._tasks) - before >= 2

    def _answers(self, batch: Any) -> Any:
        answers = super()._answers(batch)
        self._ended = time.monotonic()
        return answers


class Client:
    """Sends single rows to an application in this process."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self._app, self._numbers, self._bodies = app, itertools.count(), Bodies("ndjson", 1, "z")
        self._headers = [
            (b"host", b"x"), (b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/x-ndjson"),
            (b"content-length", b"400"),
        ]  # fmt: skip
        self._took: list[float] = []

    async def slice_of(self, seconds: float, connections: int) -> tuple[float, float, float, float]:
        """Requests per second, CPU us per request, p50 and p99 in ms."""
        self._took.clear()
        begin, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self._send_until(begin + seconds) for _ in range(connections)))
        taken, count = sorted(self._took), len(self._took)
        spent_us = (time.process_time() - cpu) / count * 1e6
        return count / (time.perf_counter() - begin), spent_us, taken[count // 2] * 1e3, taken[count * 99 // 100] * 1e3

    async def _send_until(self, end: float) -> None:
        while (begin := time.perf_counter()) < end:
            await self._send()
            self._took.append(time.perf_counter() - begin)

    async def _send(self) -> None:
        body = self._bodies.make(next(self._numbers))

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            assert message.get("status", 200) == 200, message

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
            "method": "POST", "root_path": "", "path": f"/api/v1/models/{MODEL}/events", "query_string": b"",
            "state": {}, "headers": self._headers, "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        }  # fmt: skip
        await self._app(scope, receive, send)


async def measure(site: Site, rounds: int, seconds: float) -> None:
    app = create_app(site)
    client = Client(app, first_admin(site) or "")
    intakes = {"no wait": Intake(site), **{f"{s * 1e3:g} ms": Waiting(site, s) for s in WAITS_S},
               "adaptive": Adaptive(site, 0.004)}  # fmt: skip
    for connections in CONNECTIONS:
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in intakes}
        for number in range(rounds + 1):
            names = list(intakes)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                app.state.intake = intakes[name]
                found[name].append(await client.slice_of(seconds, connections))
        print(f"{connections} connections")
        for name, slices in found.items():
            rate, cpu, p50, p99 = (statistics.median(one[i] for one in slices[1:]) for i in range(4))
            print(f"  {name:10} {rate:7.0f}/s  {cpu:6.0f} us CPU  p50 {p50:6.2f} ms  p99 {p99:7.2f} ms", flush=True)
    for intake in intakes.values():
        intake.stop()


def collection_ms() -> float:
    begin = time.process_time()
    gc.collect()
    return (time.process_time() - begin) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        site = prepare(load(home=Path(folder)))
        with site.database.write() as db:
            service.apply_spec(site, db, parse_spec(SPEC), "bench")
        flusher = site.events.flusher()
        flusher.start()
        asyncio.run(measure(site, options.rounds, options.seconds))
        flusher.stop()
        gc.unfreeze()
        objects, before = len(gc.get_objects()), collection_ms()
        gc.freeze()
        print(f"full collection of {objects:,} objects: {before:.0f} ms, frozen {collection_ms():.1f} ms")
        site.close()


if __name__ == "__main__":
    main()
