"""A request for a run with an idempotency key is answered once, whatever becomes of answers, threads and processes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import first_admin
from monitor.site import Site, open_site
from retrain import store
from retrain.runs.record import close_failed
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

PATH = f"/api/v1/models/{world.NAME}/runs"
ASKED: dict[str, Any] = {"reason": "new intents"}


@pytest.fixture
def client(site: Site, clock: ManualClock, tmp_path: Path) -> Iterator[TestClient]:
    world.declare(site, world.spec(world.fake_base(tmp_path / "base")))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    headers = {"Authorization": f"Bearer {first_admin(site)}"}
    with TestClient(create_app(site), headers=headers, raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, key: str | None = "nightly-1", **more: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(PATH, json=ASKED | more, headers=headers)


def counted(site: Site) -> tuple[int, int]:
    with site.database.read() as db:
        model = world.model_id(db)
        return len(store.decisions(db, model)), len(store.runs(db, model))


def test_requests_that_race_get_one_decision_and_one_run(site: Site, client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(client), range(8)))
    assert {a.status_code for a in answers} == {202}, [a.text for a in answers]
    assert len({(a.json()["run"]["id"], a.json()["decision"]["id"]) for a in answers}) == 1
    assert counted(site) == (1, 1)


@SQLITE_FIRST
def test_the_answer_survives_the_run_and_a_restart(site: Site, client: TestClient, clock: ManualClock) -> None:
    first = ask(client).json()
    assert first["outcome"] == "started"
    with site.database.write() as db:
        close_failed(site, db, store.runs(db, world.model_id(db))[0], "test", "ended")
    again = open_site(site.settings, clock)
    headers = dict(client.headers)
    with TestClient(create_app(again), headers=headers) as restarted:
        found = ask(restarted)
    again.database.dispose()
    assert found.status_code == 202
    assert found.json()["run"]["id"] == first["run"]["id"]
    assert found.json()["run"]["state"] == "failed"
    assert counted(site) == (1, 1)
    assert ask(client, "nightly-2").json()["run"]["id"] != first["run"]["id"]


@SQLITE_FIRST
def test_a_decision_that_started_nothing_is_an_answer_too(site: Site, client: TestClient) -> None:
    first = ask(client, if_due=True)
    assert (first.status_code, first.json()["outcome"], first.json()["run"]) == (200, "nothing_to_do", None)
    assert first.json()["decision"]["cause"] == "request"
    assert ask(client, if_due=True).json()["decision"]["id"] == first.json()["decision"]["id"]
    assert counted(site) == (1, 0)


@SQLITE_FIRST
def test_a_key_with_another_body_is_refused_and_without_a_key_each_request_counts(
    site: Site, client: TestClient
) -> None:
    assert ask(client).status_code == 202
    for more in ({"reason": "something else"}, {"if_due": True}):
        refused = ask(client, **more)
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_reused")
        assert "nightly-1" in refused.json()["detail"]
    blocked = ask(client, None)
    assert (blocked.status_code, blocked.json()["outcome"]) == (200, "blocked")
    assert counted(site) == (2, 1)


@SQLITE_FIRST
@pytest.mark.parametrize("key", ["", " ", "x" * 256, "clé", "a\tb"])
def test_a_key_that_is_none_is_refused_with_the_form_it_needs(site: Site, client: TestClient, key: str) -> None:
    refused = client.post(PATH, json=ASKED, headers=[(b"idempotency-key", key.encode("latin-1"))])
    assert refused.status_code == 422, refused.text
    assert "1 to 255 printable ASCII characters" in refused.json()["detail"]
    assert counted(site) == (0, 0)


@SQLITE_FIRST
def test_nothing_has_arrived_since_the_last_training_set_is_nothing_to_do(
    site: Site, client: TestClient, tmp_path: Path
) -> None:
    run = ask(client).json()["run"]["id"]
    world.evaluated(site, UUID(run), world.fake_adapter(tmp_path / "adapter"))
    with site.database.write() as db:
        close_failed(site, db, store.runs(db, world.model_id(db))[0], "test", "ended")
    answer = ask(client, "nightly-2").json()
    assert answer["outcome"] == "nothing_to_do"
    assert "0 labelled events since the last training set, 100 needed" in answer["decision"]["reason"]
