"""Page sessions: opened with a key, good for reading, good for changes from our own pages only, gone with the key."""

from datetime import timedelta

import pytest
from fastapi import Response
from fastapi.testclient import TestClient

from api.app import create_app
from api.http.auth import COOKIE
from governance.access.api_keys import create_key, first_admin, revoke_key
from governance.access.roles import Role
from governance.access.sessions import SESSION_LENGTH, session_value
from monitor.site import Site


@pytest.fixture
def prefix(site: Site) -> str:
    first_admin(site)
    with site.database.write() as db:
        row, _ = create_key(db, name="ops", role=Role.ADMIN, actor="admin", now=site.clock.now())
        return row.prefix


def visit(site: Site, prefix: str, *, hours: float = 1) -> TestClient:
    value = session_value(prefix, site.keys.session, site.clock.now() + timedelta(hours=hours))
    return TestClient(create_app(site), cookies={COOKIE: value})


def test_a_session_reads_and_changes_from_its_own_pages(site: Site, prefix: str) -> None:
    browser = visit(site, prefix)
    assert browser.get("/api/v1/models").status_code == 200
    body = {"name": "new", "role": "viewer"}
    assert browser.post("/api/v1/keys", json=body).status_code == 403
    assert browser.post("/api/v1/keys", json=body, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert browser.post("/api/v1/keys", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post("/api/v1/keys", json=body, headers={"Origin": "http://testserver"}).status_code == 201


def test_a_session_ends_with_its_time_and_with_its_key(site: Site, prefix: str) -> None:
    assert visit(site, prefix, hours=-1).get("/api/v1/models").status_code == 401
    browser = visit(site, prefix)
    with site.database.write() as db:
        revoke_key(db, prefix=prefix, actor="admin", now=site.clock.now())
    assert browser.get("/api/v1/models").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(site: Site) -> None:
    from starlette.requests import Request

    from api.http.auth import sign_in, sign_out

    key = first_admin(site)
    assert key is not None
    request = Request(
        {
            "type": "http",
            "scheme": "https",
            "path": "/login",
            "headers": [(b"host", b"a")],
            "server": ("a", 443),
            "query_string": b"",
        }
    )
    response = Response()
    assert sign_in(site, request, response, key).name == "admin"
    cookie = response.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Secure", f"Max-Age={int(SESSION_LENGTH.total_seconds())}"):
        assert word in cookie
    assert key not in cookie
    sign_out(response)


def test_a_person_without_a_session_is_sent_to_the_login_page(site: Site) -> None:
    from typing import Annotated

    from api.http.auth import requires
    from governance.access.roles import Caller, Permission

    app = create_app(site)

    @app.get("/models/x")
    def page(caller: Annotated[Caller, requires(Permission.READ)]) -> None: ...

    browser = TestClient(app, follow_redirects=False)
    answer = browser.get("/models/x", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/models/x")


def test_a_failure_inside_is_a_problem_document_without_its_insides(site: Site) -> None:
    app = create_app(site)

    @app.get("/healthz/broken")
    def broken() -> None:
        raise RuntimeError("the customer's secret")

    answer = TestClient(app, raise_server_exceptions=False).get("/healthz/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
