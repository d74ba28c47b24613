"""All models at a glance."""

from typing import Final

from fastapi import APIRouter

from api.pages.overview import overview

ROUTERS: Final[tuple[APIRouter, ...]] = (overview.router,)
