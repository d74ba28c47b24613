"""What people do on the pages, in a real browser. That every page can be read is the walk's to say."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from core.clock import ManualClock
from monitor.site import Site
from tests.browser.served import Served, Watched, serving, watched
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell
from tests.reports.story_teller import END

pytestmark = SQLITE_FIRST


@pytest.fixture
def served(site: Site, clock: ManualClock) -> Iterator[Served]:
    clock.move_to(END + timedelta(hours=3))
    with serving(site, clock) as found:
        yield found


@pytest.fixture
def story(served: Served) -> Story:
    with served.site.database.write() as db:
        return tell(served.site, db)


@pytest.fixture
def open_page(browser: Any, served: Served) -> Iterator[Callable[..., Watched]]:
    contexts = []

    def make(*, sign_in: bool = True) -> Watched:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        found = watched(context, served)
        if sign_in:
            found.sign_in(served.key)
        return found

    yield make
    for context in contexts:
        context.close()


def test_a_stranger_signs_in_reaches_the_page_and_signs_out(open_page: Callable[..., Watched], served: Served) -> None:
    at = open_page(sign_in=False)
    at.page.goto(served.url + "/channels")
    assert at.page.url.endswith("/login?next=/channels")
    at.keep("login")
    at.page.fill("input[name=key]", "assay_wrong")
    at.page.click("main button")
    assert at.page.locator("[role=alert]").count() == 1
    assert all("401" in e for e in at.errors)
    at.errors.clear()
    at.page.fill("input[name=key]", served.key)
    at.page.click("main button")
    assert at.page.url == served.url + "/channels"
    at.page.goto(served.url)
    assert "No model is monitored yet" in at.page.inner_text("h1")
    assert "assay init FILE" in at.page.inner_text("main")
    at.keep("empty")
    at.page.click("text=Sign out")
    at.page.goto(served.url + "/")
    assert "/login" in at.page.url
    at.fine()


def test_an_open_alert_is_acknowledged_with_a_reason(
    open_page: Callable[..., Watched], served: Served, story: Story
) -> None:
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
    at = open_page()
    assert "1 of 1 model needs attention" in at.page.inner_text(".lead")
    at.page.goto(served.url + "/models/support-intents")
    at.keep("model-alarm")
    at.page.click("text=Act on the drift alert")
    at.page.fill("form[action$=acknowledge] input[name=reason]", "looking at the <new> requests")
    at.page.click("form[action$=acknowledge] button")
    assert "acknowledged" in at.page.inner_text("h1")
    assert "looking at the <new> requests" in at.page.inner_text("main")
    at.page.fill("form[action$=resolve] input[name=reason]", "retrained")
    at.page.click("form[action$=resolve] button")
    assert "resolved" in at.page.inner_text("h1")
    at.fine()


def test_a_short_table_is_sorted_in_the_browser_and_copied(
    open_page: Callable[..., Watched], served: Served, story: Story
) -> None:
    at = open_page()
    at.page.goto(f"{served.url}/runs/{story.run_id}")
    table = at.page.locator("table.data:not(.listed):has(button.sort)").first
    table.locator("th button.sort").first.click()
    values = table.locator("tbody tr td:first-child").all_inner_texts()
    assert values == sorted(values, key=str.lower)
    table.locator("th button.sort").first.click()
    assert table.locator("tbody tr td:first-child").all_inner_texts() == values[::-1]
    at.fine()


def test_a_page_follows_a_run_without_being_loaded_again(
    open_page: Callable[..., Watched], served: Served, story: Story
) -> None:
    from retrain.tables import Run

    def now(state: str, step: int) -> None:
        with served.site.database.write() as db:
            run = db.get_one(Run, story.run_id)
            run.state, run.progress = state, {"phase": "training", "step": step, "steps": 10}

    now("training", 3)
    at = open_page()
    at.page.goto(f"{served.url}/runs/{story.run_id}")
    at.page.evaluate("window.loaded = 'once'")
    at.page.wait_for_selector("#live:has-text('follows')")
    now("training", 7)
    at.page.wait_for_selector("progress[value='7']")
    assert "step 7 of 10" in at.page.inner_text(".progress")
    now("promoted", 10)
    at.page.wait_for_selector(".lead:has-text('was promoted to champion')", timeout=60_000)
    assert at.page.locator("progress").count() == 0
    assert at.page.evaluate("window.loaded") == "once"
    assert at.page.locator("button.copy").count() > 0
    at.fine()
