"""The page of an alert, and what people do about it."""

from typing import Final

from fastapi import APIRouter

from api.pages.alerts import actions, alert

ROUTERS: Final[tuple[APIRouter, ...]] = (
    alert.router,
    actions.router,
)
