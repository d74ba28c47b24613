"""A home folder whose processes are killed while they work at one run: where the run stands, who is killed, who stays.

Needs /proc (Linux).
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from retrain.runs.workspace import Workspace, last_line, read_json

LEASE_S: Final = 6
# For what killed workers have started to end. A server of forks notices when it has loaded its libraries, which takes
# minutes where ten others load theirs.
ORPHAN_S: Final = 300.0
MODULES: Final = {"retrain.train.run": "trainer", "retrain.evals.run": "evaluation"}

# Where a run can be hit, in order, and for how long one waits there at most before the kill: some last milliseconds.
PHASES: Final = {
    "queued": 1.0,
    "curating": 0.3,
    "before the trainer": 0.3,
    "trainer starts": 6.0,
    "training steps": 3.0,
    "checkpoint write": 0.02,
    "saving the adapter": 0.3,
    "trained, not registered": 0.1,
    "before the evaluation": 0.2,
    "evaluation": 7.0,
    "evaluated, not judged": 0.1,
    "judged, not promoted": 0.06,
    "ended, not tidied": 0.05,
}
VICTIMS: Final = ("child", "worker", "scheduler", "all")


class Watched:
    """One home folder with its workers; notes whenever two processes of its run are alive at one time."""

    def __init__(self, site: Any, run_id: UUID, url: str | None, draw: random.Random, workers: int) -> None:
        self.site, self.run_id, self.url, self.draw, self.number = site, run_id, url, draw, workers
        self.home = Path(site.settings.home_dir)
        self.work = Workspace.of(site.settings, run_id)
        self.double = self.orphans = 0
        self.kills: list[tuple[str, str]] = []  # victim, phase
        self.workers: list[subprocess.Popen[bytes]] = []
        self._had: list[tuple[int, float]] = []  # what killed workers had started
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        self.keep()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            self._had += _started(worker.pid)
            worker.kill()
            worker.wait()
        self._stop.set()
        self._thread.join()
        self.orphans = len(_alive(self._had, ORPHAN_S))

    def keep(self) -> None:
        """Start the workers that are missing."""
        self.workers = [w for w in self.workers if w.poll() is None]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        own = {
            "ASSAY_QUEUE__LEASE_S": str(LEASE_S), "ASSAY_TRAIN__ATTEMPTS": "50", "ASSAY_TRAIN__DEVICE": "cpu",
            "ASSAY_TRAIN__THREADS": "1", **({"ASSAY_DB__URL": self.url} if self.url else {}),
        }  # fmt: skip
        with (self.home / "workers.log").open("ab") as log:
            while len(self.workers) < self.number:
                command = [sys.executable, "-m", "api.cli", "worker", "--home", str(self.home)]
                self.workers.append(subprocess.Popen(command, env=kept | own, stdout=log, stderr=log))

    def state(self) -> str:
        from retrain import store

        with self.site.database.read() as db:
            return str(store.run(db, self.run_id).state)

    def children(self) -> list[tuple[int, str]]:
        """Trainers and evaluations that are alive: process id and what it is. What they fork is part of them."""
        found: dict[int, tuple[int, str]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().split(b"\0")
                if b"core.process" in line and str(self.home).encode() in b" ".join(line):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    name = next((said for module, said in MODULES.items() if module.encode() in line), None)
                    found |= {int(entry.name): (parent, name)} if name else {}
        return [(pid, name) for pid, (parent, name) in found.items() if parent not in found]

    def phase(self) -> str:
        """Where the run stands: one of PHASES, or "ended"."""
        state, work = self.state(), self.work
        if state in ("queued", "curating"):
            return state
        if state == "training":
            return self._training()
        if state == "evaluating":
            from retrain import store

            with self.site.database.read() as db:
                if store.gates(db, self.run_id):
                    return "judged, not promoted"
            if (read_json(work.evaluated / "exit.json") or {}).get("state") == "succeeded":
                return "evaluated, not judged"
            return "evaluation" if self.children() else "before the evaluation"
        return "ended, not tidied" if work.evaluated.exists() or work.trained.exists() else "ended"

    def _training(self) -> str:
        work = self.work
        if (read_json(work.trained / "exit.json") or {}).get("state") == "succeeded":
            return "trained, not registered"
        if not self.children():
            return "before the trainer"
        if (work.trained / ".partial").exists() or (work.trained / "adapter").exists():
            return "saving the adapter"
        folders = list((work.trained / "checkpoints").glob("checkpoint-*"))
        if any(not (folder / "complete.json").exists() for folder in folders):
            return "checkpoint write"
        return "training steps" if (last_line(work.progress) or {}).get("phase") == "train" else "trainer starts"

    def kill(self, wanted: str, patience_s: float, kind: str | None = None) -> bool:
        """Wait until a worker has the run where it is to be hit, or until patience ends, and kill somebody.

        Of `kind`, if one is given. Who was killed is not started again; see `keep`. False: the run has ended.
        """
        until = time.monotonic() + patience_s
        while ((found := self.phase()) != wanted or not self._worked_at(found)) and time.monotonic() < until:
            if found == "ended" or self._passed(found, wanted):
                break
            time.sleep(0.002)
        time.sleep(self.draw.uniform(0, PHASES.get(wanted, 1.0)))
        before = self.phase()
        if before == "ended":
            return False
        victim, pids = self._victim(kind)
        for pid in pids:
            self._had += _started(pid) if pid in [w.pid for w in self.workers] else []
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(5.0 if worker.pid in pids else 0.01)
        after = self.phase()  # a commit may have been faster than the signal
        self.kills.append((victim, after if _place(after) > _place(before) and victim != "child" else before))
        return True

    def _passed(self, found: str, wanted: str) -> bool:
        """Whether the run is past what is wanted; a part of the training may come again."""
        return _place(found) > _place(wanted) and _place(found) >= _place("trained, not registered")

    def _victim(self, kind: str | None) -> tuple[str, list[int]]:
        """Who is killed: the trainer or evaluation, the worker of the run, that of the scheduler, or all of them."""
        children, workers = self.children(), [w.pid for w in self.workers]
        kind = kind or self.draw.choices(VICTIMS, (6 if children else 0, 4, 1, 2))[0]
        if kind == "child":
            return kind, [self.draw.choice(children)[0]]
        if kind == "all":
            return kind, [*workers, *(pid for pid, _ in children)]
        holder = self._holder("scheduler" if kind == "scheduler" else f"run:{self.run_id}")
        return kind, [holder if holder in workers else self.draw.choice(workers)]

    def _worked_at(self, phase: str) -> bool:
        """Whether a live worker holds the run; a queued one waits for its first."""
        return phase == "queued" or self._holder(f"run:{self.run_id}") in [w.pid for w in self.workers]

    def _holder(self, lease: str) -> int:
        from core.queue import Lease

        with self.site.database.read() as db:
            row = db.get(Lease, lease)
        return int(row.holder.split(":")[1]) if row is not None else 0

    def _look(self) -> None:
        seen = 0
        while not self._stop.wait(0.03):
            now = len(self.children())
            self.double += now > 1 >= seen
            seen = now

    def landed(self) -> Counter[str]:
        return Counter(phase for _, phase in self.kills)

    def hit(self) -> Counter[str]:
        return Counter(victim for victim, _ in self.kills)


def _place(phase: str) -> int:
    return [*PHASES, "ended"].index(phase)


def _started(worker: int) -> list[tuple[int, float]]:
    """What a worker has started: process id and time of creation."""
    import psutil

    found: list[tuple[int, float]] = []
    with suppress(psutil.Error):
        for child in psutil.Process(worker).children(recursive=True):
            with suppress(psutil.Error):
                found.append((child.pid, child.create_time()))
    return found


def _alive(started: list[tuple[int, float]], limit_s: float) -> list[int]:
    """Which of these processes are alive still after so many seconds."""
    import psutil

    def alive(pid: int, created: float) -> bool:
        try:
            process = psutil.Process(pid)
            return bool(process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    until = time.monotonic() + limit_s
    while (left := [pid for pid, created in started if alive(pid, created)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left
