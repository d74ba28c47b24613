"""Sign in with a key, a password or through the provider; set up a second factor; sign out; the static files."""

import gzip

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.http import sign_in
from api.http.deps import SiteDep
from api.http.oidc import Provider, ProviderDownError
from api.pages import vega
from api.pages.forms import Form
from api.pages.render import STATIC, PageRoute, page, static
from core.errors import InvalidError, NotFoundError, UnauthenticatedError
from governance.access.attempts import LockedError
from governance.access.provider_people import NoRightsError
from governance.access.sign_in import BadCredentialsError, Enrolment, any_password
from monitor.site import Site

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
def login(request: Request, site: SiteDep, next: str = "/") -> HTMLResponse:  # noqa: A002 - the name in the address
    ended = sign_in.has_ended(request)
    return _form(site, _inside(next), "your session has ended; sign in again" if ended else None)


@router.post("/login")
def sign_in_here(request: Request, site: SiteDep, form: Form) -> Response:
    target = _inside(form.get("next", "/"))
    answer = RedirectResponse(target, 303)
    try:
        if form.get("person", "").strip():
            found = sign_in.with_password(
                site, request, answer, form["person"], form.get("password", ""), form.get("code", "")
            )
            if isinstance(found, Enrolment):
                return _enrolment(site, found, target)
        else:
            sign_in.with_key(site, request, answer, form.get("key", ""))
    except BadCredentialsError as error:
        return _form(site, target, error.message, status=401)
    except UnauthenticatedError:  # its message is for programs, which send a header
        return _form(site, target, "this API key is not valid; paste one that is in force", status=401)
    except LockedError as error:
        return _locked(site, target, error)
    return answer


@router.post("/login/enrol")
def set_up(request: Request, site: SiteDep, form: Form) -> Response:
    """Set a password, an app, or both; the page shows the recovery codes once."""
    target, problem = _inside(form.get("next", "/")), None
    password = form.get("password")
    if password is not None and password != form.get("again"):
        problem = "the two passwords are not the same"
    answer = page("sign_in/signed_in.html", caller=None, next=target)
    try:
        if problem is None:
            sign_in.after_enrolment(site, request, answer, form.get("form", ""), password, form.get("code", ""))
            return answer
    except (BadCredentialsError, InvalidError) as error:
        problem = error.message
    except LockedError as error:
        return _locked(site, target, error)
    return _form(site, target, f"{problem}; sign in again to try once more", status=422)


@router.get("/login/provider")
def to_provider(request: Request, site: SiteDep, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    provider, target = _provider(request), _inside(next)
    answer = Response(status_code=303)
    try:
        answer.headers["Location"] = sign_in.to_provider(site, provider, request, answer, target)
    except ProviderDownError as error:
        return _form(site, target, error.message, status=503)
    return answer


@router.get("/login/return")
def from_provider(request: Request, site: SiteDep) -> Response:
    answer = Response()
    try:
        target = _inside(sign_in.from_provider(site, _provider(request), request, answer))
    except LockedError as error:
        return _locked(site, "/", error)
    except (UnauthenticatedError, NoRightsError, ProviderDownError) as error:
        status = {NoRightsError: 403, ProviderDownError: 503}.get(type(error), 401)
        return _form(site, "/", error.message, status=status)
    # A page of our own leads on: a browser that comes from elsewhere sends no strict cookie after a redirect.
    shown = page("sign_in/signed_in.html", caller=None, next=target)
    for name, value in answer.raw_headers:
        if name == b"set-cookie":
            shown.raw_headers.append((name, value))
    return shown


@router.post("/logout")
def sign_out(request: Request, site: SiteDep) -> Response:
    answer = RedirectResponse("/login", 303)
    sign_in.sign_out(site, request, answer)
    return answer


@router.get("/static/{name}")
def static_file(name: str, site: SiteDep, request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    if name == vega.NAME:
        script, headers["Vary"] = vega.bundle(site.settings.home_dir), "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            script = gzip.decompress(script)
        return Response(script, media_type=STATIC["assay.js"], headers=headers)
    if name not in STATIC:
        raise NotFoundError(f"nothing is served at /static/{name}")
    return Response(static(name), media_type=STATIC[name], headers=headers)


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise NotFoundError("no sign-in provider is set; an admin sets ASSAY_OIDC__ISSUER")
    return provider


def _form(site: Site, target: str, problem: str | None, status: int = 200) -> HTMLResponse:
    server, oidc = site.settings.server, site.settings.oidc
    with site.database.read() as db:
        people = any_password(db)  # where people have passwords, their form comes first
    return page(
        "sign_in/login.html", caller=None, status=status, next=target, problem=problem, hours=server.session_hours,
        idle_minutes=server.session_idle_minutes, provider=oidc.name if oidc.issuer else None,
        people=people,
    )  # fmt: skip


def _locked(site: Site, target: str, error: LockedError) -> HTMLResponse:
    shown = _form(site, target, error.message, status=429)
    shown.headers["Retry-After"] = str(error.retry_after_s)
    return shown


def _enrolment(site: Site, asked: Enrolment, target: str) -> HTMLResponse:
    return page(
        "sign_in/enrol.html", caller=None, asked=asked, next=target, least=site.settings.access.password_length,
        installation=site.settings.ledger.origin,
    )  # fmt: skip


def _inside(target: str) -> str:
    """A path of this service, never another address."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain else "/"
