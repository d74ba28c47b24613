"""Evaluations are asked for when rows can change a verdict, and only then."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError

from api.app import create_app
from api.processes import evaluation_requests
from api.processes.evaluation_requests import EvaluationRequester
from api.processes.worker import drain
from core.clock import ManualClock
from core.queue import Job
from governance.access.api_keys import first_admin
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, Kind, receive
from monitor.site import Site
from monitor.tables import Model, Window
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.examples import ALL
from tests.monitor.traffic import BEGIN, events_body, outcomes_body, rows, spec

pytestmark = SQLITE_FIRST
DAYS = {"windows": ["1d"], "false_alarms": {"alpha": 0.1}, "kpi": [], "fairness": []}
ROWS = {"windows": {"rows": 250}, "false_alarms": {"alpha": 0.1}, "kpi": [], "fairness": []}
DAY = timedelta(days=1)
STEPS = 36 if ALL else 24


@pytest.fixture
def requester(site: Site) -> EvaluationRequester:
    """Asks as often as it is called."""
    return EvaluationRequester(site, again_s=0.0)


def declare(site: Site, name: str = "loans", **changes: Any) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(model=name, **changes), "tester")


def send(site: Site, body: bytes, kind: Kind = "events", name: str = "loans") -> None:
    assert receive(site, name, kind, Body(body, NDJSON)).accepted


def state(site: Site) -> tuple[Any, ...]:
    """What an evaluation changes that a user can see."""
    with site.database.read() as db:
        model = store.model(db, "loans")
        row = store.newest_reference(db, model.id)
        assert row is not None
        seen = db.execute(select(func.count(), func.sum(Window.rows), func.sum(Window.labels))).one()
        return (row.state, row.problem, row.artifact, model.silent_seq, *seen)


def rename(site: Site, table: str, name: str) -> None:
    with site.database.write() as db:
        db.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


def feed(seed: int, steps: int) -> Iterator[pl.DataFrame]:
    """Rows of some hours each: mostly in order, sometimes late, sometimes after a gap of days."""
    random, hours, start = np.random.default_rng(seed), 0.0, 0
    for _ in range(steps):
        count = int(random.integers(1, 120))
        late = random.random() < 0.15
        hours += 0.0 if late else random.choice([3.0, 9.0, 24.0, 70.0], p=[0.5, 0.3, 0.15, 0.05])
        first = hours - (random.uniform(1, 60) if late else 0.0)
        times = BEGIN + timedelta(days=5) + np.array([timedelta(hours=first + i * 2 / count) for i in range(count)])
        yield rows(count, start=start).with_columns(pl.Series("ts", [t.isoformat() for t in times]))
        start += count


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("baseline", "monitors"),
    [
        ({"rows": "first 1000"}, ROWS),
        pytest.param({"rows": "first 500"}, DAYS, marks=pytest.mark.slow),  # a part of the next
        pytest.param({"rows": "first 500"}, DAYS | {"windows": ["6h", "1d"]}, marks=pytest.mark.slow),
        pytest.param(
            {"range": {"from": "2026-01-06T00:00:00Z", "to": "2026-01-12T00:00:00Z"}}, DAYS, marks=pytest.mark.slow
        ),
    ],
    ids=["rows", "days", "two scales", "range"],
)
def test_what_is_not_asked_for_would_have_found_nothing(
    site: Site, clock: ManualClock, requester: EvaluationRequester, baseline: Any, monitors: Any, seed: int
) -> None:
    declare(site, baseline=baseline, monitors=monitors)
    asked = changed = 0
    for step, frame in enumerate(feed(seed, STEPS)):
        newest = datetime.fromisoformat(frame["ts"].max())  # type: ignore[arg-type]  # a text
        clock.move_to(max(clock.now() + timedelta(minutes=6), newest + timedelta(minutes=2)))
        send(site, events_body(frame))
        if step % 10 == 9:
            send(site, outcomes_body(frame), "outcomes")
        is_asked, before = requester.run_once() == ["loans"], state(site)
        evaluate(site, "loans")
        assert is_asked or state(site) == before, f"step {step}"
        asked, changed = asked + is_asked, changed + (state(site) != before)
    assert changed > STEPS // 6
    assert asked < STEPS


def test_rows_that_close_nothing_ask_for_nothing(
    site: Site, clock: ManualClock, requester: EvaluationRequester
) -> None:
    declare(site, monitors=DAYS, baseline={"rows": "first 5000"})
    for hour in range(20):
        clock.move_to(BEGIN + timedelta(hours=hour + 2))
        send(site, events_body(rows(60, start=hour * 60)))
        assert requester.run_once() == []


def test_a_window_is_asked_for_again_until_it_is_closed(
    site: Site, clock: ManualClock, requester: EvaluationRequester
) -> None:
    declare(site, monitors=ROWS)
    clock.move_to(BEGIN + DAY)
    for at in range(0, 500, 100):  # the window is whole with the third of these
        send(site, events_body(rows(100, start=at)))
        assert requester.run_once() == (["loans"] if at >= 200 else [])
    evaluate(site, "loans")  # closes two
    send(site, events_body(rows(100, start=500)))
    assert requester.run_once() == []


def test_the_same_rows_again_ask_for_nothing(site: Site, clock: ManualClock, requester: EvaluationRequester) -> None:
    declare(site, monitors=ROWS)
    clock.move_to(BEGIN + DAY)
    send(site, events_body(rows(250)))
    assert requester.run_once() == ["loans"]
    assert receive(site, "loans", "events", Body(events_body(rows(250)), NDJSON)).duplicates == 250
    assert requester.run_once() == []


def test_the_first_row_after_a_silence_that_was_told_is_looked_at(site: Site, clock: ManualClock) -> None:
    declare(site, monitors=DAYS)
    requester = EvaluationRequester(site, again_s=0.0, pause_s=0.0)
    clock.move_to(BEGIN + DAY)
    send(site, events_body(rows(10)))
    assert requester.run_once() == []
    with site.database.write() as db:
        db.get_one(Model, store.model(db, "loans").id).silent_seq = 10
    send(site, events_body(rows(10, start=10)))
    assert requester.run_once() == ["loans"]


def test_many_models_that_close_are_asked_for_before_those_that_are_only_disturbed(
    site: Site, clock: ManualClock, requester: EvaluationRequester
) -> None:
    clock.move_to(BEGIN + DAY)
    for i in range(25):
        declare(site, f"m{i:02}", monitors=ROWS)
        send(site, events_body(rows(250)), name=f"m{i:02}")
    for i in range(25, 30):
        declare(site, f"m{i:02}", monitors=ROWS)
        send(site, events_body(rows(10)), name=f"m{i:02}")
        send(site, outcomes_body(rows(10)), "outcomes", name=f"m{i:02}")
    found = [requester.run_once() for _ in range(8)]
    assert sorted(m for models in found for m in models) == [f"m{i:02}" for i in range(30)]
    assert all(len([m for m in models if m >= "m25"]) <= evaluation_requests.MAX_LATE for models in found)
    assert found[-1] == []


def test_rows_enough_for_profiling_ask_before_their_window_closes(
    site: Site, clock: ManualClock, requester: EvaluationRequester
) -> None:
    declare(site, monitors=DAYS, baseline={"rows": "first 50000"})
    clock.move_to(BEGIN + DAY)
    for at in range(3):
        send(site, events_body(rows(4000, start=at * 4000, every=timedelta(seconds=1))))
        assert requester.run_once() == (["loans"] if at == 2 else [])


def test_nothing_is_forgotten_while_the_database_is_away(
    site: Site, clock: ManualClock, requester: EvaluationRequester
) -> None:
    declare(site, monitors=ROWS)
    clock.move_to(BEGIN + DAY)
    send(site, events_body(rows(250)))
    rename(site, "job", "away")
    with pytest.raises(DBAPIError):
        requester.run_once()
    rename(site, "away", "job")
    assert requester.run_once() == ["loans"]
    with site.database.read() as db:
        assert db.scalars(select(Job.name)).all() == ["monitor.evaluate"]


def test_a_reference_of_days_is_whole_with_the_third_however_its_rows_are_looked_at(
    site: Site, clock: ManualClock, requester: EvaluationRequester
) -> None:
    """And is asked for then alone: reading what there is of it for each row would keep a worker busy for two days."""
    declare(site, monitors=DAYS, baseline={"rows": "first 100"})
    days: list[int] = []
    for hour in range(60):
        clock.move_to(BEGIN + timedelta(hours=hour + 1, minutes=2))
        send(site, events_body(rows(50, start=hour * 50, every=timedelta(minutes=1.2))))
        if requester.run_once():
            days.append(hour)
            evaluate(site, "loans")
        with site.database.read() as db:
            row = store.newest_reference(db, store.model(db, "loans").id)
        assert row is not None
        assert (row.state, row.rows) == (("ready", 48 * 50) if hour >= 48 else ("collecting", None)), hour
    assert days == [1, 24, 48]  # with the hundredth row, too: it is the first of them that tells since when


def test_a_model_says_that_it_is_evaluated_from_the_first_row_to_the_last_verdict(
    site: Site, requester: EvaluationRequester
) -> None:
    """So `assay evaluate` can wait: right after rows were sent it listed no window, and no alert followed."""
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})

    def evaluating() -> tuple[bool, bool]:
        (listed,) = client.get("/api/v1/models").json()["items"]
        return client.get("/api/v1/models/loans").json()["evaluating"], listed["evaluating"]

    declare(site, monitors=ROWS)
    drain(site)
    assert evaluating() == (False, False)
    send(site, rows(1500).drop("truth").write_ndjson().encode())
    assert evaluating() == (True, True), "nobody has asked for an evaluation yet"
    assert requester.run_once() == ["loans"]
    assert evaluating() == (True, True), "it waits for a worker"
    drain(site)
    assert evaluating() == (False, False)
    send(site, rows(1, start=1500).drop("truth").write_ndjson().encode())
    requester.run_once()
    assert evaluating() == (False, False), "one row closes no window"


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/models/loans"])
def test_an_evaluation_that_is_asked_for_while_a_request_reads_is_not_missed(
    site: Site, requester: EvaluationRequester, path: str
) -> None:
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})
    declare(site, monitors=ROWS)
    drain(site)
    send(site, rows(1500).drop("truth").write_ndjson().encode())
    asked: list[list[str]] = []

    def ask(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not asked and re.search(r"\bFROM (model|job)\b", statement):
            asked.append([])
            asked[0] += requester.run_once()

    event.listen(site.database.engine, "after_cursor_execute", ask)
    found = client.get(path).json()
    assert asked == [["loans"]]
    assert found.get("items", [found])[0]["evaluating"]
