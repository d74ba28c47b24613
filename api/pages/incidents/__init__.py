"""The pages of incidents: the list, and one with its alerts, links, timeline and post-mortem."""

from typing import Final

from fastapi import APIRouter

from api.pages.incidents import actions, incident, listed

ROUTERS: Final[tuple[APIRouter, ...]] = (
    listed.router,
    incident.router,
    actions.router,
)
