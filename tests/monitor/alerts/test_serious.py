"""Serious incidents: the clock by kind, what may change it, reminders, and what stands in the ledger."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.processes.serious_watch import watch_serious
from core.clock import ManualClock
from governance.access.api_keys import first_admin
from governance.ledger.read import ledger_entries
from monitor.site import Site
from monitor.tables import Alert
from tests.api.http.test_governance import SPEC, key
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST
PATH = "/api/v1/models/router/serious-incidents"


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as made:
        made.put("/api/v1/models/router", json=SPEC).raise_for_status()
        yield made


def declare(client: TestClient, at: str, kind: str = "other", **more: Any) -> dict[str, Any]:
    body = {"kind": kind, "aware_at": at, "headline": "wrong refusals", "description": "Ann Lee was refused", **more}
    answer = client.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def act(client: TestClient, found: dict[str, Any], what: str, **body: Any) -> Any:
    return client.post(f"{PATH}/{found['id']}/{what}", json=body)


@pytest.mark.parametrize(
    ("kind", "deadline"),
    [("other", "2026-01-19T12:00:00Z"), ("widespread", "2026-01-06T12:00:00Z"), ("death", "2026-01-14T12:00:00Z")],
)
def test_the_deadline_follows_from_kind_and_awareness(client: TestClient, kind: str, deadline: str) -> None:
    found = declare(client, "2026-01-04T12:00:00Z", kind)
    assert (found["deadline"], found["clock"], found["state"]) == (deadline, "running", "open")
    with_offset = declare(client, "2026-01-04T13:00:00+01:00", kind)
    assert with_offset["deadline"] == deadline


def test_the_clock_is_never_set_back_and_awareness_is_not_in_the_future(client: TestClient) -> None:
    body = {"kind": "other", "aware_at": "2026-02-01T00:00:00Z", "headline": "h", "description": "d"}
    assert client.post(PATH, json=body).status_code == 422
    found = declare(client, "2026-01-04T12:00:00Z")
    later = act(client, found, "classify", kind="other", aware_at="2026-01-04T13:00:00Z", reason="learned")
    assert later.status_code == 422
    assert "never set back" in later.json()["detail"]
    earlier = act(client, found, "classify", kind="death", aware_at="2026-01-03T12:00:00Z", reason="a person died")
    assert earlier.json()["deadline"] == "2026-01-13T12:00:00Z"


def test_reports_are_kept_or_late_and_only_then_it_is_closed_for_good(client: TestClient, clock: ManualClock) -> None:
    found = declare(client, "2026-01-04T12:00:00Z", "widespread")
    report = {"stage": "initial", "authority": "Authority", "reference": "A-1"}
    assert act(client, found, "report", **report, at="2026-01-01T00:00:00Z").status_code == 422  # before the awareness
    told = act(client, found, "report", **report).json()
    assert (told["state"], told["clock"]) == ("reported", "kept")
    clock.move_to(clock.now() + timedelta(days=9))
    assert act(client, found, "report", **report | {"stage": "complete"}).json()["clock"] == "kept"
    assert act(client, found, "close", reason="done").json()["state"] == "closed"
    assert act(client, found, "report", **report).json()["code"] == "serious_incident_state"
    other = declare(client, "2026-01-05T00:00:00Z", "widespread")
    assert other["clock"] == "overdue"
    assert act(client, other, "report", **report).json()["clock"] == "late"


def test_reminders_get_worse_with_time_and_end_with_the_report(
    client: TestClient, site: Site, clock: ManualClock
) -> None:
    found = declare(client, "2026-01-05T00:00:00Z")

    def alerts() -> list[tuple[str, str, str]]:
        with site.database.write() as db:
            watch_serious(site, db, clock.now())
        with site.database.read() as db:
            rows = db.query(Alert).order_by(Alert.opened_at).all()
            return [(a.metric, a.severity, a.state) for a in rows]

    assert alerts() == [("serious_incident", "warning", "open")]
    clock.move_to(clock.now() + timedelta(days=14, hours=1))
    assert alerts() == [("serious_incident", "critical", "open")]
    clock.move_to(clock.now() + timedelta(days=1))
    assert alerts()[1] == ("serious_incident_overdue", "critical", "open")
    act(client, found, "report", stage="initial", authority="A", reference="1").raise_for_status()
    assert [state for _, _, state in alerts()] == ["resolved", "resolved"]


def test_the_ledger_has_no_words_of_it_and_the_export_has_all(client: TestClient, site: Site) -> None:
    found = declare(client, "2026-01-04T12:00:00Z")
    act(client, found, "classify", kind="death", reason="Ann Lee died").raise_for_status()
    act(client, found, "report", stage="initial", authority="Authority X", reference="A-1").raise_for_status()
    kinds = ("incident.serious", "incident.serious_classified", "incident.serious_reported")
    with site.database.read() as db:
        entries = ledger_entries(db, kinds)
    assert [e["kind"] for e in entries] == list(kinds)
    assert "Ann Lee" not in json.dumps(entries)
    document = client.get(f"{PATH}/{found['id']}/export").json()
    assert (document["description"], document["reports"][0]["reference"]) == ("Ann Lee was refused", "A-1")
    assert document["rule"] == "death of a person: 10 days, Article 73 (4)"
    assert "Serious incidents" in client.get("/models/router/governance").text


def test_an_incident_is_declared_once_and_only_of_its_own_model(client: TestClient) -> None:
    found = declare(client, "2026-01-04T12:00:00Z")
    body = {"kind": "other", "aware_at": "2026-01-04T12:00:00Z", "headline": "h", "description": "d"}
    again = client.post(PATH, json=body | {"incident": found["incident_id"]})
    assert again.json()["code"] == "serious_incident_state"
    client.put("/api/v1/models/other", json=SPEC | {"model": "other"}).raise_for_status()
    path = "/api/v1/models/other/serious-incidents"
    assert client.post(path, json=body | {"incident": found["incident_id"]}).status_code == 404
    assert client.get(f"{path}/{found['id']}").status_code == 404


@pytest.mark.parametrize("role", ["viewer", "validator", "producer"])
def test_who_does_not_report_incidents_declares_none(client: TestClient, role: str) -> None:
    body = {"kind": "other", "aware_at": "2026-01-04T12:00:00Z", "headline": "h", "description": "d"}
    assert client.post(PATH, json=body, headers=key(client, "eve", role)).status_code == 403
