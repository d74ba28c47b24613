"""Incidents, mutes and alerts of the whole installation over HTTP."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor import service, store
from monitor.alerts import by_clock
from monitor.alerts.headlines import Alarm
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import spec

pytestmark = SQLITE_FIRST
LATER = "2026-01-31T08:00:00Z"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def client(site: Site) -> TestClient:
    key = first_admin(site)
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "tester")
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"})


def opened(site: Site, *, model: bool, metric: str = "accuracy") -> UUID:
    with site.database.write() as db:
        about = store.model(db, "loans").id if model else None
        alarm = Alarm("kpi" if model else "system", metric, "", 0.7, 0.8, f"{metric} is beyond its limit.", "critical")
        return by_clock.open_alert(site, db, about, alarm, site.clock.now(), {}).id


def test_alerts_with_and_without_a_model_are_listed_with_their_incidents(site: Site, client: TestClient) -> None:
    mine, system = opened(site, model=True), opened(site, model=False, metric="worker_lag")
    listed = {a["id"]: a for a in client.get("/api/v1/alerts").json()["items"]}
    assert (listed[str(mine)]["model"], listed[str(system)]["model"]) == ("loans", None)
    assert [a["id"] for a in client.get("/api/v1/alerts?model=loans").json()["items"]] == [str(mine)]
    assert [a["severity"] for a in client.get("/api/v1/models/loans/alerts").json()["items"]] == ["critical"]
    incidents = client.get("/api/v1/incidents?state=unresolved").json()["items"]
    assert {i["model"] for i in incidents} == {"loans", None}
    assert client.get("/api/v1/alerts?state=resolved").json()["items"] == []
    assert client.get("/api/v1/incidents?limit=0").status_code == 422


def test_an_incident_is_worked_on_until_it_is_resolved(site: Site, client: TestClient, clock: ManualClock) -> None:
    alert = opened(site, model=True)
    incident = client.get(f"/api/v1/alerts/{alert}").json()["incident_id"]
    path = f"/api/v1/incidents/{incident}"

    def post(action: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = client.post(f"{path}/{action}", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert post("acknowledge", {"note": "on it"})["state"] == "acknowledged"
    assert post("assign", {"owner": "ben"})["owner"] == "ben"
    assert post("comment", {"text": "a new form"})["timeline"][-1]["text"] == "a new form"
    until = (clock.now() + timedelta(hours=1)).isoformat()
    assert post("snooze", {"until": until})["snoozed_until"] is not None
    done = post("resolve", {})
    assert (done["state"], [a["state"] for a in done["alerts"]]) == ("resolved", ["resolved"])
    assert [n["kind"] for n in done["timeline"]] == [
        "opened", "acknowledged", "assigned", "commented", "snoozed", "resolved",
    ]  # fmt: skip
    assert client.get(path).json() == done
    refused = client.post(f"{path}/resolve")
    assert (refused.status_code, refused.json()["code"]) == (409, "incident_state")


def test_a_mute_is_made_listed_and_ended(site: Site, client: TestClient, clock: ManualClock) -> None:
    body = {"model": "loans", "reason": "known", "until": (clock.now() + timedelta(days=1)).isoformat()}
    made = client.post("/api/v1/mutes", json=body)
    assert (made.status_code, made.json()["model"], made.json()["created_by"]) == (201, "loans", "admin")
    assert [m["id"] for m in client.get("/api/v1/mutes").json()["items"]] == [made.json()["id"]]
    end = f"/api/v1/mutes/{made.json()['id']}/end"
    assert client.post(end).json()["ended_by"] == "admin"
    assert client.get("/api/v1/mutes").json()["items"] == []
    assert (client.post(end).status_code, client.post(f"/api/v1/mutes/{NOBODY}/end").status_code) == (409, 404)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        (f"incidents/{NOBODY}/comment", {"text": "?"}, 404, None),
        (f"incidents/{NOBODY}/comment", {"text": ""}, 422, "text"),
        (f"incidents/{NOBODY}/snooze", {"until": "2026-01-31T08:00:00"}, 422, "until"),
        ("mutes", {"model": "nobody", "reason": "x", "until": "2026-01-31T08:00:00Z"}, 404, None),
        ("mutes", {"reason": "x", "until": "2020-01-31T08:00:00Z"}, 422, "until"),
        ("mutes", {"model": "loans", "column": "colour", "reason": "x", "until": LATER}, 422, "column"),
        ("mutes", {"monitor": "weather", "reason": "x", "until": LATER}, 422, "monitor"),
    ],
)
def test_what_cannot_be_names_the_field(
    client: TestClient, path: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    answer = client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    if field is not None:
        document = answer.json()
        assert field in {document.get("field"), *(p["field"] for p in document.get("problems", []))}


def test_who_reads_may_not_act(site: Site, client: TestClient) -> None:
    alert = opened(site, model=True)
    with site.database.write() as db:
        _, key = create_key(db, name="eye", role=Role.VIEWER, actor="admin", now=site.clock.now())
    headers = {"Authorization": f"Bearer {key}"}
    incident = client.get(f"/api/v1/alerts/{alert}", headers=headers).json()["incident_id"]
    assert client.get(f"/api/v1/incidents/{incident}", headers=headers).status_code == 200
    for path in (f"incidents/{incident}/resolve", f"incidents/{incident}/acknowledge", f"mutes/{NOBODY}/end"):
        assert client.post(f"/api/v1/{path}", headers=headers).status_code == 403


def test_the_pages_show_severity_incident_and_timeline_and_take_what_people_do(site: Site, client: TestClient) -> None:
    alert, system = opened(site, model=True), opened(site, model=False, metric="worker_lag")
    page = f"/alerts/{alert}"
    for action, form in (
        ("comment", {"reason": "a new form since Monday"}), ("assign", {"owner": "ben"}),
        ("snooze", {"for": "4h", "reason": "deploying"}), ("mute", {"for": "7d", "reason": "known"}),
    ):  # fmt: skip
        answer = client.post(f"{page}/{action}", data=form)
        assert answer.status_code == 200, answer.text  # after the redirect
        assert answer.url.path == page
    shown = client.get(page).text
    for words in ("critical", "a new form since Monday", "ben", "its incident is snoozed until", "kpi, accuracy until"):
        assert words in shown
    assert "Muted by admin until" in client.get("/models/loans").text
    assert client.post(f"{page}/snooze", data={"for": "soon", "reason": "x"}).status_code == 422
    assert "worker_lag is beyond its limit." in client.get("/").text
    assert "worker_lag is beyond its limit." in client.get(f"/alerts/{system}").text
    assert client.post(f"/alerts/{system}/mute", data={"for": "1d", "reason": "known"}).status_code == 200
