"""One model that is hostile in every way that its routes allow, as a process of its own.

    python -m bench.load.hostile URL KEY HOME

It goes on until it is ended. What it is answered does not matter. After half a minute its files are damaged, as by a
disk.
"""

import http.client
import io
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl

MODEL = "hostile"
NUMBERS, CATEGORIES = 150, 10
DAMAGED_AFTER_S = 30
LONG_EXPRESSION = " + ".join(f"quantile(n{i}, 0.5) * sum(if(n{i} > 0.5, n{i}, 1))" for i in range(9))[:490]
SPEC = {
    "model": MODEL, "task": "classification", "owner": "hostile@example.com", "purpose": "to stop all others",
    "columns": {
        "y": {"role": "prediction", "type": "category"}, "y_true": {"role": "outcome", "type": "category"},
        "text": {"role": "input", "type": "text"},
        **{f"n{i}": {"role": "input", "type": "number"} for i in range(NUMBERS)},
        **{f"c{i}": {"role": "segment", "type": "category"} for i in range(CATEGORIES)},
    },
    "baseline": {"rows": "first 1000"},
    "monitors": {
        "windows": {"rows": 100}, "false_alarms": {"alpha": 0.01},
        "kpi": [{"metric": f"own{i}", "expression": LONG_EXPRESSION.rpartition(" + ")[0]} for i in range(10)]
        + [{"metric": "accuracy"}, {"metric": "f1_macro"}],
    },
}  # fmt: skip
BAD_VALUES = ("0 25 * * *", "\x00", "9" * 6000, "1 per 36500d", "99999999999999d", "1e400", "\ud800")
BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)


class Hostile:
    def __init__(self, url: str, key: str, home: Path) -> None:
        self.parts, self.home = urlsplit(url), home
        self.headers = {"Authorization": f"Bearer {key}"}
        self.begun = time.monotonic()

    def ask(self, method: str, path: str, body: bytes | str | None = None, kind: str = "application/json") -> int:
        connection = http.client.HTTPConnection(self.parts.hostname or "", self.parts.port, timeout=300)
        try:
            connection.request(method, path, body, {**self.headers, "Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def upload(self, number: int) -> None:
        """Many windows at once, of many columns, of values that all differ, and of texts that are long."""
        rows, made = 20_000, np.random.default_rng(number)
        now = datetime.now(UTC).replace(tzinfo=None)
        frame = pl.DataFrame({
            "event_id": [f"h{number}-{i}" for i in range(rows)],
            "ts": [now + timedelta(microseconds=i) for i in range(rows)],
            "version": ["v1"] * rows, "y": made.integers(0, 5000, rows).astype(str),
            "text": ["word " * int(n) for n in made.integers(1, 40, rows)],
            **{f"n{i}": made.normal(size=rows) for i in range(NUMBERS)},
            **{f"c{i}": made.integers(0, 10 ** (i % 6), rows).astype(str) for i in range(CATEGORIES)},
        }).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))  # fmt: skip
        out = io.BytesIO()
        frame.write_parquet(out)
        self.ask("POST", f"/api/v1/models/{MODEL}/events", out.getvalue(), "application/vnd.apache.parquet")
        labels = "\n".join(json.dumps({"event_id": f"h{number}-{i}", "y_true": str(i % 7)}) for i in range(rows))
        self.ask("POST", f"/api/v1/models/{MODEL}/outcomes", labels, "application/x-ndjson")
        time.sleep(5)

    def far_times(self, number: int) -> None:
        rows = [
            {"event_id": f"t{number}-{i}", "ts": ts, "version": "v1", "y": "1", "n0": 1.0}
            for i, ts in enumerate(("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 1764000000, "0001-01-01T00:00:00Z"))
        ]
        self.ask("POST", f"/api/v1/models/{MODEL}/events", "\n".join(map(json.dumps, rows)), "application/x-ndjson")
        time.sleep(1)

    def bad_specs(self, number: int) -> None:
        value = BAD_VALUES[number % len(BAD_VALUES)]
        spec = SPEC | {"model": f"{MODEL}-{number % 5}", "purpose": value}
        spec["monitors"] = {"windows": ["1d"], "false_alarms": value}
        spec["retrain"] = {"when": [{"cron": value}]}
        self.ask("PUT", f"/api/v1/models/{spec['model']}", json.dumps(spec))
        self.ask("PUT", f"/api/v1/models/{MODEL}", BILLION, "application/yaml")
        self.ask("PUT", f"/api/v1/models/{MODEL}?dry_run=true", json.dumps(SPEC))
        time.sleep(1)

    def deep_bodies(self, number: int) -> None:
        for body in (b"[" * 100_000, b'{"event_id": ' + b"9" * 100_000 + b"}", b'{"n0": 1, "n0": 2}\n' * 50_000):
            self.ask("POST", f"/api/v1/models/{MODEL}/events", body, "application/x-ndjson")
        time.sleep(2)

    def read_much(self, number: int) -> None:
        paths = (
            f"/models/{MODEL}?since=2000-01-01", f"/models/{MODEL}", "/", "/metrics",
            f"/api/v1/models/{MODEL}/measurements?limit=1000", f"/api/v1/models/{MODEL}/windows",
            f"/api/v1/models/{MODEL}/events?format=parquet",
        )  # fmt: skip
        self.ask("GET", paths[number % len(paths)])

    def reports(self, number: int) -> None:
        body = {"kind": "audit", "from": "2000-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}
        self.ask("POST", f"/api/v1/models/{MODEL}/reports", json.dumps(body))
        time.sleep(1)

    def slow(self, _: int) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head += "Host: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        with socket.create_connection((self.parts.hostname or "", self.parts.port or 80), timeout=60) as client:
            client.sendall(f"POST /api/v1/models/{MODEL}/events HTTP/1.1\r\n{head}".encode())
            for _ in range(60):
                client.sendall(b"1\r\n{\r\n")
                time.sleep(5)

    def damage(self, _: int) -> None:
        """Overwrite the middle of a file of each kind that the installation keeps of this model."""
        if time.monotonic() - self.begun > DAMAGED_AFTER_S:
            for files in ("*/date=*/*.parquet", "*/_ids/*.ids"):
                found = list((self.home / "lake" / MODEL).glob(files))
                for path in random.sample(found, min(1, len(found))):
                    with path.open("r+b") as file:
                        file.seek(path.stat().st_size // 2)
                        file.write(b"\x00" * 200)
        time.sleep(10)

    def again(self, work: Callable[[int], None]) -> None:
        number = 0
        while True:
            with suppress(OSError, http.client.HTTPException, ValueError):
                work(number)
            number += 1


def main() -> None:
    hostile = Hostile(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    hostile.ask("PUT", f"/api/v1/models/{MODEL}", json.dumps(SPEC))
    ways = [hostile.upload, hostile.far_times, hostile.bad_specs, hostile.deep_bodies, hostile.reports, hostile.damage]
    ways += [hostile.read_much] * 4 + [hostile.slow] * 4
    for way in ways:
        threading.Thread(target=hostile.again, args=(way,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
