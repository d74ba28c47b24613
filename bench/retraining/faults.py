"""kill -9 of trainer, evaluation, worker and scheduler at random moments: does every run end once, and truthfully?

Each run has a home folder of its own with two workers, each with its scheduler. Kills are spread over all that happens
to a run, from the queue to the removal of its files: each waits until a worker has the run at one of the phases, and
then for a random time. No phase gets more than its even share of them. Then the run is left alone until it ends. A home
folder whose processes were all killed at one moment is kept, and later ones begin as a copy of it, in which the job
counts as lost this once: a kill at the end costs no other training, and no job is given up for kills of other runs.

BENCH_FAULTS_KILLS says how many kills, BENCH_FAULTS_MINUTES after which time no other run is begun,
BENCH_FAULTS_DATABASE `sqlite` or `postgresql`, BENCH_FAULTS_LOG a file that gets a line per run as soon as it has
ended. A bench that is stopped records what it has found so far.
"""

import itertools
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from bench.retraining.case import Case, Options, record
from bench.retraining.killed import LEASE_S, PHASES, Watched

KILLS: Final = int(os.environ.get("BENCH_FAULTS_KILLS", "100"))
MINUTES: Final = float(os.environ.get("BENCH_FAULTS_MINUTES", "90"))
DATABASE: Final = os.environ.get("BENCH_FAULTS_DATABASE", "sqlite")
LOG: Final = os.environ.get("BENCH_FAULTS_LOG")
EACH: Final = (2, 3, 4, 6)  # kills of one run; of its workers, five are more than a job survives
# A home folder is kept as it was when all its processes were killed at one of these.
KEPT: Final = (
    "training steps", "trained, not registered", "before the evaluation", "evaluated, not judged",
    "judged, not promoted",
)  # fmt: skip
SHARE: Final = -(-KILLS // len(PHASES))  # kills of one phase
PATIENCE_S: Final = 240.0


@dataclass(frozen=True)
class Start:
    """A home folder at rest, with its database: None with SQLite, which lies in the folder."""

    home: Path
    url: str | None


Copied = Callable[[Start], Start]


@dataclass
class Found:
    """What the runs came to."""

    runs: int = 0
    double: int = 0
    half_written: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    kept: dict[str, "Start"] = field(default_factory=dict)

    @property
    def kills(self) -> int:
        return self.victims.total()


def _template(folder: Path, url: str | None) -> UUID:
    """A home folder with a tiny base model and one queued run."""
    import migrations
    from core import settings
    from core.clock import ManualClock
    from monitor.site import open_site
    from retrain.train.demo_base import make_base
    from tests.retrain import world
    from tests.retrain.train import tiny

    made = folder.with_name("made")
    made.mkdir(parents=True)
    make_base(tiny.base_config(made, tiny.messages(tiny.OLD, 320)))
    shutil.copytree(made / "base", folder / "models" / "base")
    given = {} if url is None else {"db": settings.DbSettings.model_validate({"url": url})}
    loaded = settings.load({}, home=folder, **given)
    migrations.upgrade(loaded.database_url)
    clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
    site = open_site(loaded, clock)
    world.declare(site, world.spec("./models/base", recipe={"epochs": 6}, when=[{"new_outcomes": 100_000}]))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    run_id = world.start(site)
    site.close()
    return run_id


def untruthful(site: Any, run_id: UUID) -> list[str]:
    """What of a run, its version, its files and its jobs is not so, or is there twice."""
    from governance.ledger.extends import places_of
    from governance.ledger.selfcheck import verify_ledger
    from retrain import store
    from tests.retrain import world

    kinds = Counter(world.kinds(site))
    with site.database.read() as db:
        run = store.run(db, run_id)
        champion = store.champion(db, run.model_id)
        version = store.version_of_run(db, run_id)
        runs = len(store.runs(db, run.model_id))
        gates = len(store.gates(db, run_id))
        ledger = verify_ledger(db, places=places_of(site.settings), vkeys=[site.keys.vkey])
    once = {"promoted": ("run.started", "run.trained", "run.evaluated"), "failed": ("run.failed",)}.get(run.state, ())
    wrong = [f"{kind} {kinds[kind]} times" for kind in ("run.started", "run.trained", "run.evaluated", "run.failed")
             if kinds[kind] > 1 or (kind in once and not kinds[kind])]  # fmt: skip
    if run.state == "promoted" and (gates != 4 or kinds["gate.result"] != 4 or kinds["version.promoted"] != 2):
        wrong.append(f"{gates} gates, {kinds['gate.result']} in the ledger, {kinds['version.promoted']} promotions")
    if runs != 1:
        wrong.append(f"{runs} runs")
    if run.state not in store.FINAL_STATES and run.state != "awaiting_approval":
        wrong.append(f"still {run.state}")
    if run.state in ("failed", "rejected") and (not run.error or (version is not None and version.stage != "rejected")):
        wrong.append(f"{run.state}: {run.error}; version {version and version.stage}")
    if (run.state == "promoted") != (champion is not None and champion.run_id == run_id):
        wrong.append(f"run {run.state}, champion {champion and champion.version}")
    if not ledger.ok:
        wrong.append(f"ledger: {ledger}")
    return wrong + _left(site, run_id)


def _left(site: Any, run_id: UUID) -> list[str]:
    """Jobs, leases and files that should be gone once a run has ended."""
    from sqlalchemy import select

    from core.queue import Job, Lease
    from retrain.runs.workspace import Workspace

    with site.database.read() as db:
        jobs = db.scalars(select(Job).where(Job.name == "retrain.run", Job.state.in_(("queued", "running")))).all()
        leases = db.scalars(select(Lease.name).where(Lease.name.contains(str(run_id)))).all()
    work = Workspace.of(site.settings, run_id).folder
    files = [p.name for p in work.iterdir() if p.name in ("trained", "evaluated") or p.name.startswith("until")]
    files += [p.name for p in work.rglob("*") if p.name.startswith(".new-") or p.name.endswith(".part")]
    wrong = [f"job {job.state}: {job.error}" for job in jobs] + [f"lease {name}" for name in leases]
    return wrong + ([f"files left: {', '.join(sorted(set(files)))}"] if files else [])


def half_written(site: Any, run_id: UUID) -> str | None:
    """What is missing or changed in the adapter of a promoted run."""
    from safetensors.numpy import load_file

    from core.errors import AppError
    from retrain import store

    with site.database.read() as db:
        version = store.version_of_run(db, run_id)
        if version is None or version.stage != "champion":
            return None
    try:
        folder = site.artifacts.check_folder(version.adapter)
        load_file(folder / "adapter_model.safetensors")
        json.loads((folder / "run.json").read_bytes())
    except (AppError, OSError, ValueError) as error:
        return f"adapter: {error}"
    missing = {"adapter_config.json", "labels.json", "tokenizer.json"} - {p.name for p in folder.iterdir()}
    return f"adapter without {', '.join(sorted(missing))}" if missing else None


def one(start: Start, run_id: UUID, kills: int, found: Found, draw: random.Random, copied: Copied) -> None:
    """Kill so often while a run is worked at, wait for its end, and note what is wrong."""
    from monitor.site import open_site
    from retrain import store

    site = open_site(_settings(start))
    begun = time.monotonic()
    with Watched(site, run_id, start.url, draw, workers=draw.choice((1, 2))) as watched:
        for wanted in _least_hit(found, watched.phase(), kills, draw):
            keeps = wanted in KEPT and wanted not in found.kept
            if not watched.kill(wanted, PATIENCE_S / 2, "all" if keeps else None):
                break
            if keeps and watched.kills[-1] == ("all", wanted):
                site.database.dispose()
                found.kept[wanted] = _lost_once(copied(start))
            time.sleep(draw.uniform(0, 1.0))
            watched.keep()
        until = time.monotonic() + PATIENCE_S
        while (watched.phase() != "ended" or _left(site, run_id)) and time.monotonic() < until:
            watched.keep()
            time.sleep(0.2)
    wrong, half, state = untruthful(site, run_id), half_written(site, run_id), watched.state()
    wrong += [f"{watched.orphans} processes left"] if watched.orphans else []
    with site.database.read() as db:
        error = store.run(db, run_id).error
    site.close()
    found.runs, found.double = found.runs + 1, found.double + watched.double
    found.half_written += half is not None
    found.wrong += wrong
    found.ends[state] += 1
    found.victims, found.phases = found.victims + watched.hit(), found.phases + watched.landed()
    line = {"run": found.runs, "end": state, "kills": watched.kills, "wrong": wrong, "half": half,
            "double": watched.double, "error": error, "all": found.kills,
            "seconds": round(time.monotonic() - begun)}  # fmt: skip
    print(f"  {json.dumps(line)}", flush=True)
    if LOG:
        with Path(LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")
    if wrong or half or watched.double:
        shutil.copytree(start.home, Path(tempfile.gettempdir()) / f"faults-kept-{os.getpid()}-{found.runs}")


def _least_hit(found: Found, phase: str, kills: int, draw: random.Random) -> list[str]:
    """Phases for the kills of one run, in order, from where it stands: those hit least so far, below their share."""
    names = list(PHASES)
    names = names[names.index(phase) if phase in names else 0 :]
    missing = [name for name in KEPT if name in names and name not in found.kept]
    order = sorted(names, key=lambda name: (found.phases[name], draw.random()))
    wanted = missing + [name for name in order if name not in missing and found.phases[name] < SHARE]
    return sorted(wanted[:kills], key=names.index)


def _lost_once(start: Start) -> Start:
    """A kept home folder in which the kill that it was kept at is the first that its run has met."""
    from sqlalchemy import create_engine, update

    from core.queue import Job

    engine = create_engine(_settings(start).database_url)
    with engine.begin() as db:
        db.execute(update(Job).where(Job.name == "retrain.run").values(lost=0, attempts=1))
    engine.dispose()
    return start


def _settings(start: Start) -> Any:
    from core import settings

    given = {} if start.url is None else {"db": settings.DbSettings.model_validate({"url": start.url})}
    return settings.load({}, home=start.home, **given)


def _begins(found: Found, draw: random.Random) -> Start:
    """The start that lies nearest before the phase hit least so far."""
    names = list(PHASES)
    least = min(names, key=lambda name: (found.phases[name], draw.random()))
    before = [name for name in found.kept if names.index(name) <= names.index(least)]
    return found.kept[max(before, key=names.index)]


@contextmanager
def _databases() -> Iterator[Callable[[str | None], str | None]]:
    """Gives a function that makes a database, empty or as a copy of another, and returns its URL; None with SQLite."""
    import psycopg
    from sqlalchemy import make_url

    from tests import postgres

    if DATABASE != "postgresql":
        yield lambda _: None
        return
    binaries = postgres.binaries()
    assert binaries is not None, "no PostgreSQL server on this machine; install postgresql"
    with postgres.serve(binaries) as server:

        def made(template: str | None) -> str:
            if template is None:
                return server.url(server.create())
            for _ in range(100):  # the server has to notice that its clients were killed
                with suppress(psycopg.errors.ObjectInUse):
                    return server.url(server.create(template=str(make_url(template).database)))
                time.sleep(0.2)
            raise RuntimeError(f"{template} is still in use")

        yield made


def run(options: Options) -> None:
    draw, wanted, found = random.Random(options.seed), 5 if options.dry_run else KILLS, Found()
    until = time.monotonic() + 60 * MINUTES
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-faults-") as name, _databases() as database:
            numbers = itertools.count()

            def copied(of: Start) -> Start:
                home = Path(name) / f"home{next(numbers)}"
                shutil.copytree(of.home, home)
                return Start(home, database(of.url))

            template, url = Path(name) / "template", database(None)
            run_id = _template(template, url)
            found.kept["queued"] = Start(template, url)
            while found.kills < wanted and time.monotonic() < until:
                kills = max(draw.choice(EACH), len(KEPT) + 1 - len(found.kept))
                start = copied(_begins(found, draw))
                one(start, run_id, min(kills, wanted - found.kills), found, draw, copied)
                shutil.rmtree(start.home)
    except KeyboardInterrupt:
        print("   stopped", flush=True)
    metrics = {
        "untruthful_states": (float(len(found.wrong)), "states"), "double_runs": (float(found.double), "moments"),
        "half_written_promoted": (float(found.half_written), "adapters"), "kills": (float(found.kills), "kills"),
    }  # fmt: skip
    record(options, "faults", metrics, database=DATABASE, runs=found.runs, ends=dict(found.ends),
           killed=dict(found.victims), phases={name: found.phases[name] for name in PHASES}, seed=options.seed,
           lease_s=LEASE_S)  # fmt: skip


CASE: Final = Case("faults", "kill -9 of trainer, evaluation, worker and scheduler at random moments", "cpu", run)
