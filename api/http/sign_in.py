"""Sign in to the pages: with a key, with a password and a code, or through the provider; and sign out."""

from datetime import timedelta
from typing import Final

from fastapi import Request, Response

from api.http.auth import COOKIE, forget_callers, session_caller, session_key
from api.http.denials import client_of, denied, failed
from api.http.oidc import Provider
from core.errors import UnauthenticatedError
from governance.access.api_keys import authenticate
from governance.access.attempts import Attempt, check_open, count_success
from governance.access.provider_people import NoRightsError, person_of_claims
from governance.access.rights import RightsDifferError
from governance.access.rights_entries import ACTOR_PREFIX
from governance.access.roles import Caller
from governance.access.sessions import end_session, find_session, open_session, owner_of, subject_of
from governance.access.sign_in import BadCredentialsError, Enrolment, check_password, enrol
from governance.ledger.append import SYSTEM_ACTOR
from governance.tables import ApiKey, PageSession, Person
from monitor.site import Site

WAY_COOKIE: Final = "assay_way"  # from the way to the provider until the way back


def has_ended(request: Request) -> bool:
    """Whether the browser still sends the cookie of a session that is over; signing out removes it."""
    try:
        return COOKIE in request.cookies and session_caller(request, request.cookies[COOKIE]) is None
    except RightsDifferError:
        return False


def with_key(site: Site, request: Request, response: Response, key: str) -> Caller:
    """Open a page session with an API key, and set its cookie on `response`; the browser's session before it ends.

    Raises:
        UnauthenticatedError: the key is not valid.
        RightsDifferError: the key's row says otherwise than the ledger.
        LockedError: too many sign-ins from this client have failed.
    """
    now, attempt = site.clock.now(), Attempt(client_of(request))
    try:
        with site.database.read() as db:
            caller = authenticate(db, key.strip(), now)
    except (UnauthenticatedError, RightsDifferError) as error:
        _check_open(site, attempt)
        failed(request, attempt, "session")
        # Whoever has no key could name anybody's: the entry names none.
        denied(request, "session", SYSTEM_ACTOR, error.code, {"method": "sign in"})
        raise
    _open(site, request, response, caller, "key")
    return caller


def with_password(
    site: Site, request: Request, response: Response, who: str, password: str, code: str
) -> Caller | Enrolment:
    """Open a page session of a person, or say what the person must set up first.

    Raises:
        BadCredentialsError, RightsDifferError, LockedError.
    """
    now, attempt = site.clock.now(), Attempt(client_of(request), who.strip()[:200])
    _check_open(site, attempt)
    try:
        found = check_password(
            site.database, who, password, code, key=site.keys.session, now=now,
            second_factor=site.settings.access.second_factor, installation=site.settings.ledger.origin,
        )  # fmt: skip
    except (BadCredentialsError, RightsDifferError) as error:
        about = _known(site, who.strip())
        failed(request, attempt, about)
        denied(request, about, SYSTEM_ACTOR, error.code, {"method": "sign in"})
        raise
    if isinstance(found, Caller):
        _open(site, request, response, found, "password", attempt)
    return found


def after_enrolment(
    site: Site, request: Request, response: Response, form: str, new_password: str | None, code: str
) -> tuple[Caller, tuple[str, ...]]:
    """Set up what was asked for, and open a page session. Raises BadCredentialsError, InvalidError, LockedError."""
    now, attempt = site.clock.now(), Attempt(client_of(request))
    _check_open(site, attempt)
    try:
        with site.database.write() as db:
            caller, recovery = enrol(
                db, form, new_password, code, key=site.keys.session, now=now,
                least=site.settings.access.password_length,
            )  # fmt: skip
    except BadCredentialsError as error:
        failed(request, attempt, "session")
        denied(request, "session", SYSTEM_ACTOR, error.code, {"method": "sign in"})
        raise
    _open(site, request, response, caller, "password", Attempt(client_of(request), caller.person))
    return caller, recovery


def to_provider(site: Site, provider: Provider, request: Request, response: Response, target: str) -> str:
    """The address of the provider to send the browser to; its cookie is set on `response`. Raises ProviderDownError."""
    base = site.settings.oidc.base_url or site.settings.pages_url
    way = provider.begin(f"{base.rstrip('/')}/login/return", target, site.clock.now())
    response.set_cookie(
        WAY_COOKIE, way.cookie, max_age=600, path="/login", secure=request.url.scheme == "https", httponly=True,
        samesite="lax",  # the provider's answer comes from elsewhere
    )  # fmt: skip
    return way.url


def from_provider(site: Site, provider: Provider, request: Request, response: Response) -> str:
    """Open the session of the person who comes back from the provider; returns the path of the page to show.

    Raises:
        BadTokenError, NoRightsError, RightsDifferError, ProviderDownError, LockedError.
    """
    attempt, now = Attempt(client_of(request)), site.clock.now()
    _check_open(site, attempt)
    try:
        claims, target = provider.finish(request.cookies.get(WAY_COOKIE, ""), request.query_params, now)
        with site.database.write() as db:
            forget_callers(request, db)
            caller = person_of_claims(db, claims, provider.groups(claims), provider.rights, now, site.keys.session)
        if isinstance(caller, NoRightsError):
            raise caller
    except (UnauthenticatedError, NoRightsError, RightsDifferError) as error:
        if isinstance(error, UnauthenticatedError):
            failed(request, attempt, "session")
        denied(request, "session", SYSTEM_ACTOR, error.code, {"method": "sign in", "way": "provider"})
        raise
    response.delete_cookie(WAY_COOKIE, path="/login")
    _open(site, request, response, caller, "provider")
    return target


def sign_out(site: Site, request: Request, response: Response) -> None:
    """End the browser's session; its cookie opens nothing any more."""
    _end(site, request, "signed out")
    response.delete_cookie(COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")


def _check_open(site: Site, attempt: Attempt) -> None:
    with site.database.read() as db:
        check_open(db, attempt, site.keys.session, site.clock.now())


def _known(site: Site, who: str) -> str:
    """The person in the ledger's words if there is one: what somebody types may be a name, or a password."""
    with site.database.read() as db:
        return ACTOR_PREFIX + who.casefold() if db.get(Person, who.casefold()[:64]) is not None else "session"


def _open(
    site: Site, request: Request, response: Response, caller: Caller, way: str, attempt: Attempt | None = None
) -> None:
    now, length = site.clock.now(), timedelta(hours=site.settings.server.session_hours)
    _end(site, request, "signed in again")
    with site.database.write() as db:
        owner = None if caller.prefix else db.get(Person, caller.person)
        value = open_session(db, caller, session_key(request, owner), now, length, way)
        if attempt is not None:
            count_success(db, attempt, site.keys.session, now)
    response.set_cookie(
        COOKIE, value, max_age=int(length.total_seconds()), path="/", secure=request.url.scheme == "https",
        httponly=True, samesite="strict",
    )  # fmt: skip


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
