"""Maintenance and deploys over HTTP and on the pages: who may, what is refused, what is shown and recorded."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from governance.tables import LedgerEntry
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.notify.conftest import alarm, declare
from tests.monitor.traffic import BEGIN

pytestmark = SQLITE_FIRST
HOUR = timedelta(hours=1)


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    client = TestClient(app := create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})
    yield client
    app.state.intake.stop()


def key(site: Site, role: Role) -> dict[str, str]:
    with site.database.write() as db:
        _, made = create_key(db, name=role.value, role=role, actor="tester", now=site.clock.now())
    return {"Authorization": f"Bearer {made}"}


def kinds(site: Site) -> list[str]:
    with site.database.read() as db:
        return [json.loads(e)["kind"] for e in db.scalars(select(LedgerEntry.entry).order_by(LedgerEntry.index))]


def test_maintenance_is_declared_listed_and_ended_and_each_is_in_the_ledger(
    site: Site, clock: ManualClock, client: TestClient
) -> None:
    declare(site)
    now = clock.now()
    body: dict[str, Any] = {"model": "loans", "from": now.isoformat(), "to": (now + HOUR).isoformat(), "reason": "disk"}
    made = client.post("/api/v1/maintenance", json=body)
    assert made.status_code == 201
    assert client.post("/api/v1/maintenance", json={"to": body["to"], "reason": "all"}).json()["model"] is None
    assert [m["reason"] for m in client.get("/api/v1/maintenance").json()["items"]] == ["disk", "all"]
    assert "disk" in client.get("/channels").text
    clock.move_to(now + timedelta(minutes=1))
    ended = client.delete(f"/api/v1/maintenance/{made.json()['id']}").json()
    assert ended["ended_by"] is not None
    assert ended["to"].startswith("2026-01-05T00:01:00")
    again = client.delete(f"/api/v1/maintenance/{made.json()['id']}")
    assert (again.status_code, again.json()["code"]) == (409, "maintenance_over")
    assert kinds(site).count("maintenance.declared") == 2
    assert kinds(site).count("maintenance.ended") == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": "2026-01-04T00:00:00Z"}, "to"),  # before it begins
        ({"from": "2026-01-03T00:00:00Z", "to": "2026-01-04T00:00:00Z"}, "to"),  # over
        ({"to": "2026-03-04T00:00:00Z"}, "to"),  # longer than 30 days
        ({"to": "2026-01-06T00:00:00"}, "to"),  # without a zone
        ({"reason": ""}, "reason"),
        ({"until": "2026-01-06T00:00:00Z"}, "until"),
    ],
)
def test_maintenance_that_cannot_be_is_refused_with_the_field(
    client: TestClient, changes: dict[str, Any], field: str
) -> None:
    body = {"to": "2026-01-06T00:00:00Z", "reason": "disk"} | changes
    answer = client.post("/api/v1/maintenance", json=body)
    assert answer.status_code == 422
    assert field in answer.text


def test_a_deploy_is_recorded_once_and_shown_on_the_chart_and_the_alert(site: Site, client: TestClient) -> None:
    alarm(site)
    at = BEGIN + timedelta(hours=23)
    body = {"version": "v2", "at": at.isoformat(), "note": "new features"}
    path = "/api/v1/models/loans/deploys"
    assert client.post(path, json=body, headers=key(site, Role.PRODUCER)).status_code == 201
    assert client.post(path, json=body).status_code == 200
    assert [d["version"] for d in client.get(path).json()["items"]] == ["v2"]
    assert kinds(site).count("model.deployed") == 1
    assert "v2 deployed" in client.get("/models/loans").text
    alert = client.get("/api/v1/models/loans/alerts").json()["items"][0]["id"]
    assert "version v2 was deployed 2 h before" in client.get(f"/alerts/{alert}").text
    ahead = client.post(path, json={"version": "v3", "at": "2027-01-01T00:00:00Z"})
    assert (ahead.status_code, ahead.json()["field"]) == (422, "at")


def test_who_only_reads_neither_declares_nor_tests(site: Site, client: TestClient) -> None:
    viewer = key(site, Role.VIEWER)
    assert client.get("/api/v1/channels", headers=viewer).status_code == 200
    for path, body in (
        ("/api/v1/maintenance", {"to": "2026-01-06T00:00:00Z", "reason": "x"}), ("/api/v1/channels/ops/test", {}),
        ("/api/v1/models/loans/deploys", {"version": "v"}),
    ):  # fmt: skip
        assert client.post(path, json=body, headers=viewer).status_code == 403
    assert client.post("/api/v1/channels/ops/test").json()["code"] == "channel_not_found"
