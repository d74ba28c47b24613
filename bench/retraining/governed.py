"""One retrain through the service of a tree of Assay's source, and where its time went.

The tree is this one, or an earlier commit in a working tree of its own, so only routes are used that both have. CPU
seconds are those of the service with everything it started, read when the run is asked for and when it has ended.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

FINAL: Final = ("promoted", "rejected", "failed", "awaiting_approval")
TIMES: Final = ("created_at", "started_at", "finished_at")
LIMIT_S: Final = 1800.0
IDLE_CPU_S: Final = 0.1  # of 2 seconds: the service has nothing left to judge
NDJSON: Final = "application/x-ndjson"
PARQUET: Final = "application/vnd.apache.parquet"


@dataclass
class Served:
    """`assay serve` of a tree on a home folder."""

    process: "subprocess.Popen[str]"
    url: str
    key: str

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status}: {text[:500]!r}")
        return json.loads(text)

    def cpu_s(self) -> float:
        """CPU seconds of the service and of all that it has started, those that have ended included."""
        found = 0.0
        top = psutil.Process(self.process.pid)
        for one in (top, *top.children(recursive=True)):
            with suppress(psutil.Error):
                times = one.cpu_times()
                found += times.user + times.system + times.children_user + times.children_system
        return found

    def wait_until_idle(self) -> None:
        quiet, before = 0, self.cpu_s()
        while quiet < 3:
            time.sleep(2)
            now = self.cpu_s()
            quiet, before = (quiet + 1 if now - before < IDLE_CPU_S else 0), now


@contextmanager
def served(tree: Path, home: Path, threads: int) -> Iterator[Served]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    own = {"PYTHONPATH": str(tree), "ASSAY_TRAIN__THREADS": str(threads), "ASSAY_TRAIN__DEVICE": "cpu"}
    command = [sys.executable, "-c", "from api.cli import main; main()", "serve", "--home", str(home), "--port", "0"]
    with (home.parent / f"{home.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--json"], cwd=tree, env=kept | own, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        yield Served(process, ready["url"], ready["admin_key"])
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def retrained(service: Served, model: str, home: Path) -> dict[str, Any]:
    """Ask for a retrain and wait for its end: the run, wall and CPU seconds, and the seconds of each part."""
    begun, cpu = time.monotonic(), service.cpu_s()
    answer = service.ask("POST", f"/api/v1/models/{model}/runs", json.dumps({"reason": "new intents"}).encode())
    run_id = (answer.get("run") or answer)["id"]
    while (run := service.ask("GET", f"/api/v1/runs/{run_id}"))["state"] not in FINAL:
        if time.monotonic() - begun > LIMIT_S:
            raise RuntimeError(f"the run is {run['state']} after {LIMIT_S:.0f} s")
        time.sleep(1)
    wall, cpu = time.monotonic() - begun, service.cpu_s() - cpu
    if run["state"] != "promoted":
        raise RuntimeError(f"the run ended as {run['state']}: {run['error']} {run.get('gates')}")
    return {"run": run, "wall_s": wall, "cpu_s": cpu, "parts": parts(home / "runs" / run_id, run)}


def parts(folder: Path, run: dict[str, Any]) -> dict[str, float]:
    """Wall seconds of each part of a run, by its progress and the times at which its configurations were written."""
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    at = [datetime.fromisoformat(line["at"]).timestamp() for line in lines]
    phase = [line["phase"] for line in lines]
    first, last = phase.index("train"), len(phase) - 1 - phase[::-1].index("train")
    trained = phase.index("done")
    loads = [i for i, name in enumerate(phase) if name == "load"]
    asked, begun, ended = (datetime.fromisoformat(run[name]).timestamp() for name in TIMES)
    written = (folder / "train.json").stat().st_mtime
    written_too = (folder / "eval.json").stat().st_mtime
    return {
        "waiting for a worker": begun - asked,
        "rows chosen and registered": written - begun,
        "trainer: process and libraries": at[loads[0]] - written,
        "trainer: rows, tokens, model": at[first] - at[loads[0]],
        "training steps": at[last] - at[first],
        "trainer: held-out rows, saving": at[trained] - at[last],
        "candidate registered": written_too - at[trained],
        "evaluation: process and libraries": at[loads[-1]] - written_too,
        "evaluation: both models": at[-1] - at[loads[-1]],
        "gates, signature, promotion": ended - at[-1],
    }
