"""The page of one decision."""

from typing import Final

from fastapi import APIRouter

from api.pages.events import event

ROUTERS: Final[tuple[APIRouter, ...]] = (event.router,)
