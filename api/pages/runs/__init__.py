"""Runs: the list, the page of one, and what waits for people to decide."""

from typing import Final

from fastapi import APIRouter

from api.pages.runs import approvals, retrain, run, run_list

ROUTERS: Final[tuple[APIRouter, ...]] = (approvals.router, run_list.router, retrain.router, run.router)
