"""Engines under the monitor: profiles and confirmations are the same, byte for byte, under every engine."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from core.clock import ManualClock
from core.engine import HERE, Call, WorkersLostError, run
from core.settings import EngineSettings
from monitor import service, store
from monitor.confirm.evidently_report import MIN_CELLS_FOR_PROCESSES, confirm_with_evidently
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.profile.reference_profile import ColumnKind
from monitor.reference import collect
from monitor.reference.block_profiles import profile_ended_blocks, profile_tasks
from monitor.reference.collect import time_blocks
from monitor.reference.profile_job import ProfiledBlock, ProfileTask, load_profile, run_profile_task
from monitor.site import Site
from monitor.tables import ReferenceRow, StoredProfile
from tests import ray_cluster
from tests.core.engine_calls import die_once, node
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, rows, spec

HOUR = timedelta(hours=1)
WORDS = [f"word{i}" for i in range(300)]
Case = tuple[Site, service.CurrentSpec, ReferenceRow, list[int]]


@pytest.fixture
def case(site: Site, clock: ManualClock) -> Case:
    """Forty days of a row an hour with a text and a wide category, profiled without a pool."""
    declared = document()
    columns = declared["columns"] | {
        "ask": {"role": "input", "type": "text"},
        "code": {"role": "input", "type": "category"},
    }
    monitors: dict[str, Any] = {"windows": ["1d"], "false_alarms": {"alpha": 0.2}, "kpi": [], "fairness": []}
    with site.database.write() as db:
        made = spec(columns=columns, monitors=declared["monitors"] | monitors, baseline={"rows": "first 240"})
        service.apply_spec(site, db, made, "tester")
    rng = np.random.default_rng(0)
    count = 24 * 40
    frame = rows(count, every=HOUR).with_columns(
        ask=pl.Series([" ".join(rng.choice(WORDS, 6)) for _ in range(count)]),
        code=pl.Series([f"k{i}" for i in rng.integers(0, 300, count)]),
    )
    clock.move_to(max(clock.now(), datetime.fromisoformat(frame["ts"].max())))  # type: ignore[arg-type]  # a text
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == count
    with site.database.read() as db:
        current = service.current_spec(site, db, "loans")
        row = store.newest_reference(db, current.model.id)
    assert row is not None
    collect.collect(site, current, row)
    with site.database.read() as db:
        row = db.get_one(ReferenceRow, row.id)
    assert row.artifact is not None
    profile_ended_blocks(site, current, row, load_profile(site.artifacts.root, row.artifact))
    times = frame["ts"].str.to_datetime(time_zone="UTC")
    labels = np.unique(time_blocks(times, ("1d",)))[:-1].tolist()
    return site, current, row, labels


def profiled(case: Case, engine: EngineSettings, together: int) -> list[ProfiledBlock]:
    site, current, row, labels = case
    runs = [range(first, min(first + together, labels[-1] + 1)) for first in range(labels[0], labels[-1] + 1, together)]
    made = list(profile_tasks(site, current, row, runs, site.events.extent("loans").next_seq))
    calls = [Call(f"blocks from {s.blocks.labels.start}", run_profile_task, (s,)) for s in made]
    return [part for parts in run(engine, calls) for part in parts]


def stored(site: Site, row: ReferenceRow) -> list[tuple[int, str, str, int, bytes]]:
    with site.database.read() as db:
        found = db.scalars(select(StoredProfile).where(StoredProfile.baseline_id == row.id)).all()
        return sorted((p.label, p.version, p.segment, p.rows, p.data) for p in found)


def in_order(parts: list[ProfiledBlock]) -> list[tuple[int, str, str, int, bytes]]:
    return sorted((p.label, p.version, p.segment, p.rows, p.data) for p in parts)


@SQLITE_FIRST
@pytest.mark.parametrize("jobs", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_profiles_are_the_same_bytes_with_no_pool_and_with_jobs(case: Case, jobs: int) -> None:
    site, _, row, labels = case
    kept = [p for p in stored(site, row) if p[0] <= labels[-1]]
    assert len(kept) > 3 * len(labels)
    for together in {1: (1, 200), 2: (16,), 4: (40,)}[jobs]:
        assert in_order(profiled(case, EngineSettings(jobs=jobs), together)) == kept


@SQLITE_FIRST
def test_a_profile_task_is_a_few_kilobytes_and_carries_no_row(case: Case) -> None:
    site, current, row, labels = case
    (stretch,) = profile_tasks(site, current, row, [range(labels[0], labels[0] + 4)], 10_000)
    assert isinstance(stretch, ProfileTask)
    assert len(stretch.snapshot.files) < len(site.events.table("loans", "events").snapshot().files)
    assert len(repr(stretch)) < 10_000


@SQLITE_FIRST
def test_an_interrupted_profile_is_made_again_without_a_trace(case: Case, tmp_path: Path) -> None:
    site, current, row, _ = case
    whole = stored(site, row)
    calls = [Call(f"block {x}", die_once, (x, str(tmp_path / "died"))) for x in range(2)]
    with pytest.raises(WorkersLostError):
        list(run(EngineSettings(jobs=2), calls))
    with site.database.write() as db:
        again = db.get_one(ReferenceRow, row.id)
        again.profiled_seq = row.from_seq  # nothing of it was recorded as done
    assert row.artifact is not None
    assert profile_ended_blocks(site, current, again, load_profile(site.artifacts.root, row.artifact))
    assert stored(site, row) == whole


@pytest.mark.slow
def test_a_confirmation_is_the_same_from_two_processes() -> None:
    columns: dict[str, ColumnKind] = {"c": "category", **{f"n{i}": "number" for i in range(9)}}
    before, after = (sample(seed) for seed in (0, 1))
    assert 2 * before.height * len(columns) >= MIN_CELLS_FOR_PROCESSES
    here, there = (
        confirm_with_evidently(before, after, columns, engine=engine) for engine in (HERE, EngineSettings(jobs=2))
    )
    assert here.statistics == there.statistics
    assert here.drifted_columns == there.drifted_columns
    assert [t["status"] for t in here.json["tests"]] == [t["status"] for t in there.json["tests"]]


def sample(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = {f"n{i}": rng.normal(0.2 * seed, 1.0, 2500) for i in range(9)}
    return pl.DataFrame({**numbers, "c": rng.choice(["a", "b"], 2500)})


@SQLITE_FIRST
@pytest.mark.parametrize("nodes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_ray_cluster_gives_the_same_bytes_and_survives_a_killed_worker(
    case: Case, tmp_path: Path, nodes: int
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install ray")
    with ray_cluster.serve(tmp_path, nodes=nodes) as address:
        on_a_cluster(case, address, tmp_path, nodes)


def on_a_cluster(case: Case, address: str, tmp_path: Path, nodes: int) -> None:
    engine = EngineSettings(kind="ray", jobs=2, ray_address=address)
    assert set(run(engine, [Call(f"node {i}", node, ()) for i in range(8)])) == set(ray_cluster.NODES[:nodes])
    assert in_order(profiled(case, engine, 16)) == in_order(profiled(case, HERE, 16))
    calls = [Call(f"block {x}", die_once, (x, str(tmp_path / "died"))) for x in range(4)]
    with pytest.raises(WorkersLostError, match="during block 0"):
        list(run(engine, calls))
    assert list(run(engine, calls)) == [0, 1, 2, 3]
