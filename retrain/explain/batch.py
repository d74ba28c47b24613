"""Explain many decisions: files of them, in a process of their own, recorded one after the other as they are done.

What is recorded is not explained again, so a worker that was killed costs only the file it was at. The lane is given
back while somebody waits for a single explanation, while a person's rows are erased, and, once something was recorded,
for whatever else waits in it.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import polars as pl
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core import queue
from core.artifacts import write_durably
from core.errors import AppError, BusyError
from core.jobs import AWAITED, JOBS, EraseJob, ExplainBatchJob
from core.process import Child
from core.queue import Choice, Retry
from monitor.confirm.drafts import DraftErasedError
from monitor.service import current_spec
from monitor.site import Site
from retrain import store
from retrain.errors import TrainerError
from retrain.evals.explained.files import FilesConfig, decisions_file, records_file
from retrain.explain.basis import Basis
from retrain.explain.blocks import OTHER_VERSION, explain_events
from retrain.explain.folders import working_folder
from retrain.explain.process import STILL_S
from retrain.explain.requests import events_of
from retrain.explain.single import record
from retrain.explain.tables import explains_tables
from retrain.runs.workspace import read_json
from retrain.tables import ExplanationBatch

ROWS: Final = 32  # decisions of a file: they are asked together, and lost together
AGAIN_S: Final = 2.0
LOOK_S: Final = 1.0  # between two looks at what is done and who waits
AGAIN: Final = ("killed", "terminated", "workers_lost", "cluster_unreachable")  # ends that say nothing of the decisions
MODULE: Final = "retrain.evals.explain_files"
LANE: Final = ExplainBatchJob.lane
OTHERS: Final = tuple(name for name, job in JOBS.items() if job.lane == LANE and name != ExplainBatchJob.name)


class _GivenBackError(Exception):
    """Somebody else needs the lane; what is left goes on later."""


def run_batch(site: Site, job: ExplainBatchJob) -> Retry | None:
    """Explain what is left of a batch. One that has ended is left unchanged."""
    with site.database.read() as db:
        batch = db.get(ExplanationBatch, job.batch_id)
        if batch is None or batch.state in ("done", "failed"):
            return None
        asked = batch.asked
    work = _Work(site, job.model, job.batch_id)
    try:
        work.all(asked)
    except _GivenBackError:
        return Retry(site.clock.now() + timedelta(seconds=AGAIN_S), "others go first")
    except (BusyError, OperationalError):  # the worker runs the job again
        raise
    except Exception as error:
        told = f"{error.code}: {error.message}" if isinstance(error, AppError) else f"unexpected: {error!r}"
        work.change(state="failed", error=told, finished_at=site.clock.now())
        raise
    work.change(state="done", finished_at=site.clock.now())
    return None


class _Work:
    """One pass over what is left of a batch."""

    def __init__(self, site: Site, model: str, batch_id: UUID) -> None:
        self.site, self.model, self.batch_id = site, model, batch_id
        self.failed: Counter[str] = Counter()
        self.done = 0
        self.kept = False  # whether this pass has recorded anything

    def change(self, **values: Any) -> None:
        with self.site.database.write() as db:
            row = db.get_one(ExplanationBatch, self.batch_id, with_for_update=True)
            for name, value in values.items():
                setattr(row, name, value)

    def all(self, asked: dict[str, Any]) -> None:
        with self.site.database.read() as db:
            tables = explains_tables(current_spec(self.site, db, self.model).spec)
        if tables:
            self._tables(asked)
            return
        with self.site.database.read() as db:
            first = Basis.of(self.site, db, self.model, None)
            names = ["version", *first.shape.inputs, first.prediction]
            events = events_of(self.site, self.model, asked, names)
            left = events.filter(~pl.col("event_id").is_in(self._explained(db, first, events)))
            bases = {v: Basis.of(self.site, db, self.model, v) for v in left["version"].unique().to_list()}
        self.done = events.height - left.height
        self.change(state="running", total=events.height, explained=self.done, failed={})
        by_version: dict[str, list[str]] = {}
        for answered_by, basis in bases.items():
            by_version.setdefault(basis.version.version, []).append(answered_by)
        for answered_by in by_version.values():
            self._version(bases[answered_by[0]], left.filter(pl.col("version").is_in(answered_by)))

    def _tables(self, asked: dict[str, Any]) -> None:
        """Explain decisions on typed columns, in blocks of many rows."""
        events = events_of(self.site, self.model, asked, ["seq", "version"])
        self.change(state="running", total=events.height, explained=0, failed={})

        def progress(before: int, now: int, withheld: int, other: int) -> None:
            self.done += before + now
            self.kept = self.kept or now > 0
            self.failed.update({OTHER_VERSION: other} if other else {})
            with self.site.database.write() as db:
                row = db.get_one(ExplanationBatch, self.batch_id, with_for_update=True)
                row.explained, row.failed, row.withheld = self.done, dict(self.failed), row.withheld + withheld
            self._give_way()

        explain_events(self.site, self.model, events, progress)

    def _explained(self, db: Session, basis: Basis, events: pl.DataFrame) -> list[str]:
        """Ids of events that have a record of the version that explains them."""
        known = {v.version for v in store.versions(db, basis.model.id)}
        there = store.explained_events(db, basis.model.id)
        pairs = events.select("event_id", "version").iter_rows()
        return [i for i, v in pairs if (i, v if v in known else basis.version.version) in there]

    def _version(self, basis: Basis, events: pl.DataFrame) -> None:
        """Explain events with one version: in files, while their records are taken as they come."""
        basis.check_base()
        rows = {row["event_id"]: row for row in events.iter_rows(named=True)}
        decisions = list(self._decisions(basis, rows))
        if not decisions:
            return
        with working_folder(self.site) as folder:
            count = math.ceil(len(decisions) / ROWS)
            for n in range(count):
                part = pl.DataFrame(
                    decisions[n * ROWS : (n + 1) * ROWS],
                    schema=dict.fromkeys(("event_id", "input", "answer"), pl.String),
                )
                part.write_parquet(decisions_file(folder, n))
            config = FilesConfig(model=basis.files, files=count, engine=self.site.settings.engine, output_dir=folder)
            write_durably(folder / "config.json", config.model_dump_json().encode())
            self._watch(basis, rows, folder, count)

    def _decisions(self, basis: Basis, rows: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event_id, row in rows.items():
            try:
                decision = basis.decision(row)
            except AppError as error:
                self.failed[error.code] += 1
                continue
            yield {"event_id": event_id, "input": decision.input, "answer": decision.answer}

    def _watch(self, basis: Basis, rows: dict[str, dict[str, Any]], folder: Path, count: int) -> None:
        child = Child(
            MODULE, [str(folder / "config.json")], log=folder / "log.txt", threads=self.site.settings.train.threads
        )
        taken: set[int] = set()

        def look() -> None:
            for n in range(count):
                if n not in taken and records_file(folder, n).exists():
                    self._record(basis, rows, records_file(folder, n))
                    taken.add(n)
            self._give_way()

        before = self.done
        child.wait_while_it_works(STILL_S, every_s=LOOK_S, look=look)
        report = read_json(folder / "exit.json") or {"code": "killed", "message": "the explaining process was killed"}
        look()
        if len(taken) < count:
            if report["code"] in AGAIN and self.done > before:
                raise _GivenBackError
            raise TrainerError(str(report["code"]), str(report["message"]))

    def _record(self, basis: Basis, rows: dict[str, dict[str, Any]], path: Path) -> None:
        basis.check_base()  # it may be replaced while a batch runs
        withheld = 0
        for line in json.loads(path.read_bytes()):
            event_id, found = line["event_id"], line["record"]
            if "error" in found:
                self.failed[found["error"]["code"]] += 1
                continue
            with suppress(DraftErasedError):  # it drops out
                record(self.site, basis, event_id, basis.told(rows[event_id], found))
                self.done += 1
                withheld += found["state"] == "withheld"
        self.kept = True
        with self.site.database.write() as db:
            row = db.get_one(ExplanationBatch, self.batch_id, with_for_update=True)
            row.explained, row.failed, row.withheld = self.done, dict(self.failed), row.withheld + withheld

    def _give_way(self) -> None:
        """Stop where a single explanation waits in this lane, or an erasure waits for those who hold rows.

        Everything else that waits goes first only once something was recorded, so that no pass is for nothing.
        """
        choice = Choice(names=OTHERS if self.kept else AWAITED)
        with self.site.database.read() as db:
            now = self.site.clock.now()
            waits = queue.is_any_runnable(db, now=now, lanes=(LANE,), choice=choice)
            waits = waits or bool(queue.under_way(db, EraseJob.name, now=now))
        if waits:
            raise _GivenBackError
