"""The way in for rows: small bodies stored together are answered apart, and overload is said at once."""

import asyncio
import errno
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.http.arriving import OverloadedError
from api.http.intake import Intake
from bench import crash
from core.errors import AppError
from monitor import service
from monitor.errors import ModelNotFoundError, TableDamagedError
from monitor.events.wal import LogFailedError
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, SmallBody, receive, receive_together
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.examples import examples
from tests.server.conftest import SPEC, Api, event
from tests.service import Service

NOW = "2026-01-04T12:00:00Z"
LINES = st.sampled_from(
    [json.dumps(event(f"s{i}", ts=NOW)).encode() for i in range(4)]
    + [b"", b"  ", b"{", b'"text"', b"\xff", json.dumps(event("bad", ts=NOW, confidence="high")).encode()]
)
BODIES = st.lists(st.lists(LINES, max_size=4).map(b"\n".join), min_size=1, max_size=5)


def declare(site: Site, name: str, **more: Any) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(SPEC | {"model": name} | more), "tester")


@SQLITE_FIRST
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=BODIES, endings=st.lists(st.booleans(), min_size=5, max_size=5))
def test_bodies_stored_together_are_answered_as_if_they_came_one_by_one(
    site: Site, bodies: list[bytes], endings: list[bool]
) -> None:
    number = time.monotonic_ns()
    sent = [Body(b + b"\n" if end else b, NDJSON) for b, end in zip(bodies, endings, strict=False)]
    for name in (together := f"t{number}", apart := f"a{number}"):
        declare(site, name)
    answers = receive_together(site, [SmallBody(together, "events", body) for body in sent])
    for body, answer in zip(sent, answers, strict=True):
        if isinstance(answer, AppError):
            with pytest.raises(type(answer), match=re.escape(answer.message)):
                receive(site, apart, "events", body)
        else:
            assert answer == receive(site, apart, "events", body)
    found, expected = (site.events.events(name).select("event_id", "seq") for name in (together, apart))
    assert found.equals(expected)


@SQLITE_FIRST
def test_outcomes_stored_together_are_refused_each_on_its_own_line(site: Site) -> None:
    declare(site, "m")
    receive(site, "m", "events", Body(json.dumps(event("e1", ts=NOW)).encode(), NDJSON))
    lines = [json.dumps({"event_id": i, "intent_true": "x"}).encode() for i in ("e1", "none", "e1")]
    first, second, third = receive_together(site, [SmallBody("m", "outcomes", Body(line, NDJSON)) for line in lines])
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert not isinstance(third, Exception)
    assert (first.accepted, second.rejected[0].line, second.rejected_total, third.duplicates) == (1, 1, 1, 1)


@SQLITE_FIRST
def test_bodies_of_several_models_share_one_sync_and_each_gets_its_own_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        declare(site, name)
    syncs = []
    real = os.fdatasync

    def counted(file: int) -> None:
        syncs.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", counted)

    def small(model: str, event_id: str) -> SmallBody:
        return SmallBody(model, "events", Body(json.dumps(event(event_id, ts=NOW)).encode(), NDJSON))

    answers = receive_together(site, [small("a", "1"), small("gone", "1"), small("b", "1"), small("a", "1")])
    assert len(syncs) == 1
    assert [getattr(a, "accepted", a) for a in (answers[0], answers[2], answers[3])] == [1, 1, 0]
    assert isinstance(answers[1], ModelNotFoundError)
    assert [site.events.extent(name).rows for name in ("a", "b")] == [1, 1]


@SQLITE_FIRST
def test_a_model_whose_table_cannot_be_read_does_not_spoil_the_bodies_beside_it(site: Site) -> None:
    for name in ("a", "b"):
        declare(site, name)
    entry = site.events.root / "a" / "events" / "_delta_log" / f"{0:020}.json"
    entry.parent.mkdir(parents=True)
    entry.write_text("{")
    bodies = [SmallBody(n, "events", Body(json.dumps(event("1", ts=NOW)).encode(), NDJSON)) for n in ("a", "b")]
    damaged, whole = receive_together(site, bodies)
    assert isinstance(damaged, TableDamagedError)
    assert getattr(whole, "accepted", whole) == 1


@SQLITE_FIRST
def test_bodies_that_share_a_sync_which_fails_are_all_told_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        declare(site, name)

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    bodies = [SmallBody(n, "events", Body(json.dumps(event("1", ts=NOW)).encode(), NDJSON)) for n in ("a", "b")]
    with pytest.raises(LogFailedError):
        receive_together(site, bodies)


@SQLITE_FIRST
def test_rows_that_wait_to_be_flushed_are_bounded(site: Site) -> None:
    declare(site, "m")
    tight = site.settings.model_copy(update={"server": site.settings.server.model_copy(update={"max_unfolded_mb": 1})})
    small = Site(tight, site.database, site.artifacts, site.events, site.clock, site.keys)

    async def fill() -> None:
        intake = Intake(small)
        body = "\n".join(json.dumps(event(f"e{i}", ts=NOW, text="x" * 1000)) for i in range(300)).encode()
        for i in range(30):
            intake.check_backlog()
            await intake.store("m", "events", Body(body.replace(b': "e', f': "{i}-'.encode()), NDJSON))
        await asyncio.to_thread(intake.stop)

    with pytest.raises(OverloadedError, match="wait to be flushed") as refused:
        asyncio.run(fill())
    assert refused.value.retry_after_s == 1
    site.events.settle("m")
    Intake(small).check_backlog()


def test_a_model_may_ask_for_its_rows_to_be_in_the_lake_when_answered(api: Api) -> None:
    assert api.send("PUT", "/api/v1/models/in-lake", json=SPEC | {"model": "in-lake", "ack": "lake"}).status_code == 201
    assert api.rows("events", [event("l1")], model="in-lake").json()["accepted"] == 1
    table = pl.read_delta(str(api.installation.home / "lake" / "in-lake" / "events"))
    assert table["event_id"].to_list() == ["l1"]


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_nothing_that_was_answered_is_lost_or_doubled_by_kill_9(processes: int) -> None:
    tally = crash.run(examples(2), processes, seed=7)
    assert (tally.lost, tally.doubled) == (0, 0)
    assert tally.acknowledged


def test_a_served_process_that_stops_leaves_every_row_in_its_table(server: Service) -> None:
    import httpx2

    with httpx2.Client(base_url=server.url, headers=server.headers(), timeout=30) as client:
        assert client.put("/api/v1/models/support-intents", json=SPEC).status_code == 201
        assert client.post("/api/v1/models/support-intents/events", json=[event("last")]).status_code == 200
        found = client.get("/api/v1/models/support-intents/events/last")
        assert found.json()["event_id"] == "last"
    assert server.stop() == 0
    home: Path = server.home
    assert pl.read_delta(str(home / "lake/support-intents/events"))["event_id"].to_list() == ["last"]
    assert not [p for p in (home / "wal").iterdir() if not p.name.startswith(".")]
