"""The page of a retraining run, and who lets it through."""

from typing import Final

from fastapi import APIRouter

from api.pages.runs import run

ROUTERS: Final[tuple[APIRouter, ...]] = (run.router,)
