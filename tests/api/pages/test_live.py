"""The stream of what changes: within reach, bounded, over with the session, and a repeat costs nothing."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.pages.live import watch
from api.pages.live.topics import states, topics
from core.clock import ManualClock
from core.errors import InvalidError
from governance.access.api_keys import create_key, revoke_key
from governance.access.roles import Caller, Role
from governance.access.scopes import NotInScopeError
from monitor.site import Site
from monitor.tables import Alert
from reports.tables import Report
from retrain.tables import Run
from tests.browser.served import Served, serving
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell

pytestmark = SQLITE_FIRST


@pytest.fixture
def story(site: Site) -> Story:
    with site.database.write() as db:
        return tell(site, db)


def state(site: Site, name: str, models: frozenset[str] | None = None) -> dict[str, Any] | None:
    caller = Caller("x", Role.ADMIN, "p", models=models)
    with site.database.read() as db:
        [found] = topics(site, caller, [name])
        return states(db, [found]).get(found)


def test_a_state_is_another_once_what_a_page_shows_is(site: Site, story: Story) -> None:
    of_run, of_alerts, of_model = (f"run:{story.run_id}", "alerts", "model:support-intents")
    before = [state(site, name) for name in (of_run, of_alerts, "runs", "reports", of_model)]
    assert before == [state(site, name) for name in (of_run, of_alerts, "runs", "reports", of_model)]
    with site.database.write() as db:
        run = db.get_one(Run, story.run_id)
        run.state, run.progress = "training", {"phase": "training", "step": 3, "steps": 10}
        db.get_one(Alert, story.alert_id).state = "open"
        db.add(Report(
            model_id=story.model_id, kind="audit", period_from=story.start, period_to=story.end, regimes=[],
            requested_by="x", created_at=story.end, state="ready", finished_at=story.end,
        ))  # fmt: skip
    after = [state(site, name) for name in (of_run, of_alerts, "runs", "reports", of_model)]
    assert [b["token"] != a["token"] for b, a in zip(before, after, strict=True) if b and a] == [True] * 5
    assert after[0] is not None
    assert (after[0]["state"], after[0]["done"], after[0]["total"]) == ("training", 3, 10)
    assert state(site, f"run:{uuid4()}") is None
    assert state(site, f"batch:{uuid4()}") is None


def test_topics_are_checked_and_lie_within_the_reach_of_the_caller(site: Site, story: Story) -> None:
    other = frozenset({"another"})
    for name in (
        f"run:{story.run_id}",
        "model:support-intents",
        f"job:{uuid4()}",
        f"report:{uuid4()}",
        f"batch:{uuid4()}",
    ):
        with pytest.raises(NotInScopeError):
            topics(site, Caller("x", Role.VIEWER, "p", models=other), [name])
    everything, nothing = state(site, "runs"), state(site, "runs", other)
    assert everything is not None
    assert nothing is not None
    assert (everything["words"], nothing["words"]) == ("1 runs", "0 runs")
    for bad in ("", "run:", "run:x", "gossip", "alerts:x", "model:", "run:" + "f" * 200):
        with pytest.raises(InvalidError, match="take alerts, runs, reports, model:NAME, run:ID"):
            topics(site, Caller("x", Role.ADMIN, "p"), [bad])
    with pytest.raises(InvalidError, match="1 to 20"):
        topics(site, Caller("x", Role.ADMIN, "p"), ["alerts"] * 21)


def test_streams_are_bounded(site: Site) -> None:
    async def fill() -> None:
        watching = watch.Watch(site)
        held = [watching.listen(Caller("x", Role.VIEWER, "p"), frozenset()) for _ in range(watch.MAX_OF_CALLER)]
        with pytest.raises(watch.TooManyStreamsError, match="12 of them for x"):
            watching.listen(Caller("x", Role.VIEWER, "p"), frozenset())
        watching.leave(held[0])
        watching.listen(Caller("x", Role.VIEWER, "p"), frozenset())
        watching.close()
        assert held[1].over
        with pytest.raises(watch.TooManyStreamsError):
            watching.listen(Caller("y", Role.VIEWER, "q"), frozenset())

    asyncio.run(fill())


@pytest.fixture
def served(site: Site, clock: ManualClock) -> Iterator[Served]:
    with serving(site, clock) as found:
        yield found


def events(answer: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    kind = data = ident = ""
    for line in answer.iter_lines():
        name, _, text = line.partition(": ")
        if name == "event":
            kind = text
        elif name == "data":
            data = text
        elif name == "id":
            ident = text
        elif not line and data:
            yield kind, json.loads(data), ident
            kind = data = ""


def test_a_stream_tells_changes_goes_on_where_it_was_and_ends_with_the_key(served: Served, story: Story) -> None:
    site, now = served.site, served.clock.now()
    with site.database.write() as db:
        row, key = create_key(db, name="v", role=Role.VIEWER, actor="assay", now=now)
    url, headers = f"{served.url}/live?on=run:{story.run_id}&on=alerts", {"Authorization": f"Bearer {key}"}
    with httpx2.stream("GET", url, headers=headers, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer)
        first, second = next(told), next(told)
        assert {first[1]["topic"], second[1]["topic"]} == {f"run:{story.run_id}", "alerts"}
        with site.database.write() as db:
            db.get_one(Run, story.run_id).state = "training"
        kind, changed, ident = next(told)
        assert (kind, changed["topic"], changed["state"]) == ("state", f"run:{story.run_id}", "training")
    with httpx2.stream("GET", url, headers={**headers, "Last-Event-ID": ident}, timeout=30) as answer:
        told = events(answer)
        with site.database.write() as db:
            revoke_key(db, prefix=row.prefix, actor="assay", now=now + timedelta(seconds=1))
        assert next(told)[0] == "over"  # and nothing that was told before
        assert list(told) == []


def test_a_stream_needs_rights(served: Served, story: Story) -> None:
    assert httpx2.get(f"{served.url}/live?on=alerts").status_code == 401
    admin = {"Authorization": f"Bearer {served.key}"}
    assert httpx2.get(f"{served.url}/live?on=gossip", headers=admin).status_code == 422
    assert httpx2.get(f"{served.url}/live", headers=admin).status_code == 422
    with served.site.database.write() as db:
        _, producer = create_key(db, name="p", role=Role.PRODUCER, actor="assay", now=served.clock.now())
    refused = httpx2.get(f"{served.url}/live?on=alerts", headers={"Authorization": f"Bearer {producer}"})
    assert refused.status_code == 403
