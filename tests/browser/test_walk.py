"""A browser walks every page: no error, nothing from elsewhere, nothing clipped, no serious fault that axe-core finds.

`make test` opens each page once, in turns wide and light or narrow and dark; `make test-all` does so as every role in
every width and theme. PICTURES_DIR keeps a picture of each.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest

from core.clock import ManualClock
from governance.access.roles import PERMISSIONS, Role
from monitor.site import Site
from tests.browser.served import Served, Watched, serving, watched
from tests.browser.table import PAGES, ROLES, Page, also, places
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell
from tests.reports.story_teller import END

pytestmark = SQLITE_FIRST
WIDE, NARROW = 1440, 390
MAX_BYTES = 1_500_000
CLIPPED = """() => {
  const LEFT_OUT = ".unseen, .skip, svg, select, option, input, noscript, script, #vg-tooltip-element";
  const TEXT = ["BUTTON", "TH", "TD", "SUMMARY", "LABEL"];
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest(LEFT_OUT) || !e.getClientRects().length) continue;
    const s = getComputedStyle(e);
    const cut = (way, inner, outer) => ["hidden", "clip"].includes(way) && inner > outer + 1;
    if (cut(s.overflowX, e.scrollWidth, e.clientWidth) || cut(s.overflowY, e.scrollHeight, e.clientHeight)
        || (TEXT.includes(e.tagName) && e.scrollWidth > e.clientWidth + 2)) found.push(e);
  }
  return found.map((e) => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`);
}"""
BYTES = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, e) => sum + e.encodedBodySize, 0)"""
# Serious or worse, of the rules that axe-core calls by the WCAG at levels A and AA, and its own best practices.
AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .filter((v) => ["serious", "critical"].includes(v.impact))
  .map((v) => [v.id, ...v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} ${n.any[0]?.message}`)].join("; "))"""


@pytest.fixture
def served(site: Site, clock: ManualClock) -> Iterator[Served]:
    clock.move_to(END + timedelta(hours=3))
    with serving(site, clock) as found:
        yield found


@pytest.fixture
def story(served: Served) -> Story:
    with served.site.database.write() as db:
        found = tell(served.site, db)
    also(served.site, found)
    return found


def look(at: Watched, page: Page, shape: str, axe: str) -> list[str]:
    """What is wrong with the page as it is shown now; `axe` is the script of axe-core."""
    found = []
    if (over := at.overflow()) > 0:
        found.append(f"{over} px wider than the window")
    found += [f"clipped: {text}" for text in at.page.evaluate(CLIPPED)]
    if (size := at.page.evaluate(BYTES)) > MAX_BYTES:
        found.append(f"{size} bytes")
    at.page.evaluate(axe)
    found += at.page.evaluate(AXE)
    at.keep(f"{page.name}-{shape}")
    return [f"{page.name}, {shape}: {fault}" for fault in found]


def go(at: Watched, page: Page, path: str) -> list[str]:
    """Open a page and wait for its charts."""
    answer = at.page.goto(at.served.url + path)
    found = [] if answer.status == page.status else [f"{page.name}: status {answer.status}"]
    if page.said not in at.page.inner_text("main"):
        found.append(f"{page.name}: does not say {page.said!r}")
    if at.page.locator(".drawn").count():
        at.page.wait_for_selector(".drawn:not([data-state])", state="detached", timeout=60_000)
        found += [f"{page.name}: a chart failed"] * at.page.locator(".drawn[data-state=failed]").count()
    expected = "Failed to load resource: the server responded with a status of"
    found += [f"{page.name}: {e}" for e in at.errors if not (page.status != 200 and e.startswith(expected))]
    found += [f"{page.name}: from elsewhere {e}" for e in at.outside]
    at.errors.clear()
    at.outside.clear()
    return found


def walk(
    at: Watched, served: Served, story: Story, role: Role, shapes: tuple[tuple[int, str], ...], *, every: bool
) -> list[str]:
    """What is wrong with the pages of a role, in `every` shape of each, or in one, in turns."""
    axe = (files("axe_playwright_python") / "axe.min.js").read_text()
    found, filled = [], places(served.site, story)
    only = tuple(os.environ.get("WALK_PAGES", "").split(","))  # names of pages, or beginnings of names
    for number, page in enumerate(PAGES):
        if page.permission not in PERMISSIONS[role] or not page.name.startswith(only):
            continue
        looks = shapes if every else shapes[number % len(shapes) :][:1]
        at.page.set_viewport_size({"width": looks[0][0], "height": 900})
        at.page.emulate_media(color_scheme=looks[0][1])
        found += go(at, page, page.path.format(**filled))
        for turn, (width, scheme) in enumerate(looks):
            at.page.set_viewport_size({"width": width, "height": 900})
            at.page.emulate_media(color_scheme=scheme)
            if turn and at.page.locator(".drawn").count():
                at.page.wait_for_timeout(400)  # charts are drawn again
            found += look(at, page, f"{role.value}-{width}-{scheme}", axe)
    return found


def test_every_page_is_whole(browser: Any, served: Served, story: Story) -> None:
    context = browser.new_context()
    at = watched(context, served)
    at.sign_in(served.key)
    found = walk(at, served, story, Role.ADMIN, ((WIDE, "light"), (NARROW, "dark")), every=False)
    context.close()
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_every_page_is_whole_for_every_role(browser: Any, served: Served, story: Story, role: Role) -> None:
    context = browser.new_context()
    at = watched(context, served)
    at.sign_in(served.key_of(role))
    shapes = tuple((width, scheme) for width in (WIDE, NARROW) for scheme in ("light", "dark"))
    found = walk(at, served, story, role, shapes, every=True)
    context.close()
    assert found == []
