"""Versions: the registry of all models, the page of one version, two side by side, and what people do with them."""

from typing import Final

from fastapi import APIRouter

from api.pages.registry import compare, moves, predictions, version, versions

ROUTERS: Final[tuple[APIRouter, ...]] = (
    versions.router, compare.router, moves.router, predictions.router, version.router,
)  # fmt: skip
