"""Evaluate a model: complete its reference, close windows that are due, and correct or refresh closed ones."""

import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.errors import AppError
from core.jobs import AttributionsJob, ConsiderJob, EvaluateJob
from monitor import store
from monitor.reference import automatic, block_profiles, collect, origin, profile_job
from monitor.service import CurrentSpec, spec_of
from monitor.site import Site
from monitor.spec.monitors import RowWindow
from monitor.tables import ReferenceRow
from monitor.windows import concept, estimates, later_verdicts, quality
from monitor.windows.close import close_window, due, next_bounds
from monitor.windows.correct import correct_windows
from monitor.windows.numbering import next_number
from monitor.windows.pauses import skip_pause
from monitor.windows.refresh import refresh_windows


def evaluate(site: Site, model_name: str, *, turn_s: float | None = None) -> list[UUID]:
    """Close every due window, judge windows with late rows again, and refresh windows with new outcomes.

    Safe to run twice.

    Args:
        turn_s: ends after so many seconds, between two windows, and asks for another evaluation of the rest.

    Returns:
        Ids of the windows that were closed, corrected or refreshed.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    touched: list[UUID] = []
    end = None if turn_s is None else time.monotonic() + turn_s
    reached = site.events.extent(model_name).next_seq  # profiles hold every event before it, and perhaps later ones
    profiled = False
    while True:
        current, row = automatic.in_force(site, model_name)
        with site.database.read() as db:
            closed = {scale: next_number(db, row, scale) for scale in current.spec.monitors.scales}
        if row.state == "collecting" or not any(closed.values()):
            if not any(closed.values()):
                origin.fix_origin(site, current, row)
            if row.state == "collecting":
                collect.collect(site, current, row)
            with site.database.read() as db:
                row = db.get_one(ReferenceRow, row.id)
            if row.windows is not None and tuple(row.windows) != current.spec.monitors.scales:
                continue  # the reference supports other lengths
        if row.artifact is not None and not profiled:
            reference = profile_job.load_profile(site.artifacts.root, row.artifact)
            if block_profiles.profile_ended_blocks(site, current, row, reference, until=end) is None:
                _request_rest(site, model_name)
                return touched
            profiled = True
        row = quality.with_quality_learned(site, current, estimates.with_estimator(site, current, row))
        ready = [d for scale, number in closed.items() if (d := due(site, current, row, scale, number)) is not None]
        if not ready:
            break
        if not isinstance(current.spec.monitors.windows, RowWindow) and skip_pause(site, current, row, ready):
            continue
        site.events.settle(model_name)  # verdicts name the table version they were computed from
        for window in sorted(ready, key=lambda d: d.to_ts):
            touched.append(close_window(site, current, row, window, reached))
        if automatic.renew(site, current, row):
            profiled = False
            continue
        if all(next_bounds(site, current, row, d.scale, d.number + 1) is None for d in ready):
            break
        if end is not None and time.monotonic() >= end:
            _request_rest(site, model_name)
            _follow_up(site, current, touched)
            return touched
    if touched or any(closed.values()):
        touched += correct_windows(site, current, row, reached)
    touched += refresh_windows(site, current)
    concept.watch(site, current, row)
    later_verdicts.judge_again(site, current, row)
    _follow_up(site, current, touched)
    return touched


def _request_rest(site: Site, model_name: str) -> None:
    with site.database.write() as db:
        key = f"monitor:{model_name}"
        queue.enqueue(db, EvaluateJob(model=model_name), now=site.clock.now(), dedupe_key=key, lock_key=key)


def _follow_up(site: Site, current: CurrentSpec, touched: Sequence[UUID]) -> None:
    """Ask for what follows from windows that were judged: attributions if they are watched, and the retrain policy."""
    if current.spec.monitors.attribution is not None and touched:
        with site.database.write() as db:
            for window in dict.fromkeys(touched):
                job = AttributionsJob(model=current.model.name, window_id=window)
                queue.enqueue(db, job, now=site.clock.now(), dedupe_key=f"attributions:{window}")
    _consider_retraining(site, current, touched)


def _consider_retraining(site: Site, current: CurrentSpec, touched: Sequence[UUID]) -> None:
    """Ask for a consideration of the model's policy, and of those of its parts, if it is a model of models."""
    if not touched:
        return
    with site.database.write() as db:
        named = [current.model.name] if current.spec.retrain is not None else []
        for name in [*named, *(_parts(site, db, current) if current.spec.with_role("agent") else ())]:
            payload = ConsiderJob(model=name, cause="window", window_id=touched[-1])
            key = f"consider:{name}"
            queue.enqueue(db, payload, now=site.clock.now(), dedupe_key=key, lock_key=key)


def _parts(site: Site, db: Session, current: CurrentSpec) -> Iterator[str]:
    """The parts of a model of models whose policies look at it."""
    for row in store.every_revision(db):
        try:
            spec = spec_of(site, db, row.id, row.revision)
        except (AppError, ValueError):  # stored by an earlier release; the scheduler tells it
            continue
        whole = spec.part_of is not None and spec.part_of.model == current.model.name
        if whole and spec.retrain is not None and "whole" in spec.retrain.when:
            yield row.name
