"""The pages of one model: its course, its windows, fairness, and what people decide about it."""

from typing import Final

from fastapi import APIRouter

from api.pages.models import fairness, governing, model, window

ROUTERS: Final[tuple[APIRouter, ...]] = (
    model.router,
    fairness.router,
    window.router,
    governing.router,
)
