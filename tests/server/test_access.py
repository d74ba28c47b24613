"""Keys and roles over HTTP, and errors that say what is wrong."""

import httpx2
import pytest

from api.http.auth import COOKIE
from tests.server.conftest import Api, event


@pytest.mark.parametrize("key", [None, "nonsense", "assay_0000000000_" + "0" * 64, "assay__", b"assay_\xe9_x"])
def test_without_a_valid_key_nothing_is_answered(api: Api, key: str | bytes | None) -> None:
    headers = {} if key is None else {b"Authorization": b"Bearer " + (key if isinstance(key, bytes) else key.encode())}
    answer = api.http.get(f"{api.url}/api/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "unauthenticated"


def test_another_scheme_than_bearer_is_refused_by_name(api: Api) -> None:
    answer = api.send("GET", "/api/v1/models", key=None, headers={"Authorization": "Basic YTpi"})
    assert answer.status_code == 401
    assert "Basic" in answer.json()["detail"]


def test_a_key_is_shown_once_does_what_its_role_may_and_nothing_after_it_is_revoked(api: Api) -> None:
    made = api.send("POST", "/api/v1/keys", json={"name": "shop", "role": "producer"})
    assert made.status_code == 201
    key, prefix = made.json()["key"], made.json()["prefix"]
    listed = api.send("GET", "/api/v1/keys")
    assert key not in listed.text
    assert prefix in {item["prefix"] for item in listed.json()["items"]}
    events = "/api/v1/models/support-intents/events"
    assert api.send("POST", events, key=key, json=[event("by-shop")]).status_code == 200
    refused = api.send("GET", f"{events}/by-shop", key=key)
    assert (refused.status_code, refused.json()["role"], refused.json()["permission"]) == (
        403,
        "producer",
        "events.read",
    )
    assert api.send("DELETE", f"/api/v1/keys/{prefix}").status_code == 200
    assert api.send("POST", events, key=key, json=[event("later")]).status_code == 401
    entries = api.send("GET", "/api/v1/ledger/entries", params={"subject": f"key:{prefix}"}).json()["items"]
    assert [(e["kind"], e["actor"]) for e in entries] == [
        ("key.created", "admin"), ("access.denied", "shop"), ("key.revoked", "admin"),
    ]  # fmt: skip
    assert key.rpartition("_")[2] not in str(entries)


def test_the_last_admin_key_cannot_be_revoked(api: Api) -> None:
    prefix = api.key.split("_")[1]
    answer = api.send("DELETE", f"/api/v1/keys/{prefix}")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "n"}, "role"),
        ({"name": "n", "role": "king"}, "role"),
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "n", "role": "viewer", "colour": 1}, "colour"),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(api: Api, body: dict[str, object], field: str) -> None:
    answer = api.send("POST", "/api/v1/keys", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["problems"][0]["field"] == field


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "no_such_path"),
        ("PATCH", "/api/v1/models", 405, "method_not_allowed"),
        ("GET", "/api/v1/models/nobody", 404, "model_not_found"),
        ("GET", "/api/v1/models/support-intents/events/none", 404, "event_not_found"),
        ("GET", "/api/v1/models/support-intents/champion", 404, "no_champion"),
        ("GET", "/api/v1/alerts/00000000-0000-4000-8000-000000000000", 404, "alert_not_found"),
        ("GET", "/api/v1/alerts/not-an-id", 422, "invalid_request"),
        ("GET", "/api/v1/runs/00000000-0000-4000-8000-000000000000", 404, "run_not_found"),
        (
            "GET",
            "/api/v1/models/support-intents/measurements?cursor=00000000-0000-4000-8000-000000000000",
            404,
            "not_found",
        ),
        ("GET", "/api/v1/models/support-intents/windows?from=2026-01-01", 422, "invalid_request"),
        ("GET", "/api/v1/models/support-intents/windows?colour=1", 422, "invalid_request"),
        ("GET", "/api/v1/ledger/proof/inclusion?index=99999", 404, "not_found"),
        ("GET", "/api/v1/ledger/proof/consistency?first=5&second=1", 422, "invalid"),
        ("GET", "/api/v1/ledger/proof/consistency?first=1&second=99999", 422, "invalid"),
        ("DELETE", "/api/v1/keys/unknown", 404, "key_not_found"),
    ],
)
def test_every_error_is_a_problem_document(api: Api, method: str, path: str, status: int, code: str) -> None:
    answer = api.send(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance"} <= answer.json().keys()


def test_the_lists_of_a_new_model_are_empty(api: Api) -> None:
    for name in ("windows", "measurements", "alerts", "runs", "decisions", "versions", "datasets"):
        answer = api.send("GET", f"/api/v1/models/support-intents/{name}")
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["items"] == []


def test_health_is_public_and_metrics_are_not(api: Api) -> None:
    assert api.send("GET", "/healthz", key=None).json() == {"status": "ok"}
    assert api.send("GET", "/readyz", key=None).json() == {"status": "ready"}
    assert api.send("GET", "/metrics", key=None).status_code == 401
    text = api.send("GET", "/metrics").text
    assert 'assay_events{model="support-intents"}' in text
    assert "/api/v1/models/{model}/events" in api.send("GET", "/api/v1/openapi.json").json()["paths"]


def test_a_session_cookie_that_was_tampered_with_is_refused(api: Api) -> None:
    for value in ("x", "x.y", "WyJhIiwgMV0.00"):
        answer = httpx2.get(f"{api.url}/api/v1/models", headers={"Cookie": f"{COOKIE}={value}"})
        assert answer.status_code == 401


def test_an_inclusion_proof_leads_to_the_root_it_names(api: Api) -> None:
    from governance.proof import merkle

    proof = api.send("GET", "/api/v1/ledger/proof/inclusion", params={"index": 0}).json()
    leaf = merkle.leaf_hash(proof["entry"].encode())
    assert leaf.hex() == proof["leaf"]
    entries = api.send("GET", "/api/v1/ledger/entries", params={"limit": 2}).json()
    assert entries["items"][0]["entry"] == proof["entry"]
    assert entries["next"] == "2"
