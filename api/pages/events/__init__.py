"""Events: searched, one by one, and as traces."""

from typing import Final

from fastapi import APIRouter

from api.pages.events import decisions, event, explorer, traces

ROUTERS: Final[tuple[APIRouter, ...]] = (decisions.router, explorer.router, event.router, traces.router)
