"""Whatever value stands in a path, a query or a body: the answer is one that the route documents, and never a 5xx."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.http import errors
from core import logs
from governance.access.api_keys import first_admin
from monitor.site import Site
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.server.conftest import SPEC, event

# Percent-encoded, as they stand in an address.
VALUES = {
    "NUL": "a%00b", "long": "x" * 5000, "half of a pair": "%ed%a0%80", "not UTF-8": "%ff", "line break": "a%0Ab",
    "escape": "%1b%5b31m", "negative": "-1", "large": str(10**20), "larger": str(2**63), "digits": "9" * 6000,
    "first moment": "0001-01-01T00:00:00%2B23:59", "last moment": "9999-12-31T23:59:59-23:59", "no day": "2026-13-45",
    "far day": "99999999999-01-01T00:00:00Z", "span": "99999999999d", "infinity": "inf", "not a number": "nan",
    "empty": "", "dots": "..", "slash": "a%2Fb", "percent": "%", "a model": "support-intents",
}  # fmt: skip
IN_BODIES: dict[str, Any] = {
    "NUL": "a\0b", "half of a pair": "\ud800", "long": "x" * 5000, "number": 10**20, "negative": -1, "null": None,
    "first moment": "0001-01-01T00:00:00+23:59", "last moment": "9999-12-31T23:59:59-23:59", "list": [[]], "map": {},
    "far": 10**11, "a model": "support-intents",
}  # fmt: skip
WHOLE_BODIES = {
    "digits": b'{"limit": ' + b"9" * 6000 + b"}", "levels": b"[" * 100_000, "not UTF-8": b'{"a": "\xff"}',
    "NaN": b'{"a": NaN}', "a pair's half as a key": b'{"\\ud800": 1}', "empty": b"", "a list": b"[]",
}  # fmt: skip
DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


@pytest.fixture
def app(site: Site) -> FastAPI:
    return create_app(site)


@pytest.fixture
def client(site: Site, app: FastAPI) -> Iterator[TestClient]:
    headers = {"Authorization": f"Bearer {first_admin(site)}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False, follow_redirects=False) as client:
        assert client.put("/api/v1/models/support-intents", json=SPEC).status_code == 201
        yield client


def operations(app: FastAPI, *methods: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in app.openapi()["paths"].items():
        for method, operation in found.items():
            if method in methods:
                yield method.upper(), path, operation


def address(path: str, operation: dict[str, Any], value: str, *, model: bool) -> str:
    """The path with a value for every parameter; `model`: the name of one that exists stands where one is asked for."""
    query = []
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            known = model and name == "model"
            path = path.replace(f"{{{name}}}", "support-intents" if known else value)
        else:
            query.append(f"{quote(name)}={value}")
    return f"{path}?{'&'.join(query)}" if query else path


def refused(answers: list[tuple[str, int, Any]], app: FastAPI) -> list[str]:
    """Which answers are errors of the service, or of a status that their route does not document."""
    return [f"{what}: {status}" for what, status, known in answers if status >= 500 or str(status) not in known]


@SQLITE_FIRST
def test_no_value_in_an_address_is_an_error_of_the_service(app: FastAPI, client: TestClient) -> None:
    answers = []
    for (method, path, operation), (name, value) in itertools.product(operations(app, "get", "delete"), VALUES.items()):
        answer = client.request(method, address(path, operation, value, model=path != "/api/v1/models/{model}"))
        # A path that is another one by its slash, dots or emptiness is answered as that one is.
        known = {*operation["responses"], "404", "405", "307"}
        answers.append((f"{method} {path} {name}", answer.status_code, known))
    assert refused(answers, app) == []


def fields(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    for part in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        if found := fields(part, components):
            return found
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


@SQLITE_FIRST
def test_no_value_in_a_body_is_an_error_of_the_service(app: FastAPI, client: TestClient) -> None:
    answers = []
    components = app.openapi()["components"]["schemas"]
    for method, path, operation in operations(app, "post", "put"):
        where = address(path, operation, "x", model=True)
        kinds = operation.get("requestBody", {}).get("content", {})
        schema = kinds.get("application/json", {}).get("schema", {})
        names = list(fields(schema, components))
        for name, value in IN_BODIES.items():
            body = json.dumps(dict.fromkeys(names, value)).encode()
            answer = client.request(method, where, content=body, headers={"Content-Type": "application/json"})
            answers.append((f"{method} {path} {name}", answer.status_code, operation["responses"]))
        for name, body in WHOLE_BODIES.items():
            answer = client.request(method, where, content=body, headers={"Content-Type": "application/json"})
            answers.append((f"{method} {path} {name}", answer.status_code, operation["responses"]))
    assert refused(answers, app) == []


@SQLITE_FIRST
def test_the_answer_to_a_name_that_is_no_text_can_be_sent(client: TestClient) -> None:
    answer = client.post("/api/v1/mutes", content=WHOLE_BODIES["a pair's half as a key"],
                         headers={"Content-Type": "application/json"})  # fmt: skip
    assert answer.status_code == 422
    assert answer.headers["content-type"] == errors.MEDIA_TYPE


UNFIT = ("a\0b", "\x1b[2J", "\u0085", "\x7f")


def on_postgresql(first: str, *rest: str) -> pytest.MarkDecorator:
    """All of them on SQLite, the first on PostgreSQL, whose other cases are left to `make test-all`."""
    cases = [pytest.param("sqlite", value, id=f"sqlite-{value!a}") for value in (first, *rest)]
    cases.append(pytest.param("postgresql", first, id=f"postgresql-{first!a}"))
    cases += [pytest.param("postgresql", v, id=f"postgresql-{v!a}", marks=pytest.mark.slow) for v in rest]
    return pytest.mark.parametrize(("database_url", "value"), cases, indirect=["database_url"])


@on_postgresql(*UNFIT)
def test_a_control_character_in_a_name_is_refused_with_its_place(client: TestClient, value: str) -> None:
    """On both databases alike: PostgreSQL alone would refuse NUL, and only when the row is written."""
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/api/v1/keys", {"name": value, "role": "viewer"}),
        ("/api/v1/models/support-intents/deploys", {"version": value}),
        ("/api/v1/mutes", {"model": "support-intents", "reason": value, "until": "2026-02-01T00:00:00Z"}),
    ]
    for path, body in bodies:
        answer = client.post(path, json=body)
        assert (answer.status_code, "control character U+00" in answer.text) == (422, True), answer.text
    named = {"name": value, "role": "train"}
    answer = client.post("/api/v1/models/support-intents/datasets", params=named, content=b"PAR1",
                         headers={"Content-Type": "application/vnd.apache.parquet"})  # fmt: skip
    assert answer.status_code == 422
    form = {"reason": value, "from": "2026-01-01", "to": "2026-01-02"}
    assert client.post("/models/support-intents/runs", data=form).status_code in (403, 422)


@on_postgresql("event_id", "version", "trace_id", "intent", "customer")
def test_a_row_with_a_control_character_in_a_name_is_rejected_with_its_reason(client: TestClient, value: str) -> None:
    rows = [event("e1", ts="2026-01-04T12:00:00Z"), event("e2", ts="2026-01-04T12:00:00Z") | {value: "a\0b"},
            event("e3", ts="2026-01-04T12:00:00Z", text="a form feed \f and NUL \0 in a text"),
            event("e4", ts="2026-01-04T12:00:00Z") | ({} if value == "event_id" else {value: "a\tb\nc"})]  # fmt: skip
    for body in (rows, rows * 20):  # the small reader, and that of columns
        answer = client.post("/api/v1/models/support-intents/events", json=body).json()
        assert {(r["field"], "control character" in r["reason"]) for r in answer["rejected"]} == {(value, True)}
        assert answer["rejected_total"] == len(body) // 4
    assert client.get("/api/v1/models/support-intents/events/e3").json()["text"].endswith("\0 in a text")


@SQLITE_ONLY
def test_the_log_of_an_error_of_the_service_has_no_value_of_the_user(
    site: Site, app: FastAPI, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")

    @app.get("/fails/{name}")
    def fails(name: str) -> None:
        try:
            int(name)
        except ValueError as error:
            raise RuntimeError(f"{name} is no number") from error

    try:
        with TestClient(app, raise_server_exceptions=False) as client:
            answer = client.get("/fails/Ada-Lovelace")
    finally:
        structlog.reset_defaults()
    printed = capfd.readouterr().err
    assert answer.status_code == 500
    assert "Lovelace" not in printed
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    [told] = [line for line in lines if line["event"] == "unhandled error"]
    assert (told["route"], told["error"], told["after"]["error"]) == ("/fails/{name}", "RuntimeError", "ValueError")
    assert any("test_hostile_values.py" in place for place in told["places"])


@SQLITE_FIRST
def test_a_report_that_is_not_built_yet_is_a_conflict_and_no_fault_of_the_service(client: TestClient) -> None:
    period = {"from": "2026-01-04T00:00:00Z", "to": "2026-01-05T00:00:00Z"}
    asked = client.post("/api/v1/models/support-intents/reports", json=period)
    assert asked.status_code == 202, asked.text
    answer = client.get(f"/api/v1/reports/{asked.json()['id']}.pdf")
    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "report_not_ready", "queued")


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("mutes", {"model": "x" * 300_000, "reason": "r"}, None),
        ("models/support-intents/reports", {"kind": "x" * 300_000, **DAY}, "kind"),
        ("models/support-intents/reports", {"regimes": ["x" * 300_000], **DAY}, "regimes.0"),
        ("keys", {"name": "a\0b", "role": "viewer"}, "name"),
        ("models/support-intents/reports", {"regimes": ["a\0b"], **DAY}, "regimes[0]"),
    ],
)  # fmt: skip
def test_an_answer_names_the_field_and_quotes_little(
    client: TestClient, path: str, body: Any, field: str | None
) -> None:
    answer = client.post(f"/api/v1/{path}", json=body)
    found = answer.json()
    assert answer.status_code in (404, 422)
    assert len(answer.content) < 10_000
    assert field is None or field in (found.get("field"), found.get("problems", [{}])[0].get("field"))
