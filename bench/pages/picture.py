"""Take the picture of a page, as the README shows one.

    assay demo --serve                                   in one terminal; it prints an address and a key
    python -m bench.pages.picture ADDRESS KEY /models/support-intents docs/pictures/model.png

It needs Chromium on the PATH.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("path")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1500, help="of the picture, from the top of the page")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": given.width, "height": given.height}, color_scheme="dark" if given.dark else "light"
        )
        page.goto(f"{given.url}/login")
        page.fill("input[name=key]", given.key)
        page.click("main button")
        page.goto(given.url + given.path)
        page.wait_for_function("!document.querySelector('.drawn:not([data-state])')")
        page.screenshot(path=given.out)
        browser.close()


if __name__ == "__main__":
    main()
