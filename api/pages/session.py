"""Sign in with an API key, sign out, and the two static files."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.http import auth
from api.http.deps import SiteDep
from api.pages.render import STATIC, Form, PageRoute, page, static
from core.errors import NotFoundError, UnauthenticatedError

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
def login(next: str = "/") -> HTMLResponse:  # noqa: A002 - the name in the address
    return page("login.html", caller=None, next=_inside(next), problem=None)


@router.post("/login")
def sign_in(request: Request, site: SiteDep, form: Form) -> Response:
    target = _inside(form.get("next", "/"))
    answer = RedirectResponse(target, 303)
    try:
        auth.sign_in(site, request, answer, form.get("key", ""))
    except UnauthenticatedError as error:
        return page("login.html", caller=None, status=401, next=target, problem=error.message)
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


def _inside(target: str) -> str:
    """A path of this service, never another address."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain else "/"
