"""Erasures as a data protection officer asks for them: over HTTP and from the command line, on a running service."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.retrain.erasure.person import traces
from tests.server.conftest import SPEC, event
from tests.service import Service, assay

SUBJECT = "Ada Lovelace"
MARKER = "xylophone"


def send(service: Service, method: str, path: str, key: str | None = None, **options: Any) -> httpx2.Response:
    return httpx2.request(method, service.url + path, headers=service.headers(key), timeout=60, **options)


def filled(service: Service, **more: Any) -> None:
    assert send(service, "PUT", "/api/v1/models/support-intents", json=SPEC | more).status_code == 201
    hers = [event(f"a{i}", text=f"my {MARKER} {i}") for i in range(5)]
    others = [event(f"b{i}", customer=f"Bob {i}") for i in range(5)]
    answer = send(service, "POST", "/api/v1/models/support-intents/events", json=hers + others)
    assert answer.json()["accepted"] == 10, answer.text
    outcomes = [{"event_id": "a1", "intent_true": "card"}, {"event_id": "b1", "intent_true": "card"}]
    assert send(service, "POST", "/api/v1/models/support-intents/outcomes", json=outcomes).json()["accepted"] == 2


def done(service: Service, erasure: str, timeout_s: float = 240) -> dict[str, Any]:
    until = time.monotonic() + timeout_s
    while True:
        found: dict[str, Any] = send(service, "GET", f"/api/v1/erasures/{erasure}").json()
        if found["state"] == "done" or time.monotonic() > until:
            assert found["state"] == "done", found | {"log": service.log_tail()}
            return found
        time.sleep(0.3)


def test_a_person_is_erased_from_a_running_service_and_nothing_of_them_is_left_in_its_home(server: Service) -> None:
    filled(server)
    asked = send(server, "POST", "/api/v1/erasures", json={"subject": SUBJECT})
    assert asked.status_code == 202, asked.text
    assert SUBJECT not in asked.text
    found = done(server, asked.json()["id"])
    (model,) = found["proof"]["models"]
    assert {t["table"]: t["rows_removed"] for t in model["tables"]} == {"events": 5, "outcomes": 1}
    assert found["checkpoint"].startswith("assay.local/ledger\n")
    assert send(server, "GET", "/api/v1/models/support-intents/events/a1").status_code == 404
    assert send(server, "GET", "/api/v1/models/support-intents/events/b1").json()["intent_true"] == "card"
    assert traces(server.home, MARKER, SUBJECT) == [], "with the service running"
    assert SUBJECT not in server.log.read_text()
    server.stop()
    assert traces(server.home, MARKER, SUBJECT) == []
    checked = assay("verify", "--lake", "--home", str(server.home), "--json")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow  # tests/retrain/erasure/test_killed.py kills an erasure at each of its steps
def test_a_service_that_is_killed_in_the_middle_ends_the_erasure_when_it_is_started_again(server: Service) -> None:
    filled(server)
    asked = send(server, "POST", "/api/v1/erasures", json={"subject": SUBJECT}).json()
    server.kill()
    server.start()
    found = done(server, asked["id"])
    assert sum(t["rows_removed"] for t in found["proof"]["models"][0]["tables"]) == 6
    assert traces(server.home, MARKER, SUBJECT) == []


def test_the_command_asks_waits_and_shows_the_proof(start_server: Callable[..., Service], tmp_path: Path) -> None:
    server = start_server()
    filled(server, ack="lake")  # rows in the log of a quiet table are flushed after half a minute, see the first test
    environ = {"ASSAY_CLIENT__URL": server.url, "ASSAY_CLIENT__KEY": server.admin_key}
    whom = tmp_path / "whom"
    whom.write_text(f"{SUBJECT}\n")
    asked = assay("erase", "--subject-file", str(whom), "--wait", "--json", environ=environ)
    assert asked.returncode == 0, asked.stderr
    erasure = json.loads(asked.stdout)
    assert erasure["state"] == "done"
    assert [t["rows_removed"] for t in erasure["proof"]["models"][0]["tables"]] == [5, 1]
    shown = assay("erasures", erasure["id"], environ=environ)
    assert json.loads(shown.stdout)["proof"]["id"] == erasure["id"]
    listed = assay("erasures", environ=environ)
    assert "done" in listed.stdout
    assert assay("erase", environ=environ).returncode == 2
    assert assay("erase", "Ada", "--subject-file", "-", environ=environ).returncode == 2


def test_only_those_who_may_erase_may_ask_and_what_is_asked_is_checked(shared_service: Service) -> None:
    server, keys = shared_service, {}
    for role in ("operator", "approver", "viewer"):
        made = send(server, "POST", "/api/v1/keys", json={"name": role, "role": role}).json()
        keys[role] = made["key"]
    body = {"subject": "nobody"}
    assert send(server, "POST", "/api/v1/erasures", keys["operator"], json=body).status_code == 403
    asked = send(server, "POST", "/api/v1/erasures", keys["approver"], json=body)
    assert asked.status_code == 202
    assert send(server, "GET", "/api/v1/erasures", keys["viewer"]).status_code == 403
    listed = send(server, "GET", "/api/v1/erasures", keys["operator"]).json()["items"]
    assert [item["id"] for item in listed] == [asked.json()["id"]]
    unknown = send(server, "POST", "/api/v1/erasures", json={"subject": "x", "models": ["nope"]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "model_not_found")
    assert send(server, "POST", "/api/v1/erasures", json={"subject": ""}).status_code == 422
    assert send(server, "POST", "/api/v1/erasures", json={"person": "x"}).status_code == 422
    assert send(server, "GET", f"/api/v1/erasures/{'0' * 8}-0000-4000-8000-000000000000").status_code == 404
