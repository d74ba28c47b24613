"""The ledger: its entries searched and proved, its checkpoints, and its verification."""

from typing import Final

from fastapi import APIRouter

from api.pages.ledger import checkpoints, entry, log

ROUTERS: Final[tuple[APIRouter, ...]] = (log.router, checkpoints.router, entry.router)  # an entry's address is the rest
