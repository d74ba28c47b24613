"""kill -9 at random moments under load, restart, compare: is every acknowledged row there, and there once?

    python -m bench.crash [--cycles N] [--processes 1|2] [--seed S]

In each cycle API processes on one home take batches of 1 to 400 rows over several connections; after a random time one
of them, or all, are killed. Batches that were not answered are sent again, with the same ids, to another process or in
the next cycle, as a client would. After each cycle the table and the logs, read by another process, are compared with
what was acknowledged. Appends JSON lines (cases `crash`, `crash_two_api`) to bench/results/ingest.jsonl.
"""

import argparse
import http.client
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.load.results import write_lines  # noqa: E402
from bench.load.rows import MODEL, TYPES, Bodies  # noqa: E402
from bench.load.service import Service, assay, assay_ids  # noqa: E402

CONNECTIONS = 4
SIZES = (1, 20, 400)  # rows in a batch


@dataclass
class Tally:
    cycles: int = 0
    acknowledged: set[str] = field(default_factory=set)
    open: list[tuple[int, int]] = field(default_factory=list)  # batches without an answer: size index, number
    lost: int = 0
    doubled: int = 0
    repeated: int = 0  # rows of batches sent again that had been stored the first time


class Client:
    """Sends batches to any of the services and keeps account of the answers."""

    def __init__(self, services: list[Service], seed: int) -> None:
        self.services = services
        self.bodies = [Bodies("ndjson", rows, f"c{index}") for index, rows in enumerate(SIZES)]
        self.tally, self.random = Tally(), random.Random(seed)
        self._number, self._guard = 0, threading.Lock()

    def load(self, kill: "list[Service]", after: float) -> None:
        """Send until `kill` are dead, `after` seconds from the first answer on, and a little on where others live."""
        stop, known = threading.Event(), len(self.tally.acknowledged)
        threads = [threading.Thread(target=self._send, args=(stop, i)) for i in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        patience = time.monotonic() + 30  # on a machine with other work a service takes its time
        while len(self.tally.acknowledged) == known and time.monotonic() < patience:
            time.sleep(0.005)
        time.sleep(after)
        for service in kill:
            service.end(signal.SIGKILL)
        if len(kill) < len(self.services):
            time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()

    def _send(self, stop: threading.Event, number: int) -> None:
        service = self.services[number % len(self.services)]
        while not stop.is_set():
            connection = service.connect()
            try:
                while not stop.is_set():
                    self._send_one(service, connection)
            except (OSError, http.client.HTTPException):
                service = self.services[(number + 1) % len(self.services)]
                time.sleep(0.02)
            finally:
                connection.close()

    def _send_one(self, service: Service, connection: http.client.HTTPConnection) -> None:
        batch = self._next()
        bodies = self.bodies[batch[0]]
        try:
            answer = service.send(connection, bodies.make(batch[1]), TYPES["ndjson"])
        except BaseException:
            with self._guard:
                self.tally.open.append(batch)
            raise
        assert answer["accepted"] + answer["duplicates"] == bodies.rows, answer
        with self._guard:
            self.tally.repeated += answer["duplicates"]
            self.tally.acknowledged.update(bodies.ids(batch[1]))

    def _next(self) -> tuple[int, int]:
        with self._guard:
            if self.tally.open:
                return self.tally.open.pop(0)
            self._number += 1
            return self.random.randrange(len(SIZES)), self._number

    def compare(self, home: Path) -> None:
        found = assay_ids(home)
        missing = self.tally.acknowledged.difference(found.to_list())
        self.tally.lost = max(self.tally.lost, len(missing))
        self.tally.doubled = max(self.tally.doubled, len(found) - found.n_unique())
        self.tally.cycles += 1


def run(cycles: int, processes: int, seed: int) -> Tally:
    with tempfile.TemporaryDirectory(prefix="assay-crash-") as folder:
        home = Path(folder)
        services = [assay(home)]
        services += [services[0].beside() for _ in range(processes - 1)]
        client = Client(services, seed)
        try:
            for cycle in range(cycles):
                for service in services:
                    if service.process is None:
                        service.start()
                doomed = services if client.random.random() < 0.5 else [client.random.choice(services)]
                client.load(doomed, client.random.uniform(0.05, 1.2))
                client.compare(home)
                if sys.stderr.isatty():
                    print(f"\rcycle {cycle + 1} of {cycles}", end="", file=sys.stderr)
            for service in services:
                if service.process is None:
                    service.start()
        finally:
            for service in services:
                service.end()
        # Once everything is stopped in order, the tables alone hold every row.
        client.compare(home)
        table = pl.scan_delta(str(home / "lake" / MODEL / "events")).select("event_id").collect()["event_id"]
        client.tally.lost = max(client.tally.lost, len(client.tally.acknowledged.difference(table.to_list())))
        return client.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--processes", type=int, choices=(1, 2), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ingest.jsonl")
    options = parser.parse_args()
    for processes in options.processes or (1, 2):
        tally = run(options.cycles, processes, options.seed)
        case = "crash" if processes == 1 else "crash_two_api"
        print(f"{case}: {options.cycles} cycles of kill -9, {len(tally.acknowledged)} rows acknowledged,", end=" ")
        print(f"{tally.repeated} of them when sent again; lost {tally.lost}, doubled {tally.doubled}")
        facts = {"cycles": options.cycles, "acknowledged": len(tally.acknowledged)}
        write_lines(options.out, case, {"lost": (tally.lost, "rows"), "doubled": (tally.doubled, "rows")}, **facts)
        if tally.lost or tally.doubled:
            sys.exit(1)


if __name__ == "__main__":
    main()
