"""The list of alerts, the page of one, and what people do about it."""

from typing import Final

from fastapi import APIRouter

from api.pages.alerts import actions, alert, listed

ROUTERS: Final[tuple[APIRouter, ...]] = (
    listed.router,
    alert.router,
    actions.router,
)
