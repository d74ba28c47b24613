"""Metrics read from the database and the lake when Prometheus asks, so that every replica answers the same."""

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import Clock
from core.jobs import JOBS
from core.queue import Job
from governance.ledger.read import ledger_size
from monitor import store
from monitor.ingest.otlp import span_counts
from monitor.ingest.otlp.store import text_counts
from monitor.ingest.otlp.verdict import LOG_RESULTS, RESULTS
from monitor.notify import outbox
from monitor.notify.tables import OUTBOX_STATES
from monitor.site import Site
from monitor.tables import Alert, Model
from retrain.tables import Run

JOB_BUCKETS_S: Final = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
TRAINING_BUCKETS_S: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0)
UNTRAINED: Final = ("queued", "curating", "training")  # states of a run whose training has not ended
# A job's end is read for this long after it: its transaction commits later than the time it records, and another
# machine's clock may be behind.
OVERLAP: Final = timedelta(seconds=10)
Sample = tuple[tuple[str, ...], float]


class StoreCollector(Collector):
    """Reads the stores once a scrape."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._jobs, self._training = _EndedJobs(site.clock), _Training()

    def collect(self) -> Iterator[Metric]:
        with self._site.database.read() as db:
            yield from self._of_the_lake(db)
            yield from _texts(db)
            yield from _spans(self._site, db)
            yield _alerts(db)
            yield from _queue(db, self._site.clock.now())
            yield from self._jobs.collect(db)
            yield _runs(db)
            yield from self._training.collect(db)
            yield from self._outbox(db)
            yield _gauge("assay_ledger_entries", "entries in the ledger", (), [((), ledger_size(db))])

    def _outbox(self, db: Session) -> Iterator[Metric]:
        now, backlogs = self._site.clock.now(), outbox.backlogs(self._site, db)
        counted = [((name, state), b.by_state.get(state, 0)) for name, b in backlogs.items() for state in OUTBOX_STATES]
        yield _gauge("assay_messages", "messages by state", ("channel", "state"), counted)
        ages = [((name,), (now - b.due_since).total_seconds() if b.due_since else 0.0) for name, b in backlogs.items()]
        yield _gauge("assay_message_age_seconds", "time since the longest waiting message was due", ("channel",), ages)

    def _of_the_lake(self, db: Session) -> Iterator[Metric]:
        extents = {(model.name,): self._site.events.extent(model.name) for model in store.models(db)}
        arrivals = {labels: e.last_received_at.timestamp() for labels, e in extents.items() if e.last_received_at}
        of_models = ("model",)
        yield _gauge("assay_events", "events stored", of_models, [(m, e.rows) for m, e in extents.items()])
        yield _gauge("assay_outcomes", "outcomes stored", of_models, [(m, e.outcomes) for m, e in extents.items()])
        yield _gauge("assay_last_event_seconds", "arrival of the newest event, Unix time", of_models, arrivals.items())
        waiting = [seconds for _, seconds in self._site.events.unflushed.backlog().values()]
        yield _gauge("assay_unflushed_bytes", "memory of the rows that wait in the log of this process to be flushed",
                     (), [((), self._site.events.unflushed.memory_bytes)])  # fmt: skip
        yield _gauge("assay_unflushed_seconds", "time for which the oldest of those rows has waited",
                     (), [((), max(waiting, default=0.0))])  # fmt: skip


class _EndedJobs:
    """Jobs that ended since this process began. The table forgets them; counters must not go back."""

    def __init__(self, clock: Clock) -> None:
        self._guard = threading.Lock()
        self._until = self._since = clock.now()
        self._seen: set[UUID] = set()
        self._failures = Counter("assay_job_failures", "jobs that failed for good", ("name",), registry=None)
        self._seconds = Histogram(
            "assay_job_seconds", "time from when a job was due to its end, waiting included", ("name",), registry=None,
            buckets=JOB_BUCKETS_S,
        )  # fmt: skip
        for name in JOBS:  # at zero from the start: Prometheus sees an increase only between two values
            self._failures.labels(name)

    def collect(self, db: Session) -> Iterable[Metric]:
        with self._guard:
            self._take_in(db)
            return [*self._failures.collect(), *self._seconds.collect()]

    def _take_in(self, db: Session) -> None:
        first = max(self._since, self._until - OVERLAP)
        query = select(Job.id, Job.name, Job.state, Job.run_at, Job.finished_at).where(Job.finished_at >= first)
        found = db.execute(query).all()
        for job in found:
            if job.id not in self._seen:
                self._seconds.labels(job.name).observe(max(0.0, (job.finished_at - job.run_at).total_seconds()))
                if job.state == "failed":
                    self._failures.labels(job.name).inc()
        self._seen = {job.id for job in found}
        self._until = max((job.finished_at for job in found), default=self._until)


class _Training:
    """Training seconds of every run that was trained; those of a run are read once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seen: set[UUID] = set()
        self._seconds = Histogram("assay_training_seconds", "time that the training of a run took", registry=None,
                                  buckets=TRAINING_BUCKETS_S)  # fmt: skip

    def collect(self, db: Session) -> Iterable[Metric]:
        with self._guard:
            paused = Run.waits_at.in_(UNTRAINED)  # it waits for approval, and may train on
            ended = set(db.scalars(select(Run.id).where(Run.state.not_in(UNTRAINED), paused.is_not(True))))
            if unread := ended - self._seen:
                query = select(Run.metrics["train_seconds"].as_float()).where(Run.id.in_(unread))
                for seconds in db.scalars(query):
                    if seconds is not None:  # None: it failed before it was trained
                        self._seconds.observe(seconds)
                self._seen |= unread
            return list(self._seconds.collect())


def _texts(db: Session) -> Iterator[Metric]:
    counts = text_counts(db)
    waiting = [((model,), waits) for model, (waits, _) in counts.items()]
    yield _gauge("assay_log_records_waiting", "log records that wait for their span", ("model",), waiting)
    lost = CounterMetricFamily(
        "assay_log_records_lost", "log records that were given up because their span never came", labels=("model",)
    )
    for model, (_, gone) in counts.items():
        lost.add_metric((model,), gone)
    yield lost


def _spans(site: Site, db: Session) -> Iterator[Metric]:
    found = span_counts.counts(site, db)
    for what, key in (("spans", span_counts.UNMAPPED), ("log_records", span_counts.UNMAPPED_RECORDS)):
        words = f"refused {what.replace('_', ' ')} of services that no model maps"
        yield CounterMetricFamily(f"assay_unmapped_{what}", words, value=found.pop(key, 0))
    services = list(dict.fromkeys(service for service, _ in found))
    for name, what, results in (("spans", "spans", RESULTS), ("log_records", "log records", LOG_RESULTS)):
        family = CounterMetricFamily(
            f"assay_{name}", f"{what} of services that models map, by what became of them", labels=("service", "result")
        )
        for service in services:
            for result in results:  # zero from the start: Prometheus sees an increase only between two values
                told = result.removeprefix("log_records_")
                family.add_metric((service, told), found.get((service, result), 0))
        yield family


def _alerts(db: Session) -> Metric:
    query = (
        select(Model.name, Alert.state, func.count()).select_from(Alert).outerjoin(Model, Alert.model_id == Model.id)
    )
    found = db.execute(query.group_by(Model.name, Alert.state))
    # An alert about the installation itself has no model: Prometheus treats an empty label as none.
    return _gauge("assay_alerts", "alerts by state", ("model", "state"), [((m or "", s), n) for m, s, n in found])


def _queue(db: Session, now: datetime) -> Iterator[Metric]:
    columns = (Job.name, Job.lane, Job.state)
    found = db.execute(select(*columns, func.count(), func.min(Job.run_at)).group_by(*columns)).all()
    jobs: dict[tuple[str, str], int] = {}
    ages: dict[tuple[str, str], float] = {(payload.lane, name): 0.0 for name, payload in JOBS.items()}
    for name, lane, state, count, first_due in found:
        jobs[name, state] = jobs.get((name, state), 0) + count
        if state == "queued":
            ages[lane, name] = max(0.0, (now - first_due).total_seconds())
    yield _gauge("assay_jobs", "jobs by name and state", ("name", "state"), jobs.items())
    yield _gauge(
        "assay_queue_age_seconds", "time since the longest waiting job was due", ("lane", "name"), ages.items()
    )


def _runs(db: Session) -> Metric:
    query = select(Model.name, Run.state, func.count()).join(Run, Run.model_id == Model.id)
    found = db.execute(query.group_by(Model.name, Run.state))
    return _gauge("assay_runs", "retraining runs by state", ("model", "state"), [((m, s), n) for m, s, n in found])


def _gauge(name: str, meaning: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
