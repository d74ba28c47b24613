"""Page sessions: good for reading, for changes from our own pages only, and over at once when they end."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.app import create_app
from api.http.auth import COOKIE
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin, revoke_key
from governance.access.roles import Role
from governance.ledger.read import ledger_entries
from monitor.site import Site
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST

ORIGIN = {"Origin": "http://testserver"}


@pytest.fixture
def key(site: Site) -> str:
    first_admin(site)
    with site.database.write() as db:
        return create_key(db, name="ops", role=Role.ADMIN, actor="admin", now=site.clock.now())[1]


def visit(site: Site, key: str) -> TestClient:
    browser = TestClient(create_app(site), follow_redirects=False)
    assert browser.post("/login", data={"key": key}).status_code == 303
    return browser


def reads(browser: TestClient) -> int:
    return browser.get("/api/v1/models").status_code


def later(site: Site, **by: float) -> None:
    assert isinstance(site.clock, ManualClock)
    site.clock.move_to(site.clock.now() + timedelta(**by))


def test_a_session_reads_and_changes_from_its_own_pages(site: Site, key: str) -> None:
    browser = visit(site, key)
    assert reads(browser) == 200
    body = {"name": "new", "role": "viewer"}
    assert browser.post("/api/v1/keys", json=body).status_code == 403
    assert browser.post("/api/v1/keys", json=body, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert browser.post("/api/v1/keys", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post("/api/v1/keys", json=body, headers=ORIGIN).status_code == 201


def test_a_cookie_kept_from_before_opens_nothing_after_logout(site: Site, key: str) -> None:
    browser, other = visit(site, key), visit(site, key)
    cookie = browser.cookies[COOKIE]
    assert browser.post("/logout").status_code == 303
    assert COOKIE not in browser.cookies
    thief = TestClient(create_app(site), cookies={COOKIE: cookie})
    assert reads(thief) == 401
    assert reads(other) == 200  # another browser's session goes on
    with site.database.write() as db:
        db.execute(text("update page_session set ended_at = null"))
    assert reads(thief) == 401  # the ledger says that it ended
    with site.database.read() as db:
        stored = str(db.execute(text("select * from page_session")).all())
        kinds = [e["kind"] for e in ledger_entries(db, ("session.opened", "session.ended"))]
    assert cookie not in stored
    assert kinds == ["session.opened", "session.opened", "session.ended"]


def test_the_sign_in_page_says_that_a_session_has_ended_and_speaks_to_people(site: Site, key: str) -> None:
    browser = visit(site, key)
    assert "has ended" not in browser.get("/login").text  # it lasts
    later(site, minutes=121)
    ended = browser.get("/", headers={"Accept": "text/html"}, follow_redirects=True).text
    assert "your session has ended; sign in again" in ended
    assert "after 120 minutes without use, and after 12 hours at the latest" in ended
    assert browser.post("/login", data={"key": key}).status_code == 303
    assert browser.post("/logout").status_code == 303
    assert "has ended" not in browser.get("/login").text  # the person ended it
    refused = browser.post("/login", data={"key": "assay_wrong"})
    assert (refused.status_code, "Authorization" in refused.text) == (401, False)
    assert "this API key is not valid" in refused.text


def test_a_session_ends_with_its_time_unused_and_with_its_key(site: Site, key: str) -> None:
    browser = visit(site, key)
    for _ in range(11):
        later(site, hours=1)
        assert reads(browser) == 200
    later(site, hours=1)
    assert reads(browser) == 401
    unused = visit(site, key)
    later(site, minutes=121)
    assert reads(unused) == 401
    prefix = key.split("_")[1]
    browser = visit(site, key)
    with site.database.write() as db:
        revoke_key(db, prefix=prefix, actor="admin", now=site.clock.now())
    assert reads(browser) == 401
    with site.database.read() as db:
        ended = [e["body"]["because"] for e in ledger_entries(db, ("session.ended",))]
    assert ended == ["expired", "idle", "key revoked"]


def test_signing_in_again_ends_the_session_before(site: Site, key: str) -> None:
    browser = visit(site, key)
    before = browser.cookies[COOKIE]
    assert browser.post("/login", data={"key": key}).status_code == 303
    assert reads(TestClient(create_app(site), cookies={COOKIE: before})) == 401
    assert reads(browser) == 200


@pytest.mark.parametrize(
    "change",
    [
        "update api_key set role = 'viewer' where name = 'ops'",
        "update page_session set prefix = (select prefix from api_key where name = 'admin')",
        "update page_session set expires_at = '2099-01-01'",
    ],
)
def test_a_row_that_was_changed_opens_nothing(site: Site, key: str, change: str) -> None:
    browser = visit(site, key)
    with site.database.write() as db:
        db.execute(text(change))
    assert reads(browser) in (401, 403)


def test_an_admin_sees_sessions_and_ends_one(site: Site, key: str) -> None:
    browser, admin = visit(site, key), TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"})
    (shown,) = admin.get("/api/v1/sessions").json()["items"]
    assert (shown["name"], shown["state"]) == ("ops", "open")
    assert admin.delete(f"/api/v1/sessions/{shown['id']}").json()["ended_because"] == "ended by ops"
    assert reads(browser) == 401
    assert admin.delete("/api/v1/sessions/00000000-0000-0000-0000-000000000000").status_code == 404


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(site: Site, key: str) -> None:
    browser = TestClient(create_app(site), base_url="https://testserver", follow_redirects=False)
    cookie = browser.post("/login", data={"key": key}).headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", f"Max-Age={12 * 3600}"):
        assert word in cookie
    assert key not in cookie
    gone = browser.post("/logout").headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=0"):
        assert word in gone


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


def test_a_form_sent_after_the_session_leads_to_the_login_page_and_back_to_its_page(site: Site) -> None:
    browser = TestClient(create_app(site), follow_redirects=False)
    for sent, shown in (
        ({"Referer": "http://testserver/models/x?from=2026-01-01"}, "/models/x"), ({}, "/"),
        ({"Referer": "http://["}, "/"),
    ):  # fmt: skip
        answer = browser.post("/models/x/reports", data={"a": "b"}, headers={"Accept": "text/html"} | sent)
        assert (answer.status_code, answer.headers.get("location")) == (303, f"/login?next={shown}")
    assert browser.post("/api/v1/keys", json={}, headers={"Accept": "text/html"}).status_code == 401


def test_a_failure_inside_is_a_problem_document_without_its_insides(site: Site) -> None:
    app = create_app(site)

    @app.get("/healthz/broken")
    def broken() -> None:
        raise RuntimeError("the customer's secret")

    answer = TestClient(app, raise_server_exceptions=False).get("/healthz/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
