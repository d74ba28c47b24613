"""Run uvicorn on a socket bound here, and announce the address once the server is ready."""

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

import typer
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http.protocol import BoundedProtocol
from api.pages.live.watch import Watch
from api.processes.ledger_watch import sign_at_start
from core.logs import logger
from core.settings import ServerSettings
from governance.access.api_keys import first_admin
from governance.access.people import record_people
from governance.access.rights import record_secrets
from governance.binding.found import find_rows
from governance.ledger import guard
from governance.ledger.rotation import name_documents_key
from monitor.site import Site

# Python lets a thread compute for 5 ms before another gets its turn, and a request waits for a dozen turns. Beside four
# threads that compute, ten hops from the event loop to a thread and back took 0.7 s, and with 1 ms they took 0.05 s.
SWITCH_S: Final = 0.001
log = logger("api.server")


class _Server(uvicorn.Server):
    """uvicorn server that announces its address after startup."""

    def __init__(self, config: uvicorn.Config, announce: dict[str, Any], as_json: bool, live: Watch) -> None:
        super().__init__(config)
        self._announce, self._as_json, self._live = announce, as_json, live

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if self._as_json:
            typer.echo(json.dumps(self._announce))
        else:
            typer.echo(f"Assay listens on {self._announce['url']}; its home is {self._announce['home']}")
            if key := self._announce.get("admin_key"):
                typer.echo(f"Admin key, shown this once: {key}")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams have no end of their own, and the shutdown waits for answers under way."""
        self._live.close()
        await super().shutdown(sockets)


def listen(site: Site, *, as_json: bool, bound: Callable[[str], None] = lambda _: None) -> None:
    """Serve until a signal ends it.

    Args:
        bound: called with the URL of the socket before the first request is taken.
    """
    sys.setswitchinterval(SWITCH_S)
    server = site.settings.server
    listener = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((server.host, server.port))
    host = f"[{server.host}]" if ":" in server.host else server.host
    announce: dict[str, Any] = {"url": f"http://{host}:{listener.getsockname()[1]}"}
    at = reachable(announce["url"])
    bound(at)
    site = replace(site, settings=site.settings.served_at(at))  # a test of a channel is sent from here
    if (key := first_admin(site)) is not None:
        announce["admin_key"] = key
    with site.database.write() as db:
        if lost := guard.missing(db.connection()):
            log.warning("triggers that keep the ledger unchanged were taken away", triggers=lost)
        if not guard.restore(db):
            log.warning("triggers that keep the ledger unchanged are missing; run `assay serve` once as their owner")
        record_secrets(db, site.clock.now())
        record_people(db, site.clock.now())
        find_rows(db, site.clock.now())
        name_documents_key(db, signing=site.keys.signing, documents=site.keys.documents, now=site.clock.now())
    # The entries so far are signed before the first request arrives. If they may not be, reading and accepting go on.
    if (unsigned := sign_at_start(site)) is not None:
        typer.echo(f"WARNING: {unsigned}", err=True)
    announce["home"] = str(site.settings.home_dir)
    app = create_app(site)
    _Server(configured(app, site.settings.server), announce, as_json, app.state.live).run(sockets=[listener])


def reachable(url: str) -> str:
    """A URL that opens on this machine, also where the server listens on all addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def configured(app: FastAPI, limits: ServerSettings) -> uvicorn.Config:
    """Return the configuration of the server: heads and slow clients are bounded; WebSockets, unused, are off."""
    logging.getLogger("uvicorn.error").addFilter(_is_not_an_escaped_error)
    bounded = partial(BoundedProtocol, limits=limits)
    return uvicorn.Config(
        app, http=cast(type[asyncio.Protocol], bounded), ws="none", log_config=None, access_log=False, lifespan="on",
        timeout_graceful_shutdown=10,
    )  # fmt: skip


def _is_not_an_escaped_error(record: logging.LogRecord) -> bool:
    """Filter out application errors: `api.http.errors` logs them without the payload they may quote."""
    return not str(record.msg).startswith("Exception in ASGI application")
