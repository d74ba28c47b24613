"""Datasets: the list of all models or of one, and the page of one: where it comes from and what used it."""

from typing import Final

from fastapi import APIRouter

from api.pages.datasets import dataset, datasets

ROUTERS: Final[tuple[APIRouter, ...]] = (datasets.router, dataset.router)
