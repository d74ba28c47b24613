"""Sign in with an API key, sign out, and the two static files."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.http import auth
from api.http.deps import SiteDep
from api.pages.render import STATIC, Form, PageRoute, page, static
from core.errors import NotFoundError, UnauthenticatedError
from monitor.site import Site

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
def login(request: Request, site: SiteDep, next: str = "/") -> HTMLResponse:  # noqa: A002 - the name in the address
    ended = auth.has_ended(request, site)
    return _form(site, _inside(next), "your session has ended; sign in again" if ended else None)


@router.post("/login")
def sign_in(request: Request, site: SiteDep, form: Form) -> Response:
    target = _inside(form.get("next", "/"))
    answer = RedirectResponse(target, 303)
    try:
        auth.sign_in(site, request, answer, form.get("key", ""))
    except UnauthenticatedError:  # its message is for programs, which send a header
        return _form(site, target, "this API key is not valid; paste one that was not revoked", status=401)
    return answer


@router.post("/logout")
def sign_out(request: Request, site: SiteDep) -> Response:
    answer = RedirectResponse("/login", 303)
    auth.sign_out(site, request, answer)
    return answer


@router.get("/static/{name}")
def static_file(name: str) -> Response:
    if name not in STATIC:
        raise NotFoundError(f"nothing is served at /static/{name}")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(static(name), media_type=STATIC[name], headers=headers)


def _form(site: Site, target: str, problem: str | None, status: int = 200) -> HTMLResponse:
    server = site.settings.server
    return page(
        "login.html", caller=None, status=status, next=target, problem=problem, hours=server.session_hours,
        idle_minutes=server.session_idle_minutes,
    )  # fmt: skip


def _inside(target: str) -> str:
    """A path of this service, never another address."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain else "/"
