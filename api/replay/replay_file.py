"""Replay a file through the production code: event time drives the clock, and windows close as in production.

A replay differs from production only where it must: no job waits in a queue, no alert gets a confirmation report
(nobody could open it afterwards), and a run that the policy would start is recorded instead of trained.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from api.replay.document import document, policy_line
from api.replay.input import ReplayInput, read_events, read_outcomes
from api.replay.naming import AS_THEY_ARE, FileColumns
from api.replay.policies import budgeted, policies
from api.replay.run import ReplayRun, feed
from core.artifacts import ArtifactStore
from core.clock import ManualClock, SystemClock
from core.db import Database
from core.engine import HERE
from core.settings import load
from governance.ledger.keys import load_or_create
from migrations.tables import METADATA
from monitor import service
from monitor.events.store import EventStore
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.windows.backtest import profile_layout

Progress = Callable[[int, int], None]


def replay_file(
    home: Path,
    spec: ModelSpec,
    events: Path,
    outcomes: Path | None,
    *,
    compare: Sequence[str] = (),
    changed_at: datetime | None = None,
    columns: FileColumns = AS_THEY_ARE,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Feed events (and outcomes) through ingest, windows, decision and retrain policy under `home`; nothing is trained.

    Outcome columns found in the events file count as outcomes that arrive with their event.

    Args:
        compare: policies to judge over the same windows, in the syntax of `api.replay.policies`.
        changed_at: time of a known change; alarms before it are false alarms.
        columns: how the columns of the events' file become fields.
        progress: called after each step with the rows done and the total.

    Raises:
        InvalidError: a file cannot be read, lacks a needed column, or has one that does not fit the spec; or a text is
            not a policy.
        RecipeError, EnvelopeError: production would refuse the spec's retrain policy too.
    """
    compared = policies(spec, compare) if compare else []
    now = SystemClock().now()
    given = read_events(events, spec, columns, now=now)
    late = read_outcomes(outcomes, spec, now=now) if outcomes is not None else None
    notes = [*given.notes, *(late.notes if late else ()), *_base_model_notes(spec)]
    with _replayed(home, spec, given, late, progress) as run:
        stored = run.stored()
        found = document(run, stored, changed_at) | {"notes": notes}
        mine = [p for p in compared if profile_layout(p.spec) == profile_layout(spec)]
        judged = {p.name: policy_line(p.name, p.spec, stored, changed_at) for p in mine}
    others = [p for p in compared if p.name not in judged]
    # Policies with other blocks need profiles of their own, so the rows are replayed once per layout.
    for layout in dict.fromkeys(profile_layout(p.spec) for p in others):
        together = [p for p in others if profile_layout(p.spec) == layout]
        with _replayed(home / f"layout-{len(judged)}", budgeted(together[0].spec), given, late, progress) as run:
            stored = run.stored()
            judged |= {p.name: policy_line(p.name, p.spec, stored, changed_at) for p in together}
    return found | {"policies": [judged[p.name] for p in compared]}


@contextmanager
def _replayed(
    home: Path, spec: ModelSpec, given: ReplayInput, late: ReplayInput | None, progress: Progress
) -> Iterator[ReplayRun]:
    """Replay all rows, and yield the finished run."""
    site = open_fresh(home, ManualClock(given.frame["ts"][0]))
    try:
        with site.database.write() as db:
            service.apply_spec(site, db, spec, "replay")
        run = ReplayRun(site, spec, late, [*given.rejected, *(late.rejected if late else ())])
        for done in feed(run, given):
            progress(done, given.frame.height)
        yield run
    finally:
        site.close()


class _LogOnlyStore(EventStore):
    """Event store that keeps rows in the log only, because no table has to outlive a replay."""

    def settle(self, model: str) -> None:
        pass

    def close(self) -> None:
        self.unflushed.close()


def open_fresh(home: Path, clock: ManualClock) -> Site:
    """Open a throwaway installation; it never waits for the disk."""
    settings = load({}, home=home).model_copy(update={"engine": HERE})  # other processes could not read the log
    database = Database(settings.database_url, durable=False)
    METADATA.create_all(database.engine)  # nothing is kept that a later step would migrate
    keys = load_or_create(home, settings.ledger.origin)
    return Site(
        settings=settings, database=database,
        artifacts=ArtifactStore(home / "artifacts"), events=_LogOnlyStore(settings.lake_uri, home, keys.subject),
        clock=clock, keys=keys,
    )  # fmt: skip


def _base_model_notes(spec: ModelSpec) -> list[str]:
    """Note a missing base model: the policy is still replayed, but no run could start here."""
    if spec.retrain is None:
        return []
    from retrain.envelope import Plan, base_folder, breaches
    from retrain.errors import BaseModelError, EnvelopeError

    plan = Plan.of(spec)
    if found := breaches(plan):
        raise EnvelopeError(found)
    try:
        base_folder(plan.recipe, load().home_dir)
    except BaseModelError as error:
        return [f"a retrain could not start on this machine: {error.message}"]
    return []
