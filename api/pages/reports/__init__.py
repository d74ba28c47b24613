"""Reports: the list and the form that asks for one, one report, schedules, regime packs, and verifying a bundle."""

from typing import Final

from fastapi import APIRouter

from api.pages.reports import ask, listed, one, regimes, schedules, verify

ROUTERS: Final[tuple[APIRouter, ...]] = (
    listed.router, schedules.router, regimes.router, verify.router, one.router, ask.router,
)  # fmt: skip
