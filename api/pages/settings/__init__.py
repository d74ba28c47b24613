"""What can be set where; people, keys and channels."""

from typing import Final

from fastapi import APIRouter

from api.pages.settings import channels, landing, people

ROUTERS: Final[tuple[APIRouter, ...]] = (
    landing.router,
    channels.router,
    people.router,
)
