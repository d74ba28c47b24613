"""The routes of the HTTP API, one file per resource."""

from typing import Final

from fastapi import APIRouter

from api.routes import (
    alerts,
    causes,
    changes,
    erasures,
    events,
    explanations,
    export,
    fairness,
    health,
    holds,
    incidents,
    keys,
    ledger,
    logs,
    maintenance,
    models,
    monitoring,
    notifications,
    people,
    plan,
    provenance,
    quarantine,
    reasons,
    report_schedules,
    reports,
    runs,
    schema,
    serious,
    sessions,
    stops,
    traces,
    versions,
    witness,
)

# Routes of class DirectRoute: rows arrive a thousand times as often as all other requests.
DIRECT_ROUTERS: Final[tuple[APIRouter, ...]] = (events.ingest_router, traces.ingest_router, logs.ingest_router)
ROUTERS: Final[tuple[APIRouter, ...]] = (
    reasons.router, events.router, explanations.router, traces.router, export.router, quarantine.router, health.router,
    models.router, monitoring.router, fairness.router,
    alerts.router, causes.router, incidents.router, notifications.router, maintenance.router, runs.router,
    versions.router, provenance.router, stops.router, changes.router, serious.router, plan.router, reports.router,
    report_schedules.router,
    ledger.router,
    erasures.router, holds.router, keys.router, people.router, sessions.router, schema.router, witness.router,
)  # fmt: skip
