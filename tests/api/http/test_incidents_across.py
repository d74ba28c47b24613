"""Incidents across models: what joins them, who sees which part, links, merges and post-mortems, API and pages."""

from datetime import timedelta
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.http.auth import COOKIE
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Caller, Role
from governance.access.sessions import open_session
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.alerts import by_clock, serious
from monitor.alerts.headlines import Alarm
from monitor.notify import deploys
from monitor.site import Site
from reports import service as reports
from reports.facts.gather import gather
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import spec

pytestmark = SQLITE_FIRST
HOSTILE = '<script>alert(1)</script> #eval("x") =1+1 *bold* 例 🚨'


@pytest.fixture
def client(site: Site) -> TestClient:
    key = first_admin(site)
    with site.database.write() as db:
        for name in ("loans", "cards"):
            service.apply_spec(site, db, spec(model=name), "tester")
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"})


def opened(site: Site, model: str | None, metric: str = "accuracy") -> UUID:
    with site.database.write() as db:
        about = None if model is None else store.model(db, model).id
        sentence = f"{metric} of {model} is beyond its limit."
        alarm = Alarm("kpi" if model else "system", metric, "", 0.7, 0.8, sentence, "critical")
        return by_clock.open_alert(site, db, about, alarm, site.clock.now(), {}).id


def incident_of(client: TestClient, alert: UUID) -> str:
    found: str = client.get(f"/api/v1/alerts/{alert}").json()["incident_id"]
    return found


def limited(site: Site, model: str) -> TestClient:
    with site.database.write() as db:
        row, key = create_key(
            db, name=f"for {model}", role=Role.OPERATOR, models=[model], actor="tester", now=site.clock.now()
        )
        caller = Caller(row.name, Role.OPERATOR, row.prefix, models=frozenset([model]))
        value = open_session(db, caller, site.keys.session, site.clock.now(), timedelta(hours=1), "key")
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"}, cookies={COOKIE: value})


def test_alerts_of_two_models_are_one_incident_where_both_got_the_same_release(
    site: Site, client: TestClient, clock: ManualClock
) -> None:
    first = opened(site, "loans")
    apart = incident_of(client, opened(site, "cards", "recall"))
    assert apart != incident_of(client, first)  # the same hours are no cause
    related = client.get(f"/api/v1/incidents/{apart}").json()["related"]
    assert [(r["id"], r["cause"]) for r in related] == [(incident_of(client, first), None)]
    client.post(f"/api/v1/incidents/{apart}/resolve")
    with site.database.write() as db:
        for name in ("loans", "cards"):
            deploys.record(site, db, name, "2026.3", clock.now() - timedelta(hours=1), None, "pipeline")
    second = opened(site, "cards")
    assert incident_of(client, second) == incident_of(client, first)
    shown = client.get(f"/api/v1/incidents/{incident_of(client, first)}").json()
    assert set(shown["models"]) == {"loans", "cards"}
    assert "version 2026.3 was deployed to both" in "".join(n["text"] for n in shown["timeline"])
    assert {d["model"] for d in shown["deploys"]} == {"loans", "cards"}
    around = client.get(f"/api/v1/alerts/{second}").json()["around"]
    assert {"deploy", "deploy of another model", "alert of another model"} <= {h["kind"] for h in around}


def test_a_caller_of_one_model_sees_and_acts_on_its_part_alone(site: Site, client: TestClient) -> None:
    first, second = opened(site, "loans"), opened(site, "cards")
    path = f"/api/v1/incidents/{incident_of(client, first)}"
    assert client.post(f"{path}/link", json={"alert": str(second), "note": "same feed"}).status_code == 200
    client.post(f"{path}/comment", json={"text": "the cards feed broke loans too"})
    client.post(f"{path}/post-mortem", json={"cause": "the cards feed"})
    client.post(f"{path}/assign", json={"owner": "ben"})
    mine = limited(site, "cards")
    shown = mine.get(path)
    assert shown.status_code == 200
    body = shown.json()
    assert (body["whole"], body["models"], [a["id"] for a in body["alerts"]]) == (False, ["cards"], [str(second)])
    assert body["headline"] == "accuracy of cards is beyond its limit."
    assert "loans" not in shown.text
    assert body["post_mortem"] is None
    page = mine.get(path.removeprefix("/api/v1"))
    assert page.status_code == 200
    assert "loans" not in page.text
    assert "loans" not in mine.get(f"/alerts/{second}").text
    assert "loans" not in mine.get("/incidents").text + mine.get("/api/v1/incidents").text
    address = f'href="{path.removeprefix("/api/v1")}"'
    assert [address in one.get("/incidents?owner=ben").text for one in (client, mine)] == [True, False]
    found = mine.get("/search", params={"q": "accuracy"}).text
    assert f'href="{path.removeprefix("/api/v1")}"' in found
    assert "loans" not in found
    assert "/incidents/" not in mine.get("/search", params={"q": "of loans"}).text
    for name in ("loans", "cards"):
        assert f'href="{path.removeprefix("/api/v1")}"' in client.get("/search", params={"q": f"of {name}"}).text
    assert mine.get(f"{path}/post-mortems").status_code == 404
    assert mine.post(f"{path}/post-mortem", json={"cause": "x"}).status_code == 404
    assert mine.post(f"{path}/link", json={"alert": str(opened(site, "loans", "recall"))}).status_code == 404
    assert mine.post(f"{path}/resolve").json()["state"] == "resolved"
    assert {a["id"]: a["state"] for a in client.get(path).json()["alerts"]}[str(first)] == "open"
    assert limited(site, "other").get(path).status_code == 404


def test_the_documents_of_one_model_do_not_speak_of_the_others_of_its_incident(
    site: Site, client: TestClient, clock: ManualClock
) -> None:
    first, second = opened(site, "loans"), opened(site, "cards")
    incident = incident_of(client, first)
    client.post(f"/api/v1/incidents/{incident}/link", json={"alert": str(second)})
    client.post(f"/api/v1/incidents/{incident}/comment", json={"text": "the cards feed broke loans too"})
    client.post(f"/api/v1/incidents/{incident}/post-mortem", json={"cause": "the cards feed"})
    clock.move_to(clock.now() + timedelta(hours=1))
    at = {"kind": "other", "aware_at": clock.now().isoformat(), "headline": "x", "description": "y"}
    declared = client.post("/api/v1/models/loans/serious-incidents", json={**at, "incident": incident}).json()
    path, mine = f"/api/v1/models/loans/serious-incidents/{declared['id']}/export", limited(site, "loans")
    assert "accuracy of cards" in client.get(path).text
    assert "cards" not in mine.get(path).text
    since, until = clock.now() - timedelta(days=1), clock.now()
    with site.database.write() as db:
        loans, cards = (store.model(db, name).id for name in ("loans", "cards"))
        row = reports.request(site, db, "cards", "audit", since, until, [], "ann")
        whole = reports.request(site, db, "loans", "incident", None, None, [], "ann", subject=incident)
        db.flush()
        said = gather(site, db, row)
        assert (row.model_id, whole.model_id) == (cards, loans)
        assert [i.headline for i in said.incidents] == ["accuracy of cards is beyond its limit."]
        assert "feed" not in said.model_dump_json()
    shown = f"/reports/{whole.id}"
    assert (client.get(shown).status_code, mine.get(shown).status_code) == (200, 404)


def test_alerts_are_linked_taken_out_and_incidents_merged(site: Site, client: TestClient) -> None:
    first, second, third = opened(site, "loans"), opened(site, "cards"), opened(site, None, "worker_lag")
    mine, other, system = (incident_of(client, a) for a in (first, second, third))
    path = f"/api/v1/incidents/{mine}"
    moved = client.post(f"{path}/link", json={"alert": str(second)}).json()
    assert len(moved["alerts"]) == 2
    left = client.get(f"/api/v1/incidents/{other}").json()
    assert (left["state"], left["alerts"]) == ("resolved", [])
    assert client.post(f"{path}/link", json={"alert": str(second)}).json()["code"] == "incident_link"
    own = client.post(f"{path}/unlink", json={"alert": str(second)}).json()
    assert (own["model"], own["state"], len(own["alerts"])) == ("cards", "open", 1)
    assert client.post(f"{path}/unlink", json={"alert": str(first)}).json()["code"] == "incident_link"
    merged = client.post(f"{path}/merge", json={"incident": own["id"], "note": "one feed"}).json()
    assert (len(merged["alerts"]), merged["merged"]) == (2, [own["id"]])
    assert client.get(f"/api/v1/incidents/{own['id']}").json()["merged_into"] == mine
    assert "It was merged" in client.get(f"/incidents/{own['id']}").text
    assert client.post(f"{path}/merge", json={"incident": mine}).status_code == 409
    assert client.post(f"{path}/merge", json={"incident": system}).json()["models"].count(None) == 1
    kinds = {entry["kind"] for entry in ledger_entries_of(site, ("incident.linked", "incident.merged"))}
    assert kinds == {"incident.linked", "incident.merged"}
    for body in ({}, {"alert": str(first), "run": str(first)}):
        assert client.post(f"{path}/link", json=body).status_code == 422
    for kind in ("run", "deploy", "alert"):
        nobody = "00000000-0000-4000-8000-000000000000"
        assert client.post(f"{path}/link", json={kind: nobody}).status_code == 404


def ledger_entries_of(site: Site, kinds: tuple[str, ...]) -> list[dict[str, object]]:
    with site.database.read() as db:
        return ledger_entries(db, kinds)


def test_deploys_are_linked_by_hand_and_taken_back(site: Site, client: TestClient, clock: ManualClock) -> None:
    incident = incident_of(client, opened(site, "loans"))
    with site.database.write() as db:
        row, _ = deploys.record(site, db, "cards", "v9", clock.now() - timedelta(days=20), None, "pipeline")
        deploy = str(row.id)
    path = f"/api/v1/incidents/{incident}"
    assert client.get(path).json()["deploys"] == []
    linked = client.post(f"{path}/link", json={"deploy": deploy}).json()["deploys"]
    [shown] = linked
    assert limited(site, "loans").get(path).json()["deploys"] == []  # it is of another model
    assert (shown["id"], shown["version"], shown["by"]) == (deploy, "v9", "admin")
    assert client.post(f"{path}/unlink", json={"deploy": deploy}).json()["deploys"] == []
    assert client.post(f"{path}/unlink", json={"deploy": deploy}).status_code == 409


def test_a_post_mortem_keeps_its_versions_and_goes_into_the_incident_file(
    site: Site, client: TestClient, clock: ManualClock
) -> None:
    incident = incident_of(client, opened(site, "loans"))
    path = f"/api/v1/incidents/{incident}"
    first = client.post(f"{path}/post-mortem", json={"happened": HOSTILE, "cause": "a feed"})
    assert (first.status_code, first.json()["version"]) == (201, 1)
    assert client.post(f"{path}/post-mortem", json={"happened": HOSTILE, "cause": "a feed"}).status_code == 422
    assert client.post(f"{path}/post-mortem", json={}).status_code == 422
    second = client.post(f"{path}/post-mortem", json={"happened": HOSTILE, "will_change": "a check"}).json()
    assert [p["version"] for p in client.get(f"{path}/post-mortems").json()["items"]] == [2, 1]
    page = client.get(f"/incidents/{incident}").text
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    digests = {entry["body"]["digest"] for entry in ledger_entries_of(site, ("incident.post_mortem",))}  # type: ignore[index]
    assert digests == {first.json()["digest"], second["digest"]}
    with site.database.write() as db:
        row = serious.declare(
            site,
            db,
            "loans",
            "ann",
            kind="other",
            aware_at=clock.now(),
            headline="x",
            description="y",
            incident_id=UUID(incident),
        )
        db.flush()
        assert serious.export(site, db, row)["post_mortem"]["will_change"] == "a check"
    assert "Running" in client.get(f"/incidents/{incident}").text
    other = incident_of(client, opened(site, "cards"))
    assert client.post(f"/api/v1/incidents/{other}/merge", json={"incident": incident}).status_code == 409


def test_the_lists_filter_sort_and_refuse_what_they_do_not_know(site: Site, client: TestClient) -> None:
    first = opened(site, "loans")
    opened(site, None, "worker_lag")
    assert "2 alerts are not resolved" in client.get("/alerts").text
    assert "accuracy of loans" in client.get("/alerts?model=loans&sort=severity").text
    assert "Nothing matches" in client.get("/alerts?state=resolved").text
    assert client.get("/alerts?colour=red").status_code == 422
    assert "accuracy of loans" in client.get("/incidents?model=loans&severity=critical&since=2000-01-01").text
    assert "Nothing matches" in client.get("/incidents?owner=nobody").text
    assert client.get("/incidents?since=2026-02-31").status_code == 422
    form = {"what": "alert", "target": f"https://assay.example.com/alerts/{first}", "note": HOSTILE}
    other = incident_of(client, opened(site, "cards"))
    assert client.post(f"/incidents/{other}/link", data=form).status_code == 200
    assert "<script>alert" not in client.get(f"/incidents/{other}").text
    assert client.post(f"/incidents/{other}/link", data={"what": "model", "target": "x"}).status_code == 422
    assert client.post(f"/incidents/{other}/link", data={"what": "run", "target": "x"}).status_code == 422
    shown = client.get(f"/alerts/{first}").text
    assert f"/incidents/{other}" in shown
    assert "What to do now" in shown
