"""A thousand models with one event a second each, on one `assay serve`: what does it cost, and when is a row there?

    python -m bench.quiet [--models N] [--seconds S]

Each event is a request of its own. CPU is that of the API process and of its worker, from /proc. A row is visible when
GET .../events/{id} finds it; it is flushed when the model's Delta table has it. Appends JSON lines (case `quiet_1000`)
to bench/results/ingest.jsonl.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.load.results import write_lines  # noqa: E402
from bench.load.rows import SPEC, frame  # noqa: E402
from bench.load.service import Service, served  # noqa: E402

CONNECTIONS = 16


def name(number: int) -> str:
    return f"quiet-{number:04}"


def cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and its children."""
    found = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry.name) == pid or int(fields[1]) == pid:
                found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


@dataclass
class Sent:
    at: dict[str, tuple[int, float]] = field(default_factory=dict)  # event -> model, when it was answered
    took: list[float] = field(default_factory=list)
    late: int = 0  # events sent more than a second after their time


def load(service: Service, models: int, seconds: float, prefix: str = "q") -> Sent:
    """One event a second for each model, spread evenly over the second; their ids begin with `prefix`."""
    sent, guard, begin = Sent(), threading.Lock(), time.monotonic()
    row = frame(1, 3).with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).to_dicts()[0]
    total = int(models * seconds)

    def run(first: int) -> None:
        connection = service.connect()
        for number in range(first, total, CONNECTIONS):
            due = begin + number / models
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            event_id, model = f"{prefix}{number:08}", number % models
            row_text = json.dumps({**row, "event_id": event_id, "ts": datetime.now(UTC).isoformat()})
            start = time.monotonic()
            connection.request("POST", f"/api/v1/models/{name(model)}/events", row_text,
                               {**service.headers, "Content-Type": "application/x-ndjson"})  # fmt: skip
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            with guard:
                sent.at[event_id] = (model, time.monotonic())
                sent.took.append(time.monotonic() - start)
                sent.late += start - due > 1
        connection.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def visible_s(service: Service, sent: Sent) -> float:
    """The longest time from an answer until the look-up found the row, over the newest event of twenty models."""
    worst = 0.0
    connection = service.connect()
    for event_id, (model, answered) in list(sent.at.items())[-20:]:
        while True:
            try:
                connection.request("GET", f"/api/v1/models/{name(model)}/events/{event_id}", headers=service.headers)
                answer = connection.getresponse()
                answer.read()
            except http.client.HTTPException:
                continue
            if answer.status == 200:
                break
        worst = max(worst, time.monotonic() - answered)
    connection.close()
    return worst


def folded_s(home: Path, sent: Sent) -> float:
    """How far behind the newest answer the tables are: the age of the oldest row that is not in its table."""
    now, oldest = time.monotonic(), 0.0
    by_model: dict[int, list[tuple[str, float]]] = {}
    for event_id, (model, at) in sent.at.items():
        by_model.setdefault(model, []).append((event_id, at))
    for model, events in by_model.items():
        folder = home / "lake" / name(model) / "events"
        files = [str(p) for p in folder.glob("date=*/*.parquet")]
        found = set(pl.scan_parquet(files).select("event_id").collect()["event_id"].to_list()) if files else set()
        oldest = max([oldest, *(now - at for event_id, at in events if event_id not in found)])
    return oldest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ingest.jsonl")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-quiet-") as folder:
        home = Path(folder)
        service = served(
            home, ({**SPEC, "model": name(n), "baseline": {"rows": "first 1000"}} for n in range(options.models))
        )
        try:
            assert service.process is not None
            load(service, options.models, 5, "warm")  # every model's tables are open
            before, begin = cpu_s(service.process.pid), time.monotonic()
            sent = load(service, options.models, options.seconds)
            elapsed = time.monotonic() - begin
            cores = (cpu_s(service.process.pid) - before) / elapsed
            behind = folded_s(home, sent)
            seen = visible_s(service, sent)
        finally:
            service.end()
    found = {
        "events_per_s": (len(sent.at) / elapsed, "events/s"), "cores": (cores, "cores"),
        "p99_ms": (float(np.percentile(sent.took, 99)) * 1000, "ms"), "seconds_until_queryable": (seen, "s"),
        "seconds_until_folded": (behind, "s"), "late": (float(sent.late), "events"),
    }  # fmt: skip
    for metric, (value, unit) in found.items():
        print(f"  {metric:24} {value:12.2f} {unit}")
    write_lines(options.out, f"quiet_{options.models}", found, seconds=options.seconds)


if __name__ == "__main__":
    main()
