"""What changes while somebody looks: one stream of server-sent events for each page that is open."""

from typing import Final

from fastapi import APIRouter

from api.pages.live import stream

ROUTERS: Final[tuple[APIRouter, ...]] = (stream.router,)
