"""What every page shares: its navigation, the search, and pages for people where programs get problem documents."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.pages.navigation import ENTRIES
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import PERMISSIONS, Role
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell

pytestmark = SQLITE_FIRST
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def story(site: Site) -> Story:
    with site.database.write() as db:
        return tell(site, db)


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site), raise_server_exceptions=False) as found:
        yield found


def key(site: Site, clock: ManualClock, role: Role, models: list[str] | None = None) -> dict[str, str]:
    with site.database.write() as db:
        _, made = create_key(
            db, name=f"{role.value} {models}", role=role, actor="assay", now=clock.now(), models=models
        )
    return {"Authorization": f"Bearer {made}", **HTML}


def linked(html: str) -> set[str]:
    nav = html[html.index('<nav class="sections"') :]
    return set(re.findall(r'href="([^"]+)"', nav[: nav.index("</nav>")]))


def test_the_navigation_has_what_the_role_may_open(site: Site, clock: ManualClock, client: TestClient) -> None:
    for role in (Role.VIEWER, Role.COMPLIANCE, Role.ADMIN):
        headers = key(site, clock, role)
        shown = client.get("/", headers=headers).text
        assert linked(shown) == {e.path for e in ENTRIES if e.permission in PERMISSIONS[role]}
        assert '<a href="/" aria-current="page">Overview</a>' in shown
    for entry in ENTRIES:
        opened = client.get(entry.path, headers=headers)
        assert (opened.status_code, f'href="{entry.path}" aria-current="page"' in opened.text) == (200, True), entry
    assert "/events" not in linked(client.get("/", headers=key(site, clock, Role.VIEWER, [])).text)


def test_people_get_a_page_and_programs_a_problem_document(
    site: Site, clock: ManualClock, client: TestClient, story: Story
) -> None:
    admin = key(site, clock, Role.ADMIN)
    for path, status, heading in (
        ("/nothing/here", 404, "Not found"), ("/models/nobody", 404, "Not found"), ("/healthz", 200, ""),
        ("/runs/not-an-id", 422, "Request refused"), ("/search?q=" + 300 * "x", 422, "Request refused"),
        ("/search?q=%00", 422, "Request refused"), ("/" + 2500 * "x", 404, "Not found"),
    ):  # fmt: skip
        shown = client.get(path, headers=admin)
        assert shown.status_code == status, path
        if status != 200:
            assert f"<h1>{heading}</h1>" in shown.text, path
            assert shown.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in shown.headers["content-security-policy"]
    posted = client.post("/search", headers=admin)
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET")
    assert "<h1>Not possible here</h1>" in posted.text
    big = client.post(
        "/people", headers={**admin, "Content-Type": "application/x-www-form-urlencoded"}, content=b"a" * 1_100_000
    )
    assert (big.status_code, "<h1>Too large</h1>" in big.text) == (413, True)
    refused = client.get("/people", headers=key(site, clock, Role.VIEWER))
    assert (refused.status_code, "<h1>Not allowed</h1>" in refused.text) == (403, True)
    assert "/models" in linked(refused.text)
    for headers in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
        assert client.get("/nothing/here", headers=headers).headers["content-type"] == "application/problem+json"
    assert client.get("/api/v1/nothing", headers=admin).headers["content-type"] == "application/problem+json"
    hostile = client.get("/%3Cscript%3Ealert(1)%3C/script%3E", headers=HTML).text
    assert "<script>alert" not in hostile
    assert "Sign in" in hostile


def test_a_page_on_an_unknown_path_knows_who_is_signed_in(site: Site, clock: ManualClock, client: TestClient) -> None:
    given = key(site, clock, Role.VIEWER)["Authorization"].removeprefix("Bearer ")
    client.post("/login", data={"key": given}, headers={**HTML, "Origin": "http://testserver"})
    shown = client.get("/nothing/here", headers=HTML)
    assert (shown.status_code, "Sign out" in shown.text) == (404, True)
    assert "/models" in linked(shown.text)
    assert 'aria-current="page"' not in shown.text
    client.cookies.set("assay_session", "x")
    assert client.get("/nothing/here", headers=HTML).status_code == 404


def found(client: TestClient, headers: dict[str, str], asked: str) -> dict[str, list[str]]:
    answer = client.get("/search", params={"q": asked}, headers=headers)
    assert answer.status_code == 200, answer.text
    main = answer.text[answer.text.index("<main") :]
    return {
        words: re.findall(r'<li><a href="([^"]+)"', part)
        for words, part in re.findall(r"<h2[^>]*>(.*?)</h2>(.*?)</section>", main, re.S)
    }


def test_each_kind_is_found_by_what_people_know_of_it(
    site: Site, clock: ManualClock, client: TestClient, story: Story
) -> None:
    admin = key(site, clock, Role.ADMIN)
    assert found(client, admin, "SUPPORT-int")["Models"] == ["/models/support-intents"]
    assert f"/alerts/{story.alert_id}" in found(client, admin, str(story.alert_id))["Alerts"]
    assert f"/alerts/{story.alert_id}" in found(client, admin, str(story.alert_id)[:8].upper())["Alerts"]
    assert len(found(client, admin, "accuracy limit")["Alerts"]) == 1
    assert found(client, admin, "v1 promoted")["Runs"] == [f"/runs/{story.run_id}"]
    assert found(client, admin, "v2")["Versions"] == ["/models/support-intents/versions/v2"]
    assert "/ledger/1" in found(client, admin, "model.spec")["Ledger"]
    assert all(path.startswith("/ledger/") for path in found(client, admin, "support-intents")["Ledger"])


def test_nothing_is_found_for_what_is_nowhere(site: Site, clock: ManualClock, client: TestClient, story: Story) -> None:
    admin = key(site, clock, Role.ADMIN)
    for asked in ("%", "__", "x", "' or 1=1 --", "<b>", "\U0001f600" * 2, "a" * 200, "7" * 9, "-" * 12, "f" * 32):
        assert found(client, admin, asked) == {}, asked


def test_a_search_finds_only_what_the_caller_may_see(
    site: Site, clock: ManualClock, client: TestClient, story: Story
) -> None:
    nobody = key(site, clock, Role.OPERATOR, ["another"])
    for asked in (
        "support",
        str(story.alert_id),
        str(story.run_id),
        "model.spec",
        "model:support-intents",
        "v2",
        "e-0",
    ):
        assert found(client, nobody, asked) == {}
    mine = key(site, clock, Role.OPERATOR, ["support-intents"])
    assert found(client, mine, "support")["Models"] == ["/models/support-intents"]
    assert "/ledger/1" in found(client, mine, "model.spec")["Ledger"]
