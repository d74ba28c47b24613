"""The routes of the HTTP API, one file per resource."""

from typing import Final

from fastapi import APIRouter

from api.routes import alerts, erasures, events, health, keys, ledger, models, monitoring, reports, runs

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router, models.router, events.router, monitoring.router, alerts.router, runs.router, reports.router,
    ledger.router, erasures.router, keys.router,
)  # fmt: skip
