"""The page that people get where a program gets a problem document: unknown paths, and errors outside of any page."""

from typing import Any

from fastapi import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from api.http.auth import COOKIE, session_caller
from api.pages.navigation import PATH
from api.pages.render import refused
from core.errors import AppError
from core.logs import logger
from governance.access.roles import Caller


def shown(request: Request, problem: dict[str, Any]) -> Response:
    """The page of a problem, with the navigation of whoever is signed in."""
    PATH.set(request.url.path)
    unknown = problem["code"] == "no_such_path"
    return refused(
        problem["status"], problem["code"], problem["detail"], caller=_caller(request), known=not unknown
    )  # fmt: skip


def _caller(request: Request) -> Caller | None:
    """Who is signed in, as far as that is known: no error of finding out hides the one that is told."""
    found: Caller | None = getattr(request.state, "caller", None)
    if found is not None or COOKIE not in request.cookies:
        return found
    try:
        return session_caller(request, request.cookies[COOKIE])
    except (AppError, SQLAlchemyError) as error:
        logger(__name__).warning("nobody is known on the page of an error", error=type(error).__name__)
        return None
