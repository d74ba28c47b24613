"""A site served to a real browser, and pages that remember everything that went wrong on them."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.site import Site

SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip


@dataclass
class Served:
    url: str
    key: str  # of an admin
    site: Site
    clock: ManualClock

    def key_of(self, role: Role) -> str:
        with self.site.database.write() as db:
            _, key = create_key(db, name=f"a {role.value}", role=role, actor="assay", now=self.clock.now())
        return key


@dataclass
class Watched:
    """A browser page and everything that went wrong on it."""

    page: Any
    served: Served
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def fine(self) -> None:
        assert self.errors == []
        assert self.outside == []

    def overflow(self) -> int:
        """Pixels the document is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def sign_in(self, key: str) -> None:
        self.page.goto(self.served.url + "/login")
        self.page.fill("input[name=key]", key)
        self.page.click("main button")

    def keep(self, name: str) -> None:
        """Leave a picture to be looked at, where PICTURES_DIR asks for it."""
        if folder := os.environ.get("PICTURES_DIR"):
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@contextmanager
def serving(site: Site, clock: ManualClock) -> Iterator[Served]:
    with site.database.write() as db:
        _, key = create_key(db, name="a.lindqvist", role=Role.ADMIN, actor="assay", now=clock.now())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(site), log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", key, site, clock)
    server.should_exit = True
    thread.join(timeout=60)
    listener.close()


def watched(context: Any, served: Served) -> Watched:
    found = Watched(context.new_page(), served)
    found.page.on("console", lambda m: found.errors.append(m.text) if m.type in ("error", "warning") else None)
    found.page.on("pageerror", lambda e: found.errors.append(str(e)))
    found.page.on("request", lambda r: None if r.url.startswith((served.url, "data:")) else found.outside.append(r.url))
    return found
