"""Web pages: server-rendered, readable before any script runs, nothing from elsewhere."""

from typing import Final

from fastapi import APIRouter

from api.pages import actions, details, models, session

ROUTERS: Final[tuple[APIRouter, ...]] = (session.router, models.router, details.router, actions.router)
