"""Three schedulers on one PostgreSQL do each due job once, also where clocks change."""

from datetime import datetime
from pathlib import Path

import pytest

import migrations
from bench.retraining.schedulers import BERLIN, SCHEDULES, SPANS, STEP, expected, simulate
from retrain.triggers.schedule import next_tick
from tests import postgres

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("begin", SPANS, ids=["back", "forward"])
def test_each_due_job_is_done_once_in_a_thousand_ticks(
    postgres_server: postgres.Server, tmp_path: Path, begin: datetime
) -> None:
    name = postgres_server.create()
    migrations.upgrade(postgres_server.url(name))
    found = simulate(postgres_server.url(name), tmp_path / "home", begin, 1000, seed=1)
    assert found.due > 70
    assert (found.double_fires, found.missed) == (0, 0)


@pytest.mark.parametrize("begin", SPANS, ids=["back", "forward"])
def test_what_is_expected_is_what_a_scheduler_finds(begin: datetime) -> None:
    first = begin
    for schedule in SCHEDULES:
        wanted, at = expected(schedule, first, first + 1000 * STEP), first
        found = []
        while (tick := next_tick(schedule.cron, at, schedule.timezone)) is not None and tick <= first + 1000 * STEP:
            found.append(tick)
            at = tick
        assert found == wanted, schedule
        if (schedule.hour, schedule.timezone) == (2, BERLIN):
            assert len(wanted) == 1
