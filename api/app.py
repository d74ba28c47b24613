"""The web application, built from a site; each test can build its own."""

from fastapi import FastAPI

from api import errors, pages, routes
from core.settings import Settings, load
from monitor.site import Site, open_site


def create_app(site: Site | Settings) -> FastAPI:
    """The application over an open site, or over settings whose site it opens."""
    app = FastAPI(
        title="Assay", version="1", docs_url=None, redoc_url=None, openapi_url=None,  # served below, with a permission
        description="Watches models in production, proves what it saw, and repairs what drifted.",
    )  # fmt: skip
    app.state.site = site if isinstance(site, Site) else open_site(site)
    errors.install(app)
    for router in (*routes.ROUTERS, *pages.ROUTERS):
        app.include_router(router)
    return app


def from_environment() -> FastAPI:
    """For `uvicorn --factory api.app:from_environment`; the database must be migrated."""
    return create_app(load())
