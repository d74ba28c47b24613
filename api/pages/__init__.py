"""Web pages, a folder for each family: server-rendered, readable before any script runs, nothing from elsewhere."""

from typing import Final

from fastapi import APIRouter

from api.pages import alerts, events, ledger, lineage, models, overview, reports, runs, search, settings, sign_in

ROUTERS: Final[tuple[APIRouter, ...]] = (
    *sign_in.ROUTERS,
    *overview.ROUTERS,
    *models.ROUTERS,
    *events.ROUTERS,
    *lineage.ROUTERS,
    *alerts.ROUTERS,
    *runs.ROUTERS,
    *ledger.ROUTERS,
    *reports.ROUTERS,
    *search.ROUTERS,
    *settings.ROUTERS,
)
