"""Every route, role and scope against the tables of docs/security.md, where two models have everything."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import JSON, BigInteger, Boolean, Float

from api.app import create_app
from core.db import Base
from governance.access.api_keys import create_key
from governance.access.roles import Role
from governance.access.signers import Signer
from governance.policy.changes import ask
from governance.tables import Erasure
from monitor import service, store
from monitor.alerts import by_clock
from monitor.alerts.headlines import Alarm
from monitor.notify.tables import Maintenance, OutboxMessage
from monitor.site import Site
from monitor.tables import Dataset, Mute, Window
from reports.tables import Report, ReportSchedule
from retrain.tables import Run, TriggerDecision
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import spec

pytestmark = SQLITE_FIRST
OWN, OTHER = "loans", "cards"
SCOPES: Mapping[str, list[str] | None] = {"all": None, "one": [OWN], "none": []}
PAGE = Path("docs/security.md")
REFUSED = {"forbidden", "not_in_scope", "scope_too_small", "outside_scope", "unauthenticated"}
ROLES = re.compile(r"^\| `([a-z.]+)` \| ([a-z, ]+) \|$", re.MULTILINE)
ROUTES = re.compile(r"^\| ([A-Z]+) \| `(/\S*)` \| (?:`([a-z.]+)`|none) \| ([a-z -]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class World:
    app: Any
    keys: Mapping[tuple[str, str], str]  # by role and scope
    ids: Mapping[str, Mapping[str, UUID]]  # by model and part of an address


def row(table: type[Base], **known: Any) -> Any:
    """A row with something in every column that needs it."""
    found = dict(known)
    for column in table.__table__.columns:
        if column.name in found or column.nullable or column.default is not None:
            continue
        kind = column.type
        found[column.name] = (
            [] if isinstance(kind, JSON) else False if isinstance(kind, Boolean) else 0.0 if isinstance(kind, Float)
            else 1 if isinstance(kind, BigInteger) else "x"
        )  # fmt: skip
    return table(**found)


def furnish(site: Site, name: str) -> dict[str, UUID]:
    """Something of every kind that belongs to a model."""
    now = site.clock.now()
    later = now + timedelta(days=1)
    with site.database.write() as db:
        service.apply_spec(site, db, spec(model=name), "tester")
        model = store.model(db, name).id
        reference = store.newest_reference(db, model)
        assert reference is not None
        alarm = Alarm("kpi", "accuracy", "", 0.7, 0.8, "accuracy is beyond its limit.", "critical")
        alert = by_clock.open_alert(site, db, model, alarm, now, {})
        decision = row(TriggerDecision, model_id=model, at=now)
        db.add(decision)
        db.flush()
        window = row(
            Window, model_id=model, baseline_id=reference.id, from_ts=now, to_ts=later, closed_at=now,
            decision={"judged": True, "verdict": "ok"}, refreshed_at=now, verdict="ok", spec_revision=1,
        )  # fmt: skip
        made = {
            "window_id": window,
            "run_id": row(Run, model_id=model, decision_id=decision.id, state="failed", created_at=now),
            "report_id": row(Report, model_id=model, period_from=now, period_to=later, state="queued", created_at=now),
            "dataset_id": row(
                Dataset, model_id=model, name="set", role="train", digest=f"sha256:{name}", created_at=now
            ),
            "schedule_id": row(
                ReportSchedule, model_id=model, kind="audit", every="month", cron="0 6 1 * *", zone="UTC",
                created_at=now,
            ),
            "mute_id": row(Mute, model_id=model, until=later, created_at=now),
            "maintenance_id": row(Maintenance, model_id=model, from_ts=now, to_ts=later, created_at=now),
            "message_id": row(
                OutboxMessage, thread=name, severity="warning", state="dead", run_at=now, created_at=now,
                items=[{"model": name}],
            ),
            "erasure_id": row(Erasure, models=[name], subject=name, state="done", requested_at=now),
        }  # fmt: skip
        db.add_all(made.values())
        db.flush()
        ids = {part: one.id for part, one in made.items()}
        return ids | {"alert_id": alert.id, "incident_id": alert.incident_id}


@pytest.fixture
def world(site: Site) -> World:
    ids = {name: furnish(site, name) for name in (OWN, OTHER)}
    keys = {}
    with site.database.write() as db:
        for role in Role:
            for scope, models in SCOPES.items():
                name = f"{role.value}-{scope}"
                _, keys[role.value, scope] = create_key(
                    db, name=name, role=role, models=models, actor="tester", now=site.clock.now()
                )
    return World(create_app(site), keys, ids)


def address(path: str, model: str, ids: Mapping[str, UUID]) -> str:
    def filled(found: re.Match[str]) -> str:
        part = found[1]
        if part in ids:
            return str(ids[part])
        return {"model": model, "name": model, "index": "0", "kind": "pdf", "version": "base"}.get(part, str(uuid4()))

    return re.sub(r"\{(\w+)(?::\w+)?\}", filled, path)


def request_of(method: str, path: str, key: str) -> dict[str, Any]:
    sent: dict[str, Any] = {"method": method, "url": path, "headers": {"Authorization": f"Bearer {key}"}}
    if method in ("GET", "DELETE"):
        return sent
    page = not path.startswith(("/api", "/v1"))
    sent["headers"]["Content-Type"] = "application/x-www-form-urlencoded" if page else "application/json"
    return sent | {"content": b"" if page else b"{}"}


def send(client: TestClient, method: str, path: str, key: str) -> Any:
    return client.request(**request_of(method, path, key))


def code_of(answer: Any) -> str:
    """The code of a refusal, also where a page or a google.rpc.Status says it."""
    if answer.status_code < 400:
        return ""
    if str(answer.url.path).startswith("/v1/"):
        return {403: "forbidden", 401: "unauthenticated"}.get(answer.status_code, "")
    if "json" in answer.headers["content-type"]:
        return str(answer.json().get("code", ""))
    return next((c for c in ("not_in_scope", "scope_too_small", "forbidden") if c in answer.text), "")


def expected(path: str, reach: str, scope: str, own: bool, method: str) -> str:
    if path == "/ledger/{index}" and scope == "none":  # entry 0 is about the model of scope `one`
        return "not_in_scope"
    if scope == "all" or reach in ("service", "listed"):
        return ""
    if reach == "all models":
        return "scope_too_small"
    if scope == "one" and own:
        return ""
    return "outside_scope" if method == "PUT" else "not_in_scope"


def questions(page: str, world: World, *, every: bool) -> Iterator[tuple[dict[str, Any], str, str]]:
    """What is asked, the right code of refusal, and its name: all, or what no other question stands for."""
    roles = {permission: set(names.split(", ")) for permission, names in ROLES.findall(page)}
    for method, path, permission, reach in ROUTES.findall(page):
        for (role, scope), key in world.keys.items() if permission else ():
            whole = every or role == "admin"
            if not whole and scope != "one":
                continue
            for model in (OWN, OTHER) if reach == "model" and scope == "one" and whole else (OTHER,):
                allowed = role in roles[permission]
                right = expected(path, reach, scope, model == OWN, method) if allowed else "forbidden"
                asked = request_of(method, address(path, model, world.ids[model]), key)
                yield asked, right, f"{method} {path} {role} {scope} {model}"


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_routes_roles_and_scopes_are_as_the_page_says(world: World, *, every: bool) -> None:
    world.app.state.denials = dict.fromkeys(range(1000), float("inf"))  # what is denied need not be recorded here
    wrong, asked, asking = [], 0, list(questions(PAGE.read_text(), world, every=every))

    async def ask() -> None:
        nonlocal asked
        transport = httpx2.ASGITransport(world.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            for request, right, name in asking:
                answer = await client.request(**request)
                found, asked = code_of(answer), asked + 1
                if (found if found in REFUSED else "") != right:
                    wrong.append(f"{name}: {answer.status_code} {found}, not {right}")

    asyncio.run(ask())
    assert wrong == []
    assert asked > (4000 if every else 1000)


def test_lists_hold_what_is_in_scope_and_an_id_from_elsewhere_answers_as_none_at_all(site: Site, world: World) -> None:
    client = TestClient(world.app)
    key = world.keys["admin", "one"]
    for path in ("alerts", "incidents", "mutes", "maintenance", "outbox", "erasures", "models", "ledger/entries"):
        answer = send(client, "GET", f"/api/v1/{path}", key)
        assert answer.status_code == 200
        assert answer.json()["items"], path
        assert OTHER not in answer.text.replace("discards", "").replace("_cards", ""), path
    for path in ("alerts", "incidents"):
        assert send(client, "GET", f"/api/v1/{path}?model={OTHER}", key).json()["code"] == "not_in_scope"
        assert send(client, "GET", f"/api/v1/{path}", world.keys["admin", "none"]).json()["items"] == []
    assert OTHER not in send(client, "GET", "/", key).text
    for part, path in (
        ("alert_id", "alerts"),
        ("run_id", "runs"),
        ("report_id", "reports"),
        ("incident_id", "incidents"),
    ):
        other, none = world.ids[OTHER][part], uuid4()
        answers = [send(client, "GET", f"/api/v1/{path}/{i}", key) for i in (other, none)]
        assert answers[0].status_code == answers[1].status_code == 404
        said = [a.json()["detail"].replace(str(i), "ID") for a, i in zip(answers, (other, none), strict=True)]
        assert said[0] == said[1]
    declared = [
        client.post(f"/api/v1/models/{OWN}/serious-incidents", headers={"Authorization": f"Bearer {key}"}, json={
            "kind": "other", "headline": "h", "description": "d", "aware_at": "2025-01-01T00:00:00Z", "incident": str(i)
        }).json() for i in (world.ids[OTHER]["incident_id"], uuid4())
    ]  # fmt: skip
    assert [found["code"] for found in declared] == ["incident_not_found"] * 2
    for spelt in (str(world.ids[OTHER]["alert_id"]).upper(), world.ids[OTHER]["alert_id"].hex, "x"):
        assert send(client, "GET", f"/api/v1/alerts/{spelt}", key).json()["code"] == "not_in_scope"


def test_the_ledger_of_a_scope_has_its_changes_and_its_erasures(site: Site, world: World) -> None:
    boss = TestClient(world.app, headers={"Authorization": f"Bearer {world.keys['admin', 'all']}"})
    eye = TestClient(world.app, headers={"Authorization": f"Bearer {world.keys['compliance', 'one']}"})
    with site.database.write() as db:
        for model in (OWN, OTHER):
            ask(db, model, {"model": model}, "sha256:0", (), Signer("tester"), needed=1, now=site.clock.now())
    for subject, models in (("a", [OWN]), ("b", [OTHER]), ("c", [OWN, OTHER])):
        assert boss.post("/api/v1/erasures", json={"subject": subject, "models": models}).status_code == 202
    for kind, own, known in (("change.asked", 1, 2), ("erasure.requested", 1, 3)):
        found = [c.get(f"/api/v1/ledger/entries?kind={kind}").json()["items"] for c in (eye, boss)]
        assert [len(items) for items in found] == [own, known]
        assert {e["body"].get("model", OWN) for e in found[0]} == {OWN}
        for entry in found[1]:
            asked = eye.get("/api/v1/ledger/proof/inclusion", params={"index": entry["index"]})
            assert (asked.json().get("code") == "not_in_scope") is (entry not in found[0])


def test_bodies_that_name_a_model_are_held_to_the_scope(world: World) -> None:
    client = TestClient(world.app, headers={"Authorization": f"Bearer {world.keys['admin', 'one']}"})
    later = "2026-01-06T00:00:00Z"
    for path, body in (
        ("mutes", {"reason": "x", "until": later}), ("maintenance", {"reason": "x", "to": later}),
        ("erasures", {"subject": "s"}),
    ):  # fmt: skip
        for model in (OTHER, None):
            named: dict[str, Any] = {"models": [model] if model else []} if path == "erasures" else {"model": model}
            assert client.post(f"/api/v1/{path}", json=body | named).json()["code"] == "not_in_scope", path
        named = {"models": [OWN]} if path == "erasures" else {"model": OWN}
        assert client.post(f"/api/v1/{path}", json=body | named).status_code in (201, 202), path
    made = client.put("/api/v1/models/new", content=b"model: new", headers={"Content-Type": "application/yaml"})
    assert made.json()["code"] == "outside_scope"


def test_a_right_that_ends_ends_with_the_answer(site: Site, world: World) -> None:
    boss = TestClient(world.app, headers={"Authorization": f"Bearer {world.keys['admin', 'all']}"})
    made = boss.post("/api/v1/keys", json={"name": "eye", "role": "viewer", "models": [OWN]}).json()
    client = TestClient(world.app, headers={"Authorization": f"Bearer {made['key']}"})
    assert [m["name"] for m in client.get("/api/v1/models").json()["items"]] == [OWN]
    assert boss.patch(f"/api/v1/keys/{made['prefix']}", json={"models": [OTHER]}).json()["models"] == [OTHER]
    assert [m["name"] for m in client.get("/api/v1/models").json()["items"]] == [OTHER]
    assert boss.patch(f"/api/v1/keys/{made['prefix']}", json={"role": "producer"}).status_code == 200
    assert client.get("/api/v1/models").status_code == 403
    turned = boss.post(f"/api/v1/keys/{made['prefix']}/rotate", json={}).json()
    assert client.get("/api/v1/models").status_code == 401
    client.headers["Authorization"] = f"Bearer {turned['key']}"
    assert client.get("/api/v1/models").status_code == 403
    assert boss.delete(f"/api/v1/keys/{made['prefix']}").status_code == 200
    assert client.get("/api/v1/models").status_code == 401
