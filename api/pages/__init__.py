"""Web pages, a folder for each family: server-rendered, readable before any script runs, nothing from elsewhere."""

from typing import Final

from fastapi import APIRouter

from api.pages import (
    alerts,
    datasets,
    events,
    incidents,
    ledger,
    lineage,
    live,
    models,
    overview,
    registry,
    reports,
    runs,
    search,
    settings,
    sign_in,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    *sign_in.ROUTERS,
    *overview.ROUTERS,
    *models.ROUTERS,
    *events.ROUTERS,
    *datasets.ROUTERS,
    *lineage.ROUTERS,
    *alerts.ROUTERS,
    *incidents.ROUTERS,
    *runs.ROUTERS,
    *registry.ROUTERS,
    *ledger.ROUTERS,
    *reports.ROUTERS,
    *search.ROUTERS,
    *live.ROUTERS,
    *settings.ROUTERS,
)
