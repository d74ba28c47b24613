"""What the check of a caller costs a request: the key is looked up, held against the ledger, and its scope applied."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastapi import Request

from api.app import create_app
from api.http.auth import Requires
from api.http.reach import Reach
from bench.load.results import write_lines
from bench.proofs.installation import migrate
from core import settings
from governance.access.api_keys import create_key
from governance.access.roles import Permission, Role
from monitor.site import Site, open_site

CHECKS: Final = 50_000


def milliseconds(checks: int, say: Callable[[str], None] = print) -> tuple[float, dict[str, float]]:
    """The 99th percentile of a check of a key that is known, and facts: median, and of a key that is not known yet.

    Args:
        checks: how many requests are checked; every key is for one model, the dearest case.
    """
    with tempfile.TemporaryDirectory(prefix="assay-permission-") as name:
        loaded = settings.load({}, home=Path(name))
        migrate(loaded.database_url)
        site = open_site(loaded)
        try:
            known, cold = _measured(site, checks)
        finally:
            site.close()
    share = statistics.quantiles(known, n=100)[98] * 1e3
    facts = {"median_ms": statistics.median(known) * 1e3, "first_ms": statistics.median(cold) * 1e3}
    say(f"permission: p99 {share:.3f} ms, median {facts['median_ms']:.3f} ms, a new key {facts['first_ms']:.2f} ms")
    return share, facts


def _measured(site: Site, checks: int) -> tuple[list[float], list[float]]:
    app, needs = create_app(site), Requires(Permission.EVENTS_WRITE, Reach.MODEL)
    with site.database.write() as db:
        keys = [
            create_key(db, name=f"key {n}", role=Role.PRODUCER, models=["loans"], actor="bench", now=site.clock.now())[
                1
            ]
            for n in range(20)
        ]

    def request(key: str) -> Request:
        headers = [(b"authorization", f"Bearer {key}".encode())]
        scope: dict[str, Any] = {
            "type": "http", "app": app, "method": "POST", "path": "/", "headers": headers, "query_string": b"",
            "path_params": {"model": "loans"}, "client": ("127.0.0.1", 1),
        }  # fmt: skip
        return Request(scope)

    async def ask() -> tuple[list[float], list[float]]:
        known, cold = [], []
        for key in keys:
            begun = time.perf_counter()
            await needs(request(key))
            cold.append(time.perf_counter() - begun)
        for number in range(checks):
            one = request(keys[number % len(keys)])
            begun = time.perf_counter()
            await needs(one)
            known.append(time.perf_counter() - begun)
        return known, cold

    return asyncio.run(ask())


def run(out: Path) -> None:
    share, facts = milliseconds(CHECKS)
    write_lines(out, "permission", {"ms": (share, "ms")}, bench="ledger", quantile=0.99, checks=CHECKS, **facts)
