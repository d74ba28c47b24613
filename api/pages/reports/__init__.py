"""Reports that people ask for on pages."""

from typing import Final

from fastapi import APIRouter

from api.pages.reports import ask

ROUTERS: Final[tuple[APIRouter, ...]] = (ask.router,)
