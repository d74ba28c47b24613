"""A dry run says what applying a spec would do, and stores nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from api.app import create_app
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from governance.ledger.read import ledger_entries
from monitor.site import Site
from monitor.tables import Model, ReferenceRow, SpecRevision
from tests.databases import SQLITE_FIRST
from tests.server.conftest import SPEC

pytestmark = SQLITE_FIRST
PATH = "/api/v1/models/support-intents"
AUTO: dict[str, Any] = {k: v for k, v in SPEC.items() if k not in ("baseline", "monitors")}


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    headers = {"Authorization": f"Bearer {first_admin(site)}"}
    with TestClient(create_app(site), headers=headers, raise_server_exceptions=False) as client:
        yield client


def stored(site: Site) -> list[int]:
    tables = (Model, SpecRevision, ReferenceRow)
    with site.database.read() as db:
        entries = len(ledger_entries(db, ("model.spec", "model.baseline")))
        return [entries, *(db.scalar(select(func.count()).select_from(table)) or 0 for table in tables)]


def test_a_new_model_gets_a_forecast_at_several_rates_and_nothing_is_stored(site: Site, client: TestClient) -> None:
    before = stored(site)
    answer = client.put(PATH, json=AUTO, params={"dry_run": True})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["outcome"], body["revision"]) == ("created", 1)
    assert [f["rows_per_day"] for f in body["forecast"]] == [20, 200, 2_000, 20_000, 200_000]
    at_200 = body["forecast"][1]
    assert (at_200["windows"], at_200["rule"], at_200["first_verdict_s"]) == (["1d"], "early", 6 * 86_400)
    assert stored(site) == before
    assert client.get(PATH).status_code == 404


def test_a_change_is_foretold_and_then_made(site: Site, client: TestClient) -> None:
    assert client.put(PATH, json=AUTO).status_code == 201
    before, changed = stored(site), AUTO | {"owner": "somebody.else@example.com"}
    assert client.put(PATH, json=changed, params={"dry_run": True}).json()["outcome"] == "changed"
    assert client.put(PATH, json=AUTO, params={"dry_run": True}).json()["outcome"] == "unchanged"
    assert stored(site) == before
    made = client.put(PATH, json=changed)
    assert (made.json()["outcome"], made.json()["revision"]) == ("changed", 2)


def test_a_wrong_spec_is_refused_in_a_dry_run_too(client: TestClient) -> None:
    answer = client.put(PATH, json=AUTO | {"task": "guessing"}, params={"dry_run": True})
    assert answer.status_code == 422


def test_a_dry_run_needs_the_right_to_write_models(site: Site, client: TestClient) -> None:
    with site.database.write() as db:
        _, key = create_key(db, name="reader", role=Role.VALIDATOR, actor="admin", now=site.clock.now())
    answer = client.put(PATH, json=AUTO, params={"dry_run": True}, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403


def test_what_could_never_be_promoted_is_refused_in_a_dry_run_and_the_target_is_shown(client: TestClient) -> None:
    first = {"csat": {"role": "outcome", "type": "number"}}
    columns = AUTO["columns"] | {"team_true": {"role": "outcome", "type": "category"}}
    answer = client.put(PATH, json=AUTO | {"columns": first | columns}, params={"dry_run": True})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "columns.intent.predicts"
    assert "intent_true, team_true" in answer.json()["detail"]
    recipe = {"base_model": "/models/none", "task": "sequence_classification"}
    policy = {"when": ["drift"], "recipe": recipe, "envelope": {"fairness": {"equal_odds": 0.1}}}
    answer = client.put(PATH, json=AUTO | {"retrain": policy}, params={"dry_run": True})
    assert (answer.status_code, answer.json()["code"]) == (422, "outside_envelope")
    assert client.put(PATH, json=AUTO | {"columns": first | AUTO["columns"]}).status_code == 201
    target = client.get(PATH).json()["target"]
    assert (target["column"], target["how"], target["others"]) == ("intent_true", "matched", [])
