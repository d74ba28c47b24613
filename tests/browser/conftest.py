"""One browser for the tests of a module: its event loop would be in the way of those of other folders."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.served import SWITCHES


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield found
        found.close()
