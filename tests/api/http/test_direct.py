"""The routes of ingest: middleware sees their requests, the application's handlers answer their errors."""

import json
from collections.abc import Iterator
from typing import Annotated, ClassVar

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import create_app
from api.http.auth import requires
from api.http.direct import DirectRoute
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Caller, Permission, Role
from monitor.ingest.media import JSON, NDJSON, PROTOBUF
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.server.conftest import SPEC, event

EVENTS, OUTCOMES, TRACES = (
    "/api/v1/models/support-intents/events", "/api/v1/models/support-intents/outcomes", "/v1/traces",
)  # fmt: skip


class Stamp:
    """Middleware as an extension would add it: notes each request and puts a header on its answer."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"yes")]
            await send(message)

        if scope["type"] == "http":
            self.seen.append((scope["method"], scope["path"]))
        await self.app(scope, receive, stamped)


@pytest.fixture
def app(site: Site) -> FastAPI:
    return create_app(site)


@pytest.fixture
def client(site: Site, app: FastAPI) -> Iterator[TestClient]:
    app.add_middleware(Stamp)
    headers = {"Authorization": f"Bearer {first_admin(site)}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        assert client.put("/api/v1/models/support-intents", json=SPEC).status_code == 201
        Stamp.seen.clear()
        yield client


@SQLITE_FIRST
def test_middleware_sees_the_requests_that_bring_rows(client: TestClient) -> None:
    answers = [
        client.post(EVENTS, content=json.dumps(event("e1")), headers={"Content-Type": NDJSON}),
        client.post(OUTCOMES, json=[{"event_id": "e1", "intent_true": "x"}]),
        client.post(TRACES, content=b"", headers={"Content-Type": PROTOBUF}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.headers["x-stamp"] for answer in answers] == ["yes"] * 3
    assert Stamp.seen == [("POST", EVENTS), ("POST", OUTCOMES), ("POST", TRACES)]


@SQLITE_FIRST
def test_errors_of_these_routes_are_problem_documents_and_pass_through_middleware(
    site: Site, app: FastAPI, client: TestClient
) -> None:
    with site.database.write() as db:
        _, reader = create_key(db, name="reader", role=Role.VIEWER, actor="tester", now=site.clock.now())

    async def fails(_: Annotated[Caller, requires(Permission.EVENTS_WRITE)], request: Request) -> None:
        raise ZeroDivisionError("a secret")

    app.router.routes.insert(0, DirectRoute("/fails", fails, methods=["POST"]))
    nobody = client.post(EVENTS, json=[event("e1")], headers={"Authorization": "Bearer none"})
    forbidden = client.post(EVENTS, json=[event("e1")], headers={"Authorization": f"Bearer {reader}"})
    unread = client.post(EVENTS, content=b"x", headers={"Content-Type": "text/plain"})
    gone = client.post("/api/v1/models/none/events", json=[event("e1")])
    other = client.delete(EVENTS)
    broken = client.post("/fails")
    answers = [nobody, forbidden, unread, gone, other, broken]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (401, "unauthenticated"), (403, "forbidden"), (415, "unsupported_media_type"), (404, "model_not_found"),
        (405, "method_not_allowed"), (500, "internal"),
    ]  # fmt: skip
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert "secret" not in broken.text


@SQLITE_FIRST
def test_direct_routes_come_first_and_stand_in_the_openapi_document(app: FastAPI) -> None:
    first = app.router.routes[:3]
    assert [route.path for route in first if isinstance(route, APIRoute)] == [
        "/api/v1/models/{model}/events", "/api/v1/models/{model}/outcomes", "/v1/traces",
    ]  # fmt: skip
    assert all(isinstance(route, DirectRoute) for route in first)
    paths = app.openapi()["paths"]
    for route in first:
        assert isinstance(route, DirectRoute)
        assert paths[route.path]["post"]["description"]
        assert JSON in paths[route.path]["post"]["requestBody"]["content"]


def test_a_direct_route_takes_no_other_dependency_than_its_permission() -> None:
    async def endpoint() -> None: ...

    with pytest.raises(TypeError, match="/rows: a direct route has one dependency"):
        DirectRoute("/rows", endpoint, methods=["POST"])
