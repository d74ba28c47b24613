"""`assay people` and what `assay keys` does about roles, scopes and secrets; the page of people."""

import csv
import json
import re
from collections.abc import Callable

import httpx2
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.service import Service, assay

DONE = 0


def test_people_are_declared_given_rights_reviewed_and_disabled(start_server: Callable[..., Service]) -> None:
    service = start_server()
    known = {"ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key}

    def cli(*words: str, code: int = DONE) -> str:
        done = assay(*words, environ=known)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout if code == DONE else done.stderr

    assert cli("people", "list") == "Nobody is declared; `assay people add` does so.\n"
    said = cli("people", "add", "ada", "--role", "operator", "--model", "loans", "--name", "Ada Lovelace")
    assert said == "ada is declared, operator for loans.\n"
    password = cli("people", "reset-password", "ada").splitlines()[0]
    page = httpx2.post(f"{service.url}/login", data={"person": "ada", "password": password})
    assert "Set up your sign-in, ada" in page.text
    assert cli("people", "role", "ada", "compliance") == "ada is in force, compliance for loans.\n"
    assert cli("people", "scope", "ada", "--all") == "ada is in force, compliance for all models.\n"
    assert "give one of --model" in cli("people", "scope", "ada", code=2)
    key = json.loads(cli("keys", "create", "cli", "--role", "viewer", "--owner", "ada", "--expires", "90d", "--json"))
    assert httpx2.get(f"{service.url}/api/v1/models", headers={"Authorization": f"Bearer {key['key']}"}).is_success
    assert cli("keys", "scope", key["prefix"], "--model", "loans") == f"{key['prefix']} (cli) is viewer for loans.\n"
    assert "approver for loans" in cli("keys", "role", key["prefix"], "approver")
    for option in ("--overlap", "--expires"):
        assert f"{option}: '1 hour' is not a duration" in cli("keys", "rotate", key["prefix"], option, "1 hour", code=2)
    assert "lie outside the calendar" in cli("keys", "rotate", key["prefix"], "--expires", "99999999d", code=2)
    turned = cli("keys", "rotate", key["prefix"], "--overlap", "1h")
    assert "The old secret opens until" in turned
    for secret in (key["key"], turned.splitlines()[0]):
        assert httpx2.get(f"{service.url}/api/v1/models", headers={"Authorization": f"Bearer {secret}"}).is_success
    review = list(csv.DictReader(cli("people", "review", "--csv").splitlines()))
    mine = {line["id"]: line for line in review}
    assert (mine["ada"]["role"], mine["ada"]["models"], mine["ada"]["rights_by"]) == ("compliance", "*", "admin")
    assert (mine[key["prefix"]]["person"], mine[key["prefix"]]["models"]) == ("ada", "loans")
    assert mine[key["prefix"]]["last_used_at"]
    assert "disabled" in cli("people", "disable", "ada")
    refused = httpx2.get(f"{service.url}/api/v1/models", headers={"Authorization": f"Bearer {turned.split()[0]}"})
    assert refused.status_code == 401
    here = assay("people", "reset-password", "ada", "--here", "--home", str(service.home), "--json")
    given = json.loads(here.stdout)
    assert (given["person"], given["hours"]) == ("ada", 72)
    assert "no person" in assay("people", "reset-password", "eve", "--here", "--home", str(service.home)).stderr


@SQLITE_FIRST
def test_the_page_shows_people_and_keys_and_lets_an_admin_change_them(site: Site) -> None:
    with site.database.write() as db:
        _, boss = create_key(db, name="boss", role=Role.ADMIN, actor="tester", now=site.clock.now())
        _, eye = create_key(db, name="eye", role=Role.COMPLIANCE, actor="tester", now=site.clock.now())
        _, one = create_key(db, name="one", role=Role.ADMIN, models=["loans"], actor="tester", now=site.clock.now())
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {boss}"}, follow_redirects=True)
    assert client.post("/people", data={"id": "ada", "role": "viewer", "models": "loans cards"}).status_code == 200
    page = client.post("/people/ada/password").text
    assert re.search(r"<code>\w{5}-\w{5}-\w{5}-\w{5}</code>", page)
    page = client.post("/people/ada/rights", data={"role": "validator", "models": "*"}).text
    assert "validator" in page
    made = client.post("/keys", data={"name": "cli", "role": "viewer", "models": "", "owner": "ada"}).text
    assert "assay_" in made
    assert "ada" in client.get("/people").text
    assert "disabled" in client.post("/people/ada/disable").text
    assert "in force" in client.post("/people/ada/enable").text
    assert client.post("/people", data={"id": "eve", "role": "boss", "models": ""}).status_code == 422
    reader = TestClient(client.app, headers={"Authorization": f"Bearer {eye}"})
    shown = reader.get("/people").text
    assert "boss" in shown
    assert "Create a key" not in shown
    assert reader.post("/people", data={"id": "eve", "role": "admin", "models": "*"}).status_code == 403
    assert TestClient(client.app, headers={"Authorization": f"Bearer {one}"}).get("/people").status_code == 403
    lines = reader.get("/api/v1/people/review").json()["items"]
    assert {line["id"]: line["state"] for line in lines if line["kind"] == "person"} == {"ada": "in force"}
