"""The pages of one model: its course, its windows and columns, fairness, its spec, and what people decide about it."""

from typing import Final

from fastapi import APIRouter

from api.pages.models import column, columns, fairness, governing, model, reference, spec, window, windows

ROUTERS: Final[tuple[APIRouter, ...]] = (
    model.router,
    fairness.router,
    windows.router,
    window.router,
    columns.router,
    column.router,
    reference.router,
    governing.router,
    spec.router,
)
