"""Authenticate callers: by an API key in the Authorization header, or by a page session.

Each route declares one permission and what it is about; both are checked here, before the handler runs.
"""

import hashlib
import hmac
import time
from datetime import timedelta
from typing import Any, Final

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import event
from sqlalchemy.orm import Session

from api.http.denials import bad_key, denied
from api.http.oidc import Provider
from api.http.reach import Reach, require_owners, within_reach
from core.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from governance.access.api_keys import authenticate
from governance.access.attempts import LockedError
from governance.access.provider_people import NoRightsError, known_person, needs_change, person_of_claims
from governance.access.rights import RightsDifferError, rights_of
from governance.access.roles import Caller, Permission, require
from governance.access.sessions import (
    SEEN_EVERY,
    caller_of_session,
    end_session,
    find_session,
    over_because,
    owner_of,
)
from governance.ledger.append import SYSTEM_ACTOR
from governance.tables import ApiKey, PageSession, Person
from monitor.site import Site

COOKIE: Final = "assay_session"
PUBLIC_PATHS: Final = frozenset(
    {"/healthz", "/readyz", "/login", "/logout", "/static", "/api/v1/schema/spec", "/api/v1/witness"}
)
CALLER_CACHE_S: Final = 1.0  # a revocation by another process takes effect within this time
MAX_CACHED_CALLERS: Final = 1000  # keys
_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}


class Requires:
    """A dependency that requires one permission, within the caller's scope, and returns the caller."""

    def __init__(self, permission: Permission, reach: Reach) -> None:
        self.permission, self.reach = permission, reach

    async def __call__(self, request: Request) -> Caller:
        caller = _cached_caller(request)
        if caller is None:
            caller = await run_in_threadpool(_look_up_caller, request, request.app.state.site)
        request.state.caller = caller
        try:
            require(caller, self.permission)
            if ids := within_reach(caller, self.reach, request):
                await run_in_threadpool(require_owners, request.app.state.site, caller, ids)
        except (ForbiddenError, NotFoundError) as error:
            facts = {"permission": self.permission.value, "method": request.method, "role": caller.role.value}
            await run_in_threadpool(denied, request, caller.subject, caller.name, error.code, facts)
            raise
        return caller


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
    state, callers = request.app.state, request.app.state.callers
    try:
        caller = caller_of(request, site)
    except RightsDifferError as error:
        denied(request, error.subject, SYSTEM_ACTOR, error.code, {"found": error.found})
        raise
    except UnauthenticatedError as error:
        if "authorization" in request.headers:
            if (left := bad_key(request)) is not None:
                raise LockedError(
                    "too many keys or tokens from this client were not valid; send a valid one, which is taken at once",
                    retry_after_s=int(left),
                ) from error
            denied(request, "access", SYSTEM_ACTOR, error.code, {"method": request.method})
        raise
    except NoRightsError as error:
        denied(request, "access", SYSTEM_ACTOR, error.code, {"method": request.method})
        raise
    if caller.prefix:
        state.used[caller.prefix] = site.clock.now()
    if header := request.headers.get("authorization"):
        if len(callers) >= MAX_CACHED_CALLERS:
            callers.clear()
        callers[_key_digest(header)] = (caller, time.monotonic() + CALLER_CACHE_S)
    return caller


def _key_digest(header: str) -> bytes:
    return hashlib.sha256(header.encode()).digest()


def caller_of(request: Request, site: Site) -> Caller:
    """Return the holder of the API key, the token or the session.

    Raises:
        UnauthenticatedError: the request has none, or it is no longer valid.
        ForbiddenError: another site's page used the session, or nobody here is meant by the token.
        ProviderDownError: the keys that tokens are checked with cannot be read.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError(
                f"the Authorization scheme {scheme[:20]!r} is not supported; send `Bearer <key>`"
            )
        provider: Provider | None = request.app.state.provider
        if provider is not None and provider.settings.audience is not None and not key.strip().startswith("assay_"):
            return token_caller(request, provider, site, key.strip())
        with site.database.read() as db:
            return authenticate(db, key.strip(), site.clock.now())
    if (cookie := request.cookies.get(COOKIE)) is None:
        raise UnauthenticatedError("no API key was sent; send `Authorization: Bearer <key>`")
    if request.method not in _SAFE_METHODS:
        _same_origin(request)
    if (caller := session_caller(request, cookie)) is None:
        raise UnauthenticatedError("the session has ended; sign in again")
    return caller


def token_caller(request: Request, provider: Provider, site: Site, token: str) -> Caller:
    """The person whom a provider's token names. Raises BadTokenError, NoRightsError, ProviderDownError."""
    now = site.clock.now()
    claims = provider.claims(token, provider.settings.audience or "", now)
    groups = provider.groups(claims)
    with site.database.read() as db:
        if not needs_change(db, claims, groups, provider.rights):
            return known_person(db, claims)
    if provider.rights.roles and provider.rights.of(groups) is None:  # a token of a program may list no groups at all
        raise NoRightsError("the token names no group that gives a role here")
    with site.database.write() as db:
        forget_callers(request, db)
        found = person_of_claims(db, claims, groups, provider.rights, now, site.keys.session)
    if isinstance(found, NoRightsError):
        raise found
    return found


def session_key(request: Request, owner: ApiKey | Person | None) -> bytes:
    """The key that seals a session: of people of a provider, one that changes with the mapping of their groups."""
    site: Site = request.app.state.site
    if not isinstance(owner, Person) or owner.issuer is None:
        return site.keys.session
    provider: Provider | None = request.app.state.provider
    mapping = "none" if provider is None else provider.rights.digest
    return hmac.new(site.keys.session, f"assay groups {mapping}".encode(), hashlib.sha256).digest()


def session_caller(request: Request, cookie: str) -> Caller | None:
    """The holder of a session that lasts; one that is found to be over is ended for good."""
    site: Site = request.app.state.site
    now = site.clock.now()
    with site.database.read() as db:
        row = find_session(db, cookie)
        if row is None:
            return None
        caller, because = _of_session(request, db, row)
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


def _of_session(request: Request, db: Session, row: PageSession) -> tuple[Caller | None, str | None]:
    """The holder of a session, None with the reason where it is over."""
    site: Site = request.app.state.site
    idle = timedelta(minutes=site.settings.server.session_idle_minutes)
    owner, rights = owner_of(db, row), rights_of(db)
    if owner is None:
        return None, "key revoked"
    because = over_because(row, owner, rights, session_key(request, owner), site.clock.now(), idle)
    return (None if because is not None else caller_of_session(rights, owner)), because


def stands(request: Request, caller: Caller) -> bool:
    """Whether the key or the session that a stream began with is still in force, with the same rights.

    To look is no use of a session: one whose holder does nothing but leave a page open ends as any other.
    """
    site: Site = request.app.state.site
    try:
        if "authorization" in request.headers:
            return caller_of(request, site) == caller
        with site.database.read() as db:
            row = find_session(db, request.cookies.get(COOKIE, ""))
            return row is not None and _of_session(request, db, row)[0] == caller
    except (UnauthenticatedError, ForbiddenError):
        return False


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
