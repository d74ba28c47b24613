"""kill -9 of trainer, evaluation, worker and scheduler at random moments: does every run end once, and truthfully?

Each run has a home folder of its own with two workers, each with its scheduler. Random processes of it are killed, and
workers are started again, until the run has had its share of kills; then it is left alone until it ends.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from bench.retraining.case import Case, Options, record

KILLS: Final = int(os.environ.get("BENCH_FAULTS_KILLS", "100"))
EACH: Final = 5  # of one run
LEASE_S: Final = 6
PATIENCE_S: Final = 240.0
WORKERS: Final = 2


def _template(folder: Path) -> UUID:
    """A home folder with a tiny base model and one queued run."""
    import migrations
    from core import settings
    from core.clock import ManualClock
    from monitor.site import open_site
    from retrain.train.demo_base import make_base
    from tests.retrain.runs.test_run import queued
    from tests.retrain.train import tiny

    made = folder.with_name("made")
    made.mkdir(parents=True)
    make_base(tiny.base_config(made, tiny.messages(tiny.OLD, 320)))
    shutil.copytree(made / "base", folder / "models" / "base")
    loaded = settings.load({}, home=folder)
    migrations.upgrade(loaded.database_url)
    clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
    site = open_site(loaded, clock)
    run_id = queued(site, "./models/base", clock, epochs=6)
    site.close()
    return run_id


class Watched:
    """One home folder with its workers; notes whenever two trainers of its run are alive at one time."""

    def __init__(self, home: Path) -> None:
        self.home, self.double, self.kills = home, 0, Counter[str]()
        self.workers: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        self.keep()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self._stop.set()
        self._thread.join()

    def keep(self) -> None:
        """Start the workers that are missing."""
        self.workers = [w for w in self.workers if w.poll() is None]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        own = {"ASSAY_QUEUE__LEASE_S": str(LEASE_S), "ASSAY_TRAIN__ATTEMPTS": "50", "ASSAY_TRAIN__DEVICE": "cpu"}
        with (self.home / "workers.log").open("ab") as log:
            while len(self.workers) < WORKERS:
                command = [sys.executable, "-m", "api.cli", "worker", "--home", str(self.home)]
                self.workers.append(subprocess.Popen(command, env=kept | own, stdout=log, stderr=log))

    def processes(self) -> list[tuple[int, str]]:
        """Trainers and evaluations that are alive: process id and module."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().split(b"\0")
                if b"core.process" in line and str(self.home).encode() in b" ".join(line):
                    name = next((n for n in ("retrain.train.run", "retrain.evals.run") if n.encode() in line), None)
                    found += [(int(entry.name), name)] if name else []
        return found

    def kill(self, draw: random.Random) -> None:
        children = self.processes()
        if children and draw.random() < 0.5:
            pid, name = draw.choice(children)
        else:
            worker = draw.choice(self.workers)
            pid, name = worker.pid, "worker with scheduler"
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills[name] += 1
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(0.1)
        self.keep()

    def _look(self) -> None:
        seen = 0
        while not self._stop.wait(0.03):
            now = len(self.processes())
            self.double += now > 1 >= seen
            seen = now


def untruthful(site: Any, run_id: UUID) -> list[str]:
    """What of a run and its version is not so, or is there twice."""
    from core.errors import AppError
    from retrain import store
    from tests.retrain import world

    kinds = Counter(world.kinds(site))
    with site.database.read() as db:
        run = store.run(db, run_id)
        champion = store.champion(db, run.model_id)
        version = store.version_of_run(db, run_id)
    wrong = [f"{kind} {kinds[kind]} times" for kind in ("run.started", "run.trained", "run.evaluated")
             if kinds[kind] > 1]  # fmt: skip
    if run.state not in store.FINAL_STATES and run.state != "awaiting_approval":
        wrong.append(f"still {run.state}")
    if run.state in ("failed", "rejected") and not run.error:
        wrong.append(f"{run.state} without a reason")
    if (run.state == "promoted") != (champion is not None and champion.run_id == run_id):
        wrong.append(f"run {run.state}, champion {champion and champion.version}")
    if version is not None and version.adapter is not None:
        try:
            site.artifacts.check_folder(version.adapter)
        except AppError as error:
            wrong.append(f"adapter: {error.message}")
    return wrong


def one(home: Path, run_id: UUID, kills: int, draw: random.Random) -> tuple[str, list[str], Watched]:
    """Kill so often while a run is worked at, wait for its end, and say what is wrong."""
    from core import settings
    from monitor.site import open_site
    from retrain import store

    site = open_site(settings.load({}, home=home))

    def state() -> str:
        with site.database.read() as db:
            return str(store.run(db, run_id).state)

    ended = {*store.FINAL_STATES, "awaiting_approval"}
    with Watched(home) as watched:
        while sum(watched.kills.values()) < kills and state() not in ended:
            time.sleep(draw.uniform(0.5, 9.0))
            watched.kill(draw)
        until = time.monotonic() + PATIENCE_S
        while state() not in ended and time.monotonic() < until:
            watched.keep()
            time.sleep(0.2)
    found = state(), untruthful(site, run_id), watched
    site.close()
    return found


def run(options: Options) -> None:
    draw, wanted = random.Random(options.seed), EACH if options.dry_run else KILLS
    kills, ends, wrong, double = Counter[str](), Counter[str](), list[str](), 0
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as folder:
        template = Path(folder) / "template"
        run_id = _template(template)
        while sum(kills.values()) < wanted:
            home = Path(folder) / f"home{sum(ends.values())}"
            shutil.copytree(template, home)
            end, found, watched = one(home, run_id, min(EACH, wanted - sum(kills.values())), draw)
            kills, ends, double = kills + watched.kills, ends + Counter([end]), double + watched.double
            wrong += found
            print(f"  run {sum(ends.values())}: {end} after {dict(watched.kills)} {found or ''}", flush=True)
            shutil.rmtree(home)
    found = {
        "untruthful_states": (float(len(wrong)), "states"), "double_runs": (float(double), "moments"),
        "kills": (float(sum(kills.values())), "kills"),
    }  # fmt: skip
    record(options, "faults", found, runs=sum(ends.values()), ends=dict(ends), killed=dict(kills), seed=options.seed,
           lease_s=LEASE_S)  # fmt: skip


CASE: Final = Case("faults", "kill -9 of trainer, evaluation, worker and scheduler at random moments", "cpu", run)
