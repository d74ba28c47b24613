"""One browser for all tests of this folder."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.served import SWITCHES


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield found
        found.close()
