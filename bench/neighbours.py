"""A thousand models, one of them hostile: how much later do the others get their verdicts?

    python -m bench.neighbours [--models N] [--rate R] [--seconds S]

One `assay serve` on SQLite. Every model, or as many as S seconds have room for, gets its reference, then whole windows
of 100 rows at R windows a second: first while all are benign, then again while one is hostile in every way that its
routes allow (bench/load/hostile.py). The delay runs from the answer to the body that makes a window whole until its
verdict is stored. Appends JSON lines (case `hostile_1_of_1000`) to bench/results/neighbours.jsonl: `added_delay_s` is
the difference between the p99 delays of the two phases, `p99_ms` the p99 of the others' requests beside the hostile
model, `errors` their requests that were not answered 200 and their windows without a verdict; `senders` says how many
of the others sent.
"""

import argparse
import http.client
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.load.results import write_lines  # noqa: E402
from bench.load.service import Service, served  # noqa: E402

CONNECTIONS = 8
ROWS = 100  # of a window
REFERENCE = 2  # windows that make the reference
WAIT_S = 300.0  # for the last verdicts of a phase
SPEC = {
    "task": "classification", "owner": "bench@example.com", "purpose": "to be judged beside others",
    "columns": {
        "intent": {"role": "prediction", "type": "category"}, "confidence": {"role": "score", "type": "number"},
        "amount": {"role": "input", "type": "number"}, "age": {"role": "input", "type": "number"},
        "channel": {"role": "input", "type": "category"},
    },
    "baseline": {"rows": f"first {REFERENCE * ROWS}"},
    "monitors": {"windows": {"rows": ROWS}, "false_alarms": {"alpha": 0.01}},
}  # fmt: skip


def name(number: int) -> str:
    return f"benign-{number:04}"


def body(model: int, window: int) -> bytes:
    made, now = np.random.default_rng([model, window]), datetime.now(UTC)
    rows = (
        {
            "event_id": f"{window}-{i}", "ts": (now + timedelta(microseconds=i)).isoformat(), "version": "v1",
            "intent": f"i{made.integers(5)}", "confidence": round(float(made.random()), 4),
            "amount": round(float(made.normal(50, 10)), 2), "age": int(made.integers(18, 90)),
            "channel": ("web", "app", "phone")[made.integers(3)],
        }
        for i in range(ROWS)
    )  # fmt: skip
    return "\n".join(map(json.dumps, rows)).encode()


@dataclass
class Phase:
    """Bodies that were sent: when each window was whole, on the clock; how long each request took; what went wrong."""

    whole: dict[tuple[str, int], datetime] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    errors: int = 0
    delays: list[float] = field(default_factory=list)


def send(service: Service, models: int, window: int, rate: float) -> Phase:
    """One body for each model, `rate` of them a second."""
    phase, guard, begin = Phase(), threading.Lock(), time.monotonic()

    def run(first: int) -> None:
        for model in range(first, models, CONNECTIONS):
            if (wait := begin + model / rate - time.monotonic()) > 0:
                time.sleep(wait)
            content, start = body(model, window), time.monotonic()
            connection = service.connect()
            try:
                connection.request("POST", f"/api/v1/models/{name(model)}/events", content,
                                   {**service.headers, "Content-Type": "application/x-ndjson"})  # fmt: skip
                answer = connection.getresponse()
                receipt = json.loads(answer.read())
                right = answer.status == 200 and receipt["accepted"] == ROWS
            except (OSError, http.client.HTTPException, ValueError):
                right = False
            finally:
                connection.close()
            with guard:
                phase.took.append(time.monotonic() - start)
                phase.errors += not right
                if right:
                    phase.whole[name(model), window] = datetime.now(UTC)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return phase


def verdicts(home: Path) -> dict[tuple[str, int], datetime]:
    """When each window was judged, by its model and number."""
    with sqlite3.connect(f"file:{home / 'assay.db'}?mode=ro", uri=True, timeout=30) as db:
        found = db.execute("select m.name, w.number, w.closed_at from window w join model m on m.id = w.model_id")
        return {(model, number): datetime.fromisoformat(at).replace(tzinfo=UTC) for model, number, at in found}


def measure(service: Service, home: Path, models: int, window: int, rate: float) -> Phase:
    """Send a window of every model and wait for the verdicts."""
    phase, deadline = send(service, models, window, rate), time.monotonic() + WAIT_S
    while len(phase.whole.keys() - (judged := verdicts(home)).keys()) and time.monotonic() < deadline:
        time.sleep(1)
    phase.errors += len(phase.whole.keys() - judged.keys())
    now = datetime.now(UTC)
    phase.delays = [(judged.get(key, now) - whole).total_seconds() for key, whole in phase.whole.items()]
    return phase


def told(what: str, phase: Phase) -> None:
    p50, p99 = np.percentile(phase.delays, [50, 99])
    took = np.percentile(phase.took, 99) * 1000
    print(f"  {what:10} delay p50 {p50:6.2f} s  p99 {p99:6.2f} s  max {max(phase.delays):6.2f} s  "
          f"requests p99 {took:7.1f} ms  errors {phase.errors}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=4.0, help="windows a second, of all models together")
    parser.add_argument("--seconds", type=float, help="of each phase: only the first RATE * SECONDS models send")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "neighbours.jsonl")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-neighbours-") as folder:
        home, others = Path(folder), options.models - 1
        service = served(home, (SPEC | {"model": name(n)} for n in range(others)))
        others = min(others, round(options.rate * options.seconds)) if options.seconds else others
        try:
            for window in range(REFERENCE + 1):  # and one that is judged, which warms the caches
                told("reference", measure(service, home, others, window, 2 * options.rate))
            benign = measure(service, home, others, REFERENCE + 1, options.rate)
            told("benign", benign)
            key = service.headers["Authorization"].removeprefix("Bearer ")
            command = [sys.executable, "-m", "bench.load.hostile", service.url, key, str(home)]
            with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hostile:
                assert hostile.stdout is not None
                hostile.stdout.readline()
                beside = measure(service, home, others, REFERENCE + 2, options.rate)
                hostile.kill()
            told("hostile", beside)
        finally:
            service.end()
    added = float(np.percentile(beside.delays, 99) - np.percentile(benign.delays, 99))
    found = {
        "added_delay_s": (added, "s"), "p99_ms": (float(np.percentile(beside.took, 99)) * 1000, "ms"),
        "errors": (float(beside.errors), "requests and windows"),
    }  # fmt: skip
    for metric, (value, unit) in found.items():
        print(f"  {metric:24} {value:12.2f} {unit}")
    write_lines(
        options.out, f"hostile_1_of_{options.models}", found, bench="neighbours", rate=options.rate, senders=others,
        benign_p99_s=round(float(np.percentile(benign.delays, 99)), 3),
        benign_p99_ms=round(float(np.percentile(benign.took, 99)) * 1000, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
