"""Authenticate callers: by an API key in the Authorization header, or by a page session.

Each route declares one permission and what it is about; both are checked here, before the handler runs.
"""

import hashlib
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import event
from sqlalchemy.orm import Session

from api.http.reach import Reach, within_reach
from core.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from governance.access.api_keys import authenticate
from governance.access.rights import RightsDifferError, rights_of
from governance.access.roles import Caller, Permission, require
from governance.access.sessions import (
    SEEN_EVERY,
    caller_of_session,
    end_session,
    find_session,
    open_session,
    over_because,
    owner_of,
    subject_of,
)
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import ApiKey, PageSession
from monitor.site import Site

COOKIE: Final = "assay_session"
PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz", "/login", "/logout", "/static", "/api/v1/schema/spec"})
CALLER_CACHE_S: Final = 1.0  # a revocation by another process takes effect within this time
MAX_CACHED_CALLERS: Final = 1000  # keys
DENIALS_S: Final = 60.0  # refusals of one kind for one key are one entry in this time
MAX_DENIALS: Final = 100  # entries about refusals in that time, of one process
_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}


class Requires:
    """A dependency that requires one permission, within the caller's scope, and returns the caller."""

    def __init__(self, permission: Permission, reach: Reach) -> None:
        self.permission, self.reach = permission, reach

    async def __call__(self, request: Request) -> Caller:
        caller = _cached_caller(request)
        if caller is None:
            caller = await run_in_threadpool(_look_up_caller, request, request.app.state.site)
        try:
            require(caller, self.permission)
            if caller.models is not None:
                await run_in_threadpool(within_reach, request.app.state.site, caller, self.reach, request)
        except (ForbiddenError, NotFoundError) as error:
            facts = {"permission": self.permission.value, "method": request.method, "role": caller.role.value}
            await run_in_threadpool(_denied, request, caller.subject, caller.name, error.code, facts)
            raise
        return caller


def _denied(request: Request, subject: str, actor: str, code: str, facts: Mapping[str, Any]) -> None:
    """Record a refusal in the ledger: the first of its kind in DENIALS_S, so that nobody fills the ledger by asking."""
    state, now = request.app.state, time.monotonic()
    kind = (subject, code, str(facts.get("permission")))
    if now < state.denials.get(kind, 0.0) or sum(until > now for until in state.denials.values()) >= MAX_DENIALS:
        return
    state.denials = {k: until for k, until in state.denials.items() if until > now} | {kind: now + DENIALS_S}
    site: Site = state.site
    body = {"code": code, **facts}
    with site.database.write() as db:
        append_entry(db, kind="access.denied", actor=actor, subject=subject, body=body, at=site.clock.now())


def requires(permission: Permission, reach: Reach = Reach.MODEL) -> Any:
    """Declare the permission a route needs, and what it is about: `Annotated[Caller, requires(Permission.READ)]`."""
    return Depends(Requires(permission, reach), scope="function")


def forget_callers(request: Request, db: Session) -> None:
    """Let this process know no caller from before once the transaction is committed, which changes somebody's rights.

    Other processes know one for CALLER_CACHE_S at most.
    """

    def forget(_: Session) -> None:
        request.app.state.callers = {}  # a look-up that began before keeps its caller in the old one

    event.listen(db, "after_commit", forget, once=True)


def _cached_caller(request: Request) -> Caller | None:
    """Return the holder of a key looked up less than CALLER_CACHE_S ago, to spare a query for every request."""
    header = request.headers.get("authorization")
    known = request.app.state.callers.get(_key_digest(header)) if header else None
    if known is None or time.monotonic() >= known[1]:
        return None
    caller: Caller = known[0]
    return caller


def _look_up_caller(request: Request, site: Site) -> Caller:
    callers = request.app.state.callers
    try:
        caller = caller_of(request, site)
    except RightsDifferError as error:
        _denied(request, error.subject, SYSTEM_ACTOR, error.code, {"found": error.found})
        raise
    except UnauthenticatedError as error:
        if "authorization" in request.headers:
            _denied(request, "access", SYSTEM_ACTOR, error.code, {"method": request.method})
        raise
    if header := request.headers.get("authorization"):
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
            return authenticate(db, key.strip(), site.clock.now())
    if (cookie := request.cookies.get(COOKIE)) is None:
        raise UnauthenticatedError("no API key was sent; send `Authorization: Bearer <key>`")
    if request.method not in _SAFE_METHODS:
        _same_origin(request)
    if (caller := _session_caller(site, cookie)) is None:
        raise UnauthenticatedError("the session has ended; sign in again")
    return caller


def _session_caller(site: Site, cookie: str) -> Caller | None:
    """The holder of a session that lasts; one that is found to be over is ended for good."""
    now, server = site.clock.now(), site.settings.server
    with site.database.read() as db:
        row = find_session(db, cookie)
        if row is None:
            return None
        idle = timedelta(minutes=server.session_idle_minutes)
        owner, rights = owner_of(db, row), rights_of(db)
        because = "key revoked" if owner is None else over_because(row, owner, rights, site.keys.session, now, idle)
        caller = caller_of_session(rights, owner) if owner is not None and because is None else None
    if because is None and now - row.seen_at < SEEN_EVERY:
        return caller
    with site.database.write() as db:
        kept = db.get(PageSession, row.id, with_for_update=True)
        if kept is None or kept.ended_at is not None:
            return None
        if because is None:
            kept.seen_at = now
        else:
            end_session(db, kept, because, SYSTEM_ACTOR, now)
    return caller


def has_ended(request: Request, site: Site) -> bool:
    """Whether the browser still sends the cookie of a session that is over; signing out removes it."""
    try:
        return COOKIE in request.cookies and _session_caller(site, request.cookies[COOKIE]) is None
    except RightsDifferError:
        return False


def sign_in(site: Site, request: Request, response: Response, key: str) -> Caller:
    """Open a page session with an API key, and set its cookie on `response`; the browser's session before it ends.

    Raises:
        UnauthenticatedError: the key is not valid.
        RightsDifferError: the key's row says otherwise than the ledger.
    """
    now, length = site.clock.now(), timedelta(hours=site.settings.server.session_hours)
    try:
        with site.database.read() as db:
            caller = authenticate(db, key.strip(), now)
    except (UnauthenticatedError, RightsDifferError) as error:
        # Whoever has no key could name anybody's: the entry names none.
        _denied(request, "session", SYSTEM_ACTOR, error.code, {"method": "sign in"})
        raise
    _end(site, request, "signed in again")
    with site.database.write() as db:
        value = open_session(db, caller, site.keys.session, now, length, "key")
    response.set_cookie(
        COOKIE, value, max_age=int(length.total_seconds()), path="/", secure=request.url.scheme == "https",
        httponly=True, samesite="strict",
    )  # fmt: skip
    return caller


def sign_out(site: Site, request: Request, response: Response) -> None:
    """End the browser's session; its cookie opens nothing any more."""
    _end(site, request, "signed out")
    response.delete_cookie(COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")


def _end(site: Site, request: Request, because: str) -> None:
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return
    with site.database.read() as db:
        found = find_session(db, cookie)
    if found is None or found.ended_at is not None:
        return
    with site.database.write() as db:
        row = db.get(PageSession, found.id, with_for_update=True)
        if row is not None:
            owner = owner_of(db, row)
            name = SYSTEM_ACTOR if owner is None else owner.name if isinstance(owner, ApiKey) else subject_of(row)
            end_session(db, row, because, name, site.clock.now())


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
