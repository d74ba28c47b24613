"""Three schedulers and two workers on one PostgreSQL, over both changes of the clocks: is each due job done once?"""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from bench.retraining.case import Case, Options, record

SCHEDULERS: Final = 3
WORKERS: Final = 2
STEP: Final = timedelta(seconds=30)  # longer than a lease, so that all of them compete for each tick
SKEW: Final = timedelta(seconds=2)  # largest difference between their clocks
AWAY: Final = 0.2  # share of the ticks that a scheduler sleeps through
BERLIN: Final = "Europe/Berlin"


@dataclass(frozen=True)
class Schedule:
    cron: str
    timezone: str
    minutes: frozenset[int]
    hour: int | None  # None: every hour


SCHEDULES: Final = (
    Schedule("*/7 * * * *", "UTC", frozenset(range(0, 60, 7)), None),
    Schedule("0 * * * *", BERLIN, frozenset({0}), None),
    Schedule("30 2 * * *", BERLIN, frozenset({30}), 2),
    Schedule("45 3 * * *", BERLIN, frozenset({45}), 3),
)
# Clocks go back at 01:00 UTC on the first day, and forward at 01:00 UTC on the second.
SPANS: Final = (datetime(2026, 10, 24, 23, 5, 5, tzinfo=UTC), datetime(2026, 3, 28, 23, 5, 5, tzinfo=UTC))


@dataclass(frozen=True)
class Counts:
    ticks: int
    due: int
    double_fires: int
    missed: int


def expected(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """The ticks in (begin, end], minute by minute by what a clock of the zone shows; without the library under test."""
    zone, found = ZoneInfo(schedule.timezone), list[datetime]()
    shown: set[tuple[Any, ...]] = set()
    minute = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while minute <= end:
        local = minute.astimezone(zone)
        before = (minute - timedelta(minutes=1)).astimezone(zone)
        skipped = local.utcoffset() != before.utcoffset() and local.replace(tzinfo=None) > before.replace(tzinfo=None)
        matches = local.minute in schedule.minutes and schedule.hour in (None, local.hour)
        if schedule.hour is not None and skipped:  # the clock jumps over an hour that holds the time
            matches = matches or before.hour < schedule.hour < local.hour
        day = (local.date(), schedule.hour)
        if matches and (schedule.hour is None or day not in shown):
            found.append(minute)
            shown.add(day)
        minute += timedelta(minutes=1)
    return found


def simulate(database_url: str, home: Path, begin: datetime, ticks: int, seed: int) -> Counts:
    """Let schedulers and workers run through so many ticks of a simulated clock, and count what became of them."""
    from core import settings
    from core.clock import ManualClock
    from monitor.site import open_site

    loaded = settings.load(
        {}, home=home, db=settings.DbSettings.model_validate({"url": database_url}),
        queue=settings.QueueSettings(tick_s=1.0),
    )  # fmt: skip
    draw = random.Random(seed)
    sites = [open_site(loaded, ManualClock(begin)) for _ in range(SCHEDULERS + WORKERS)]
    _declare(sites[0], home)
    with ThreadPoolExecutor(len(sites)) as pool:
        for number in range(1, ticks + 1):
            now = begin + number * STEP
            work = []
            awake = [i for i in range(SCHEDULERS) if draw.random() >= AWAY] or [draw.randrange(SCHEDULERS)]
            for i, site in enumerate(sites):
                assert isinstance(site.clock, ManualClock)
                site.clock.move_to(now + draw.uniform(-0.5, 0.5) * SKEW)
                if i >= SCHEDULERS:
                    work.append(pool.submit(_consider, site, f"worker-{i}"))
                elif i in awake:
                    work.append(pool.submit(_tick, site, f"scheduler-{i}"))
            for one in work:
                one.result()
        _consider(sites[-1], "worker-last")
    found = _counted(sites[0], begin, begin + ticks * STEP, ticks)
    for site in sites:
        site.database.dispose()
    return found


def _tick(site: Any, holder: str) -> None:
    from api.processes import scheduler

    scheduler.tick(site, holder)


def _consider(site: Any, worker: str) -> None:
    """Do the waiting considerations, as a worker does."""
    from core import queue
    from core.jobs import ConsiderJob
    from retrain import jobs

    while True:
        now = site.clock.now()
        with site.database.write() as db:
            choice = queue.Choice(names=(ConsiderJob.name,), works=("",))
            job = queue.claim(db, worker=worker, now=now + SKEW, lease_s=3600, choice=choice)
        if job is None:
            return
        jobs.consider(site, ConsiderJob.model_validate(job.payload))
        with site.database.write() as db:
            queue.finish(db, job.id, now=now, worker=worker)


def _declare(site: Any, home: Path) -> None:
    """One model for each schedule, on a base model that nobody loads."""
    from monitor import service
    from monitor.spec.parse import parse_spec
    from monitor.store import model as model_named
    from retrain.registry.versions import ensure_base_version

    base = home / "base"
    base.mkdir(parents=True, exist_ok=True)
    config = {"id2label": {"0": "yes", "1": "no"}, "model_type": "llama"}
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForSequenceClassification"]}))
    (base / "tokenizer.json").write_text("{}")
    (base / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    header = json.dumps({"score.weight": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}).encode()
    (base / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    for number, one in enumerate(SCHEDULES):
        recipe = {"base_model": str(base), "task": "sequence_classification"}
        spec = parse_spec(
            {
                "model": f"m{number}", "task": "classification", "owner": "me", "purpose": "a bench",
                "columns": {
                    "text": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "category"},
                    "truth": {"role": "outcome", "type": "category"},
                },
                "retrain": {"when": [{"cron": one.cron, "timezone": one.timezone}], "recipe": recipe, "cooldown": "1s"},
            },
            new=True,
        )  # fmt: skip
        with site.database.write() as db:
            service.apply_spec(site, db, spec, "bench")
            ensure_base_version(site, db, model_named(db, spec.model), spec, "bench")


def _counted(site: Any, begin: datetime, end: datetime, ticks: int) -> Counts:
    from monitor.store import model as model_named
    from retrain import store

    due = double = missed = 0
    for number, one in enumerate(SCHEDULES):
        with site.database.read() as db:
            decisions = store.decisions(db, model_named(db, f"m{number}").id, limit=100_000)
        wanted = expected(one, begin, end - SKEW)  # what falls due within the skew of the end may be seen or not
        fired = Counter(tick for d in decisions for tick in _fired(d.triggers, wanted) if tick in set(wanted))
        due += len(wanted)
        double += sum(count - 1 for count in fired.values())
        missed += sum(tick not in fired for tick in wanted)
    return Counts(ticks, due, double, missed)


def _fired(findings: Sequence[dict[str, Any]], wanted: Sequence[datetime]) -> Iterator[datetime]:
    """The ticks that one decision found due; where it made up for several, all of them."""
    for finding in findings:
        if finding["name"] == "schedule" and finding["fire"]:
            words = finding["reason"]
            last = datetime.fromisoformat(words.partition("fell due at ")[2].split(",")[0].split(" ")[0].rstrip(";"))
            first = (
                datetime.fromisoformat(words.partition("since ")[2].split(";")[0]) if "time since" in words else last
            )
            yield from (tick for tick in wanted if first <= tick <= last)
            if last not in wanted:
                yield last


def run(options: Options) -> None:
    import migrations
    from tests import postgres

    binaries = postgres.binaries()
    if binaries is None:
        print("   left out: no PostgreSQL server on this machine; install postgresql")
        return
    each = 50 if options.dry_run else 1000
    found = []
    with postgres.serve(binaries) as server, tempfile.TemporaryDirectory(prefix="bench-schedulers-") as folder:
        for number, begin in enumerate(SPANS):
            url = server.url(server.create())
            migrations.upgrade(url)
            found.append(simulate(url, Path(folder) / str(number), begin, each, options.seed + number))
    metrics = {
        "double_fires": (float(sum(c.double_fires for c in found)), "ticks"),
        "missed_ticks": (float(sum(c.missed for c in found)), "ticks"),
        "due_ticks": (float(sum(c.due for c in found)), "ticks"),
    }
    ticks = sum(c.ticks for c in found)
    record(options, "schedulers", metrics, ticks=ticks, schedulers=SCHEDULERS, workers=WORKERS, seed=options.seed)


CASE: Final = Case("schedulers", "three schedulers on PostgreSQL, over both changes of the clocks", "cpu", run)
