"""What a model's things were made from."""

from typing import Final

from fastapi import APIRouter

from api.pages.lineage import lineage

ROUTERS: Final[tuple[APIRouter, ...]] = (lineage.router,)
