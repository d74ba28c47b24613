"""Build the web application from a site; each test can build its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import Depends, FastAPI

from api import pages, routes
from api.http import errors
from api.http.address import CleanAddresses
from api.http.arriving import BoundedBodies, Room
from api.http.described import DescribedApp
from api.http.intake import Intake
from api.http.last_uses import LastUses
from api.http.metrics import ServiceMetrics
from api.http.oidc import provider_of
from api.http.shares import Shares, share
from api.pages import unknown
from api.pages.live.watch import Watch
from api.processes.damaged_logs import announce_damage
from api.processes.evaluation_requests import EvaluationRequester
from api.processes.log_texts import TextJoiner
from core.settings import Settings, load
from monitor.site import Site, open_site


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Flush the logs of dead processes before the first request, then flush rows in the background until shutdown."""
    site: Site = app.state.site
    await to_thread.run_sync(site.events.flush_orphans)
    await to_thread.run_sync(announce_damage, site)
    threads = (
        site.events.flusher(),
        EvaluationRequester(site),
        TextJoiner(site),
        LastUses(site, app.state.used),
        app.state.live,
    )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        app.state.live.close()
        await to_thread.run_sync(app.state.intake.stop)
        for thread in threads:
            await to_thread.run_sync(thread.stop)


def create_app(site: Site | Settings) -> FastAPI:
    """Build the application on an open site, or on settings from which it opens one."""
    app = DescribedApp(
        title="Assay", version="1", lifespan=_running,
        docs_url=None, redoc_url=None, openapi_url=None,  # served below, with a permission
        description="Watches models in production, proves what it saw, and repairs what drifted.",
    )  # fmt: skip
    app.state.site = site if isinstance(site, Site) else open_site(site)
    app.state.intake = Intake(app.state.site)
    app.state.metrics = ServiceMetrics(app.state.site)
    app.state.callers = {}
    app.state.denials = {}
    app.state.bad_keys = {}
    app.state.used = {}  # when keys were used that the table does not say yet, by prefix
    app.state.provider = provider_of(app.state.site.settings.oidc, app.state.site.keys.session)
    app.state.shares = Shares()
    app.state.live = Watch(app.state.site)
    app.add_middleware(CleanAddresses, shown=unknown.shown)
    app.add_middleware(BoundedBodies, room=Room(app.state.site.settings.server))
    errors.install(app, unknown.shown)
    for router in routes.DIRECT_ROUTERS:  # first, and as plain routes: a router adds 5 us to each request
        app.router.routes.extend(router.routes)
    for router in (*routes.ROUTERS, *pages.ROUTERS):
        app.include_router(router, dependencies=[Depends(share, scope="function")])
    return app


def from_environment() -> FastAPI:
    """Build the application for `uvicorn --factory api.app:from_environment`; the database must be migrated."""
    return create_app(load())
