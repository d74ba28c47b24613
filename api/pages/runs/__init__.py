"""Runs: the list, the page of one, and what waits for people to decide."""

from typing import Final

from fastapi import APIRouter

from api.pages.runs import approvals, run

ROUTERS: Final[tuple[APIRouter, ...]] = (approvals.router, run.router)
