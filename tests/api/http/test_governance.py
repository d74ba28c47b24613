"""The stop switch over HTTP, on the page and at the command line."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from core.clock import ManualClock
from core.errors import InvalidError
from governance.access.api_keys import first_admin
from governance.access.signers import Signer
from governance.policy import changes
from governance.policy.approvals import LASTS
from governance.tables import ChangeRequest
from monitor.site import Site
from monitor.spec.parse import parse_spec
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
    page = client.get("/models/router/governance").text
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
    assert "everything was refused" in client.get("/models/router/governance").text
    assert client.post("/api/v1/models/none/stop/drill").status_code == 404


LOOSE = {**SPEC, "monitors": {**SPEC["monitors"], "kpi": [{"metric": "accuracy", "min": 0.7}]}}
TIGHT = {**SPEC, "monitors": {**SPEC["monitors"], "kpi": [{"metric": "accuracy", "min": 0.9}]}}
PUT = "/api/v1/models/router"


def kpi_limit(client: TestClient) -> float:
    found: float = client.get(PUT).json()["spec"]["monitors"]["kpi"][0]["min"]
    return found


def agree(client: TestClient, change: str, who: dict[str, str], what: str = "approve") -> Any:
    return client.post(f"{PUT}/changes/{change}/{what}", json={"reason": "looked at it"}, headers=who)


def test_a_loosened_limit_of_a_high_risk_model_waits_for_another_person(client: TestClient) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    same = key(client, "ann approves", "approver", "ANN")
    dry = client.put(PUT, json=LOOSE, params={"dry_run": "true"}, headers=ann).json()
    assert (dry["outcome"], dry["loosened"][0]["field"]) == ("waits", "monitors.kpi[accuracy].min")
    assert client.get(f"{PUT}/changes").json()["items"] == []
    asked = client.put(PUT, json=LOOSE, headers=ann)
    assert asked.status_code == 202
    waits = asked.json()
    assert (waits["outcome"], waits["revision"], waits["needed"], kpi_limit(client)) == ("waits", 1, 1, 0.8)
    assert client.put(PUT, json=LOOSE, headers=ann).json()["change"] == waits["change"]  # asked for once
    assert agree(client, waits["change"], ann).status_code == 403
    refused = agree(client, waits["change"], same)
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_refused")
    assert "Loosens monitors.kpi[accuracy].min" in client.get("/models/router/governance").text
    done = agree(client, waits["change"], bob).json()
    assert (done["state"], done["by"], kpi_limit(client)) == ("applied", ["Bob (key bob)"], 0.7)
    assert agree(client, waits["change"], bob).json()["code"] == "change_state"


def test_a_tightened_limit_is_in_force_at_once_and_a_change_of_before_is_outdated(client: TestClient) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    change = client.put(PUT, json=LOOSE, headers=ann).json()["change"]
    tightened = client.put(PUT, json=TIGHT, headers=ann)
    assert (tightened.status_code, kpi_limit(client)) == (200, 0.9)
    assert agree(client, change, bob).json()["code"] == "change_state"
    assert client.get(f"{PUT}/changes/{change}").json()["state"] == "outdated"
    assert kpi_limit(client) == 0.9


def test_a_lower_tier_is_a_loosening_too(client: TestClient) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    change = client.put(PUT, json=SPEC | {"risk": "minimal"}, headers=ann).json()["change"]
    assert agree(client, change, bob, "reject").json()["state"] == "rejected"
    assert client.get(PUT).json()["spec"]["risk"] == "high"
    assert agree(client, change, bob).status_code == 409


def test_of_a_model_without_the_tier_a_loosening_is_in_force_at_once_and_recorded(client: TestClient) -> None:
    other = {**SPEC, "model": "minor", "risk": "limited"}
    client.put("/api/v1/models/minor", json=other).raise_for_status()
    loose = {**LOOSE, "model": "minor", "risk": "limited"}
    assert client.put("/api/v1/models/minor", json=loose).status_code == 200
    found = client.get("/api/v1/ledger/entries", params={"kind": "model.spec"}).json()["items"]
    assert found[-1]["body"]["loosened"] == ["monitors.kpi[accuracy].min"]


def test_a_spec_that_raises_the_tier_and_loosens_waits_by_the_higher_one(client: TestClient) -> None:
    minor = "/api/v1/models/minor"
    client.put(minor, json={**SPEC, "model": "minor", "risk": "limited"}).raise_for_status()
    assert client.put(minor, json={**LOOSE, "model": "minor"}).json()["outcome"] == "waits"
    raised = client.put(minor, json={**SPEC, "model": "minor"})  # only stricter
    assert (raised.status_code, raised.json()["revision"]) == (200, 2)


def test_what_was_asked_for_without_a_name_nobody_can_approve(client: TestClient) -> None:
    change = client.put(PUT, json=LOOSE).json()["change"]  # the first admin key has no owner
    refused = agree(client, change, key(client, "bob", "approver", "Bob"))
    assert "admin asked for change" in refused.json()["detail"]
    assert "has no declared owner" in refused.json()["detail"]


def test_a_long_reason_is_refused_and_never_cut(client: TestClient, site: Site) -> None:
    change = client.put(PUT, json=LOOSE, headers=key(client, "ann", "operator", "Ann")).json()["change"]
    with site.database.write() as db:
        row, bob = changes.change(db, "router", UUID(change)), Signer("bob", "b", ("Bob",))
        for decide in (partial(changes.approve, base=row.base), changes.reject):
            with pytest.raises(InvalidError, match="reason has 1001 characters"):
                decide(db, row, bob, "x" * 1001, site.clock.now())


def test_a_change_expires_and_so_does_an_approval(client: TestClient, clock: ManualClock, site: Site) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    change = client.put(PUT, json=LOOSE, headers=ann).json()["change"]
    clock.move_to(clock.now() + LASTS)
    assert "expired" in agree(client, change, bob).json()["detail"]
    assert client.get(f"{PUT}/changes/{change}").json()["state"] == "expired"
    again = client.put(PUT, json=LOOSE, headers=ann).json()["change"]
    assert again != change
    assert agree(client, again, bob).json()["state"] == "applied"


@pytest.mark.parametrize(
    "what", [{"needed": 0}, {"expires_at": datetime(2030, 1, 1, tzinfo=UTC)}, {"state": "waiting"}]
)
def test_a_change_that_was_made_easier_to_agree_to_is_not_applied(
    client: TestClient, site: Site, what: dict[str, Any]
) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    change = client.put(PUT, json=LOOSE, headers=ann).json()["change"]
    if "state" in what:
        agree(client, change, bob, "reject").raise_for_status()
    with site.database.write() as db:
        db.execute(update(ChangeRequest).values(**what))
    assert agree(client, change, bob).json()["code"] == "integrity_failure"
    assert client.get(f"{PUT}/changes/{change}").json()["state"] == "tampered"
    assert kpi_limit(client) == 0.8
    again = client.put(PUT, json=LOOSE, headers=ann).json()["change"]
    assert agree(client, again, bob).json()["state"] == "applied"


def test_a_change_whose_row_was_changed_is_not_applied(client: TestClient, site: Site) -> None:
    ann, bob = key(client, "ann", "operator", "Ann"), key(client, "bob", "approver", "Bob")
    change = client.put(PUT, json=LOOSE, headers=ann).json()["change"]
    looser = {**LOOSE, "monitors": {**SPEC["monitors"], "kpi": []}}
    with site.database.write() as db:
        row = db.get_one(ChangeRequest, UUID(change))
        row.document = parse_spec(looser).document
        row.digest = parse_spec(looser).digest
    assert agree(client, change, bob).json()["code"] == "integrity_failure"
    assert client.get(f"{PUT}/changes").json()["items"][0]["state"] == "tampered"
    assert kpi_limit(client) == 0.8
