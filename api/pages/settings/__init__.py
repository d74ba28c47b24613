"""People, keys and channels."""

from typing import Final

from fastapi import APIRouter

from api.pages.settings import channels, people

ROUTERS: Final[tuple[APIRouter, ...]] = (
    channels.router,
    people.router,
)
