"""Entries of the ledger."""

from typing import Final

from fastapi import APIRouter

from api.pages.ledger import entry

ROUTERS: Final[tuple[APIRouter, ...]] = (entry.router,)
