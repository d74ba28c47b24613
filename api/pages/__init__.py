"""Web pages: server-rendered, readable before any script runs, nothing from elsewhere."""

from typing import Final

from fastapi import APIRouter

from api.pages import actions, channels, details, explanations, fairness, governing, lineage, models, people, session

ROUTERS: Final[tuple[APIRouter, ...]] = (
    session.router, models.router, fairness.router, explanations.router, lineage.router, details.router,
    channels.router, actions.router, governing.router, people.router,
)  # fmt: skip
