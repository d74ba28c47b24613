"""The web application, built from a site; each test can build its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from api import pages, routes
from api.http import errors
from api.http.intake import Intake
from api.http.metrics import ServiceMetrics
from api.processes.evaluation_requests import EvaluationRequester
from core.settings import Settings, load
from monitor.site import Site, open_site


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Flush the logs of dead processes before the first request, and rows in the background until the last one."""
    site: Site = app.state.site
    await to_thread.run_sync(site.events.flush_orphans)
    flusher, requester = site.events.flusher(), EvaluationRequester(site)
    flusher.start()
    requester.start()
    try:
        yield
    finally:
        await to_thread.run_sync(app.state.intake.stop)
        await to_thread.run_sync(flusher.stop)
        await to_thread.run_sync(requester.stop)


def create_app(site: Site | Settings) -> FastAPI:
    """The application over an open site, or over settings whose site it opens."""
    app = FastAPI(
        title="Assay", version="1", lifespan=_running,
        docs_url=None, redoc_url=None, openapi_url=None,  # served below, with a permission
        description="Watches models in production, proves what it saw, and repairs what drifted.",
    )  # fmt: skip
    app.state.site = site if isinstance(site, Site) else open_site(site)
    app.state.intake = Intake(app.state.site)
    app.state.metrics = ServiceMetrics(app.state.site)
    app.state.callers = {}
    errors.install(app)
    for router in routes.DIRECT_ROUTERS:  # first, and not as routers: one more level to match takes 5 us a request
        app.router.routes.extend(router.routes)
    for router in (*routes.ROUTERS, *pages.ROUTERS):
        app.include_router(router)
    return app


def from_environment() -> FastAPI:
    """For `uvicorn --factory api.app:from_environment`; the database must be migrated."""
    return create_app(load())
