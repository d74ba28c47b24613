"""Signing in: password or key, second factor, single sign-on."""

from typing import Final

from fastapi import APIRouter

from api.pages.sign_in import session

ROUTERS: Final[tuple[APIRouter, ...]] = (session.router,)
