"""The stop switch over HTTP, on the page and at the command line."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import first_admin
from monitor.site import Site
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST
SPEC: dict[str, Any] = {
    "model": "router", "task": "classification", "owner": "ml@example.com", "purpose": "route messages",
    "risk": "high",
    "columns": {
        "amount": {"role": "input", "type": "number"}, "age_band": {"role": "protected", "type": "category"},
        "intent": {"role": "prediction", "type": "category"}, "intent_true": {"role": "outcome", "type": "category"},
    },
    "baseline": {"rows": "first 200"},
    "monitors": {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.01},
                 "kpi": [{"metric": "accuracy", "min": 0.8}]},
}  # fmt: skip
STOP = "/api/v1/models/router/stop"


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as made:
        declared = made.put("/api/v1/models/router", json=SPEC)
        assert declared.status_code == 201, declared.text
        yield made


def key(client: TestClient, name: str, role: str, owner: str | None = None) -> dict[str, str]:
    made = client.post("/api/v1/keys", json={"name": name, "role": role, "owner": owner})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


def test_a_model_is_stopped_and_lifted_by_two_people(client: TestClient) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    assert not client.get(STOP).json()["stopped"]
    assert client.post(STOP, json={}, headers=ann).status_code == 422
    set_ = client.post(STOP, json={"reason": "harm was seen"}, headers=ann).json()
    assert (set_["stopped"], set_["by"], set_["reason"], set_["needed"]) == (True, "Ann (key ann)", "harm was seen", 1)
    assert client.post(STOP, json={"reason": "again"}, headers=bob).json()["code"] == "model_stopped"
    assert client.post(f"{STOP}/lift", json={"reason": "over"}, headers=ann).status_code == 403
    same = key(client, "ann approves", "approver", "ann")
    refused = client.post(f"{STOP}/lift", json={"reason": "over"}, headers=same)
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_refused")
    page = client.get("/models/router").text
    assert "router is stopped since" in page
    assert "harm was seen" in page
    lifted = client.post(f"{STOP}/lift", json={"reason": "over"}, headers=bob).json()
    assert (lifted["stopped"], [e["kind"] for e in lifted["history"]]) == (False, ["stop.set", "stop.lifted"])
    assert client.post(f"{STOP}/lift", json={"reason": "over"}, headers=bob).json()["code"] == "model_not_stopped"


@pytest.mark.parametrize("role", ["viewer", "producer"])
def test_who_only_reads_stops_nothing(client: TestClient, role: str) -> None:
    eve = key(client, "eve", role)
    for path in (STOP, f"{STOP}/lift", f"{STOP}/drill"):
        assert client.post(path, json={"reason": "no"}, headers=eve).status_code == 403


def test_a_drill_needs_no_reason_and_is_shown(client: TestClient) -> None:
    vera = key(client, "vera", "validator", "Vera")
    found = client.post(f"{STOP}/drill", headers=vera).json()
    assert found["passed"]
    assert not client.get(STOP).json()["stopped"]
    assert "everything was refused" in client.get("/models/router").text
    assert client.post("/api/v1/models/none/stop/drill").status_code == 404
