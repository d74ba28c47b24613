"""The pages in a real browser: readable at two widths and in two themes, no error, nothing fetched from elsewhere."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell
from tests.reports.story_teller import END

pytestmark = SQLITE_FIRST
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip


@dataclass
class Served:
    url: str
    key: str
    site: Site


@dataclass
class Watched:
    """A browser page and everything that went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def fine(self) -> None:
        assert self.errors == []
        assert self.outside == []

    def overflow(self) -> int:
        """Pixels the document is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture
def served(site: Site, clock: ManualClock) -> Iterator[Served]:
    clock.move_to(END + timedelta(hours=3))
    with site.database.write() as db:
        _, key = create_key(db, name="a.lindqvist", role=Role.ADMIN, actor="assay", now=clock.now())
    app = create_app(site)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", key, site)
    server.should_exit = True
    thread.join(timeout=60)
    listener.close()


@pytest.fixture
def story(served: Served) -> Story:
    with served.site.database.write() as db:
        return tell(served.site, db)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Any, served: Served) -> Iterator[Any]:
    contexts = []

    def make(width: int = 1280, scheme: str = "light", *, sign_in: bool = True) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.on("console", lambda m: watched.errors.append(m.text) if m.type in ("error", "warning") else None)
        watched.page.on("pageerror", lambda e: watched.errors.append(str(e)))
        watched.page.on(
            "request", lambda r: None if r.url.startswith((served.url, "data:")) else watched.outside.append(r.url)
        )
        if sign_in:
            watched.page.goto(served.url + "/login")
            watched.page.fill("input[name=key]", served.key)
            watched.page.click("main button")
        return watched

    yield make
    for context in contexts:
        context.close()


def keep(watched: Watched, name: str) -> None:
    """Leave a picture to be looked at, where PICTURES_DIR asks for it."""
    if folder := os.environ.get("PICTURES_DIR"):
        watched.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def test_a_stranger_is_sent_to_the_login_page_and_back(open_page: Any, served: Served, story: Story) -> None:
    watched = open_page(sign_in=False)
    watched.page.goto(served.url + "/models/support-intents")
    assert watched.page.url.endswith("/login?next=/models/support-intents")
    keep(watched, "login")
    watched.page.fill("input[name=key]", served.key)
    watched.page.click("main button")
    assert watched.page.url == served.url + "/models/support-intents"
    watched.page.click("text=Sign out")
    watched.page.goto(served.url + "/")
    assert "/login" in watched.page.url
    watched.fine()


def test_a_wrong_key_is_refused_with_a_reason(open_page: Any, served: Served) -> None:
    watched = open_page(sign_in=False)
    watched.page.goto(served.url + "/login")
    watched.page.fill("input[name=key]", "assay_wrong")
    watched.page.click("main button")
    assert watched.page.locator("[role=alert]").count() == 1
    assert watched.outside == []


def test_an_empty_installation_says_how_to_begin(open_page: Any) -> None:
    watched = open_page()
    assert "No model is monitored yet" in watched.page.inner_text("h1")
    assert "assay init FILE" in watched.page.inner_text("main")
    keep(watched, "empty")
    watched.fine()


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"), (390, "dark"), pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_overview_and_model_page_are_readable(
    open_page: Any, served: Served, story: Story, width: int, scheme: str
) -> None:
    watched = open_page(width, scheme)
    assert "All quiet" in watched.page.inner_text(".lead")
    assert "support-intents" in watched.page.inner_text("article")
    assert watched.overflow() <= 0
    keep(watched, f"overview-{width}-{scheme}")
    watched.page.click("article a >> nth=0")
    assert watched.page.inner_text(".lead").startswith("Quiet since 2026-03-15")
    shown = watched.page.locator(".chart.wide svg" if width > 720 else ".chart.narrow svg")
    assert shown.is_visible()
    assert watched.overflow() <= 0
    assert watched.page.locator("#windows tbody tr").count() == 34
    assert watched.page.locator("#alerts tbody tr").count() == 2
    keep(watched, f"model-{width}-{scheme}")
    watched.fine()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_fact_leads_to_its_page(open_page: Any, served: Served, story: Story, width: int) -> None:
    watched = open_page(width)
    for path, said, name in (
        (f"/alerts/{story.alert_id}", "unknown words", "alert"),
        (f"/runs/{story.run_id}", "v2 was promoted to champion", "run"),
        ("/ledger/1", "model.spec by a.lindqvist", "entry"),
    ):
        watched.page.goto(served.url + path)
        assert said in watched.page.inner_text(".lead")
        assert watched.overflow() <= 0
        keep(watched, f"{name}-{width}")
    watched.page.goto(served.url + f"/alerts/{story.alert_id}")
    watched.page.click("text=2026-03-10 00:00 >> nth=0")
    keep(watched, f"window-{width}")
    assert watched.page.locator('section:has(h2:text-is("Measurements")) tbody tr').count() == 4
    assert watched.overflow() <= 0
    watched.fine()


def test_an_open_alert_is_acknowledged_with_a_reason(open_page: Any, served: Served, story: Story) -> None:
    from monitor.tables import Alert

    with served.site.database.write() as db:
        alert = db.get_one(Alert, story.alert_id)
        alert.state, alert.acknowledged_at, alert.resolved_at, alert.resolved_by, alert.note = (
            "open",
            None,
            None,
            None,
            None,
        )
    watched = open_page()
    assert "1 of 1 needs attention" in watched.page.inner_text(".lead")
    watched.page.goto(served.url + "/models/support-intents")
    keep(watched, "model-alarm")
    watched.page.click("text=Act on the drift alert")
    watched.page.fill("form[action$=acknowledge] input[name=reason]", "looking at the <new> requests")
    watched.page.click("form[action$=acknowledge] button")
    assert "acknowledged" in watched.page.inner_text("h1")
    assert "looking at the <new> requests" in watched.page.inner_text("main")
    watched.page.fill("form[action$=resolve] input[name=reason]", "retrained")
    watched.page.click("form[action$=resolve] button")
    assert "resolved" in watched.page.inner_text("h1")
    watched.fine()


def test_tables_sort_and_a_report_can_be_asked_for(open_page: Any, served: Served, story: Story) -> None:
    watched = open_page()
    watched.page.goto(served.url + "/models/support-intents?since=2026-03-10&until=2026-03-12")
    assert watched.page.locator("#windows tbody tr").count() == 7
    watched.page.click("#windows th >> text=accuracy")
    values = watched.page.locator("#windows tbody tr td:nth-child(8)").all_inner_texts()
    assert values == sorted(values)
    watched.page.click("text=Build a report")
    assert "queued" in watched.page.inner_text("#reports")
    watched.fine()


def test_a_page_that_does_not_exist_says_so(open_page: Any, served: Served) -> None:
    watched = open_page()
    answer = watched.page.goto(served.url + "/models/nobody")
    assert answer.status == 404
    assert "nobody" in watched.page.inner_text(".lead")
