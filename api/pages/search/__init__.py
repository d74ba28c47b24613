"""One search over models, events, alerts, incidents, runs, datasets, reports and the ledger."""

from typing import Final

from fastapi import APIRouter

from api.pages.search import search

ROUTERS: Final[tuple[APIRouter, ...]] = (search.router,)
