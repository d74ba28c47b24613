"""A spent budget blocks the next run with its figures, for one model and for the installation."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings import BudgetSettings
from monitor import service as monitor
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.store import model as model_named
from retrain import jobs, store
from retrain.registry.versions import ensure_base_version
from retrain.runs.consider import start_manual
from retrain.tables import TriggerDecision
from tests.retrain import world
from tests.retrain.train import tiny


def ask(site: Site, name: str = world.NAME) -> tuple[UUID | None, TriggerDecision]:
    with site.database.write() as db:
        found = start_manual(site, db, name, "ann", "new intents")
        return (found.run.id if found.run else None), found.decision


def failed(site: Site, run_id: UUID) -> None:
    """End a run: its base is none, so it fails before it trains."""
    assert jobs.run(site, RunJob(run_id=run_id)) is None


def declared(site: Site, base: Path, clock: ManualClock, **retrain: Any) -> None:
    world.declare(site, world.spec(base, **retrain))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    (base / "model.safetensors").write_bytes(b"other")  # every run fails at once


def test_a_failed_run_counts_and_the_next_day_is_free_again(site: Site, tmp_path: Path, clock: ManualClock) -> None:
    declared(site, world.fake_base(tmp_path / "base"), clock, budget={"runs_per_day": 1})
    first, _ = ask(site)
    assert first is not None
    failed(site, first)
    assert world.read(site, first).state == "failed"
    second, decision = ask(site)
    assert second is None
    (blocker,) = decision.blocked_by
    assert blocker["name"] == "budget"
    assert "retrain.budget.runs_per_day is 1 runs: 1 used, 0 left; it frees at 2026-01-06T00:00" in blocker["reason"]
    clock.move_to(clock.now() + timedelta(days=1))
    third, _ = ask(site)
    assert third is not None


def other(site: Site, base: Path, name: str) -> None:
    document = {**world.spec(base).document, "model": name}
    spec = parse_spec(document)
    with site.database.write() as db:
        monitor.apply_spec(site, db, spec, "tester")
        ensure_base_version(site, db, model_named(db, name), spec, "tester")


def test_two_schedulers_that_consider_two_models_at_once_start_one_run_of_a_budget_of_one(
    site: Site, tmp_path: Path, clock: ManualClock
) -> None:
    limited = replace(site, settings=site.settings.model_copy(update={"budget": BudgetSettings(runs_per_day=1)}))
    base = world.fake_base(tmp_path / "base")
    names = ("one", "two", "three")
    for name in names:
        other(limited, base, name)
    spec = parse_spec({**world.spec(base).document, "model": "one"})
    frame = world.traffic(200, tiny.OLD)
    clock.move_to(frame["ts"].max())  # type: ignore[arg-type]  # a time, and not empty
    for name in names:
        own = spec.model_copy(update={"model": name})
        limited.events.append_events(own, frame.drop("intent_true"), now=clock.now())
        limited.events.append_outcomes(own, frame.select("event_id", "intent_true"), now=clock.now())
    started: list[UUID | None] = []
    gate = threading.Barrier(len(names))

    def consider(name: str) -> None:
        gate.wait()
        started.append(ask(limited, name)[0])

    threads = [threading.Thread(target=consider, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 3
    assert sum(run is not None for run in started) == 1
    with limited.database.read() as db:
        blocked = [d.blocked_by for n in names for d in store.decisions(db, model_named(db, n).id) if not d.fired]
    assert len(blocked) == 2
    assert all("settings.budget.runs_per_day is 1 runs: 1 used" in b[0]["reason"] for b in blocked)
