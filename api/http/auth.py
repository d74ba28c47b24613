"""Authenticate callers: by an API key in the Authorization header, or by a page session opened with one."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

from core.errors import ForbiddenError, UnauthenticatedError
from governance.access.api_keys import authenticate, holder
from governance.access.roles import Caller, Permission, require
from governance.access.sessions import SESSION_LENGTH, session_prefix, session_value
from monitor.site import Site

COOKIE: Final = "assay_session"
PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz", "/login", "/logout", "/static", "/api/v1/schema/spec"})
CALLER_CACHE_S: Final = 1.0  # a revocation by another process takes effect within this time
MAX_CACHED_CALLERS: Final = 1000  # keys
_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}


class Requires:
    """A dependency that requires one permission and returns the caller."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Caller:
        caller = _cached_caller(request)
        if caller is None:
            caller = await run_in_threadpool(_look_up_caller, request, request.app.state.site)
        require(caller, self.permission)
        return caller


def requires(permission: Permission) -> Any:
    """Declare the permission a route needs: `caller: Annotated[Caller, requires(Permission.READ)]`."""
    return Depends(Requires(permission), scope="function")


def forget_callers(request: Request) -> None:
    """Clear the cache of callers after a key was revoked."""
    request.app.state.callers.clear()


def _cached_caller(request: Request) -> Caller | None:
    """Return the holder of a key looked up less than CALLER_CACHE_S ago, to spare a query for every request."""
    header = request.headers.get("authorization")
    known = request.app.state.callers.get(_key_digest(header)) if header else None
    if known is None or time.monotonic() >= known[1]:
        return None
    caller: Caller = known[0]
    return caller


def _look_up_caller(request: Request, site: Site) -> Caller:
    caller = caller_of(request, site)
    if header := request.headers.get("authorization"):
        callers = request.app.state.callers
        if len(callers) >= MAX_CACHED_CALLERS:
            callers.clear()
        callers[_key_digest(header)] = (caller, time.monotonic() + CALLER_CACHE_S)
    return caller


def _key_digest(header: str) -> bytes:
    return hashlib.sha256(header.encode()).digest()


def caller_of(request: Request, site: Site) -> Caller:
    """Return the holder of the API key or of the session.

    Raises:
        UnauthenticatedError: the request has neither, or it is no longer valid.
        ForbiddenError: another site's page used the session.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError(
                f"the Authorization scheme {scheme[:20]!r} is not supported; send `Bearer <key>`"
            )
        with site.database.read() as db:
            return authenticate(db, key.strip())
    if (cookie := request.cookies.get(COOKIE)) is None:
        raise UnauthenticatedError("no API key was sent; send `Authorization: Bearer <key>`")
    prefix = session_prefix(cookie, site.keys.session, site.clock.now())
    if request.method not in _SAFE_METHODS:
        _same_origin(request)
    with site.database.read() as db:
        caller = holder(db, prefix) if prefix else None
    if caller is None:
        raise UnauthenticatedError("the session has ended; sign in again")
    return caller


def sign_in(site: Site, request: Request, response: Response, key: str) -> Caller:
    """Open a page session with an API key, and set its cookie on `response`.

    Raises:
        UnauthenticatedError: the key is not valid.
    """
    with site.database.read() as db:
        caller = authenticate(db, key.strip())
    value = session_value(caller.prefix, site.keys.session, site.clock.now() + SESSION_LENGTH)
    response.set_cookie(
        COOKIE, value, max_age=int(SESSION_LENGTH.total_seconds()), path="/", secure=request.url.scheme == "https",
        httponly=True, samesite="strict",
    )  # fmt: skip
    return caller


def sign_out(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def _same_origin(request: Request) -> None:
    """Require that a change made with a cookie comes from our own pages; checks headers in addition to SameSite."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if (
        (site is not None and site != "same-origin")
        or (origin is not None and origin != own)
        or (site is None and origin is None)
    ):
        raise ForbiddenError("this request did not come from a page of this service", origin=origin)


def undeclared(routes: Sequence[BaseRoute]) -> list[str]:
    """Return the paths of routes that are not public and declare no permission."""
    found = [(route.path or "", route) for route in iter_route_contexts(routes)]
    return [path for path, route in found if not _declares(route) and not _is_public(path)]


def _is_public(path: str) -> bool:
    return any(path == public or path.startswith(public + "/") for public in PUBLIC_PATHS)


def _declares(route: RouteContext) -> bool:
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        dependant = waiting.pop()
        if dependant is None:
            continue
        if isinstance(dependant.call, Requires):
            return True
        waiting += dependant.dependencies
    return False
