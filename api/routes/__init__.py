"""The routes of the HTTP API, one file per resource."""

from typing import Final

from fastapi import APIRouter

from api.routes import alerts, events, health, keys, ledger, models, monitoring, quarantine, reports, runs

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router, models.router, events.router, quarantine.router, monitoring.router, alerts.router, runs.router,
    reports.router, ledger.router, keys.router,
)  # fmt: skip
