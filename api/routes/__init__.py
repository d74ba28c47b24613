"""The routes of the HTTP API, one file per resource."""

from typing import Final

from fastapi import APIRouter

from api.routes import alerts, events, health, keys, ledger, models, monitoring, reports, runs

# Routes are matched in this order; that of the rows is asked for a thousand times as often as any other.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    events.router, health.router, models.router, monitoring.router, alerts.router, runs.router, reports.router,
    ledger.router, keys.router,
)  # fmt: skip
