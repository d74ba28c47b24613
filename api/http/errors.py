"""Turn errors into RFC 9457 problem documents; only this module maps error families to HTTP statuses."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import IntegrityError, NoResultFound, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from core.errors import (
    AppError,
    BusyError,
    ConflictError,
    ForbiddenError,
    InsufficientDataError,
    IntegrityFailureError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from core.logs import logger, without_values

MEDIA_TYPE: Final = "application/problem+json"
STATUS_BY_FAMILY: Final[Mapping[type[AppError], int]] = {
    NotFoundError: 404, ConflictError: 409, InvalidError: 422, InsufficientDataError: 422, UnauthenticatedError: 401,
    ForbiddenError: 403, BusyError: 503, IntegrityFailureError: 500,
}  # fmt: skip
# Codes with a more specific status than that of their family.
STATUS_BY_CODE: Final[Mapping[str, int]] = {
    "invalid_body": 400, "body_stalled": 408, "body_too_large": 413, "unsupported_media_type": 415, "store_full": 507,
    "too_many_failures": 429,
}  # fmt: skip
# OTLP clients read errors as google.rpc.Status, and retry only after 429, 502, 503 and 504.
OTLP_PATHS: Final = ("/v1/traces", "/v1/logs")
OTLP_RETRYABLE_CODES: Final = {"store_full", "conflict", "body_stalled"}
MAX_QUOTED_CHARS: Final = 2_000  # of one text of a problem: it may quote what was sent
MAX_QUOTED_ITEMS: Final = 100
_RESERVED_MEMBERS: Final = {"type", "title", "status", "detail", "code", "instance"}


# A handler of an error; and what makes a page for people of a problem document.
Handler = Callable[[Request, Exception], Awaitable[Response]]
Shown = Callable[[Request, dict[str, Any]], Response]


class UnsupportedMediaTypeError(InvalidError):
    code: ClassVar[str] = "unsupported_media_type"


def install(app: FastAPI, shown: Shown | None = None) -> None:
    """Register the handlers that turn every error into a problem document.

    Args:
        shown: makes the page that a browser gets in place of a problem document; called in a thread.
    """
    for kind, handler in (
        (AppError, _app_error), (RequestValidationError, _validation_error), (HTTPException, _http_error),
        (ClientDisconnect, _disconnected), (OperationalError, _database_away), (IntegrityError, _collision),
        (NoResultFound, _no_row), (Exception, _unhandled),
    ):  # fmt: skip
        app.add_exception_handler(kind, handler if shown is None else _for_people(handler, shown))


def _for_people(handler: Handler, shown: Shown) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        return await for_people(request, await handler(request, error), shown)

    return answer


async def for_people(request: Request, answer: Response, shown: Shown) -> Response:
    """An answer as it is, or the page of its problem where a browser shows it, or where a page was asked for."""
    if answer.media_type != MEDIA_TYPE or not (_is_page(request) or getattr(request.state, "page", False)):
        return answer
    made = await run_in_threadpool(shown, request, json.loads(bytes(answer.body)))
    for name in ("Retry-After", "Allow", "Connection"):
        if name in answer.headers:
            made.headers[name] = answer.headers[name]
    return made


def status_of(error: AppError) -> int:
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    return next((status for family, status in STATUS_BY_FAMILY.items() if isinstance(error, family)), 500)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    detail = _short(detail)
    if request.url.path in OTLP_PATHS:
        return _otlp_status(request, 503 if code in OTLP_RETRYABLE_CODES else status, detail, headers)
    document = {
        **_short({name: value for name, value in (facts or {}).items() if name not in _RESERVED_MEMBERS}),
        "type": f"urn:assay:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": _short(quote(request.url.path)),
    }
    # A name that a client made up may hold half of a surrogate pair, which has no bytes.
    content = json.dumps(jsonable_encoder(document), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(content.encode(errors="replace"), status, dict(headers or {}), MEDIA_TYPE)


def _short(value: Any) -> Any:
    """A value as a problem quotes it: what was sent may be a megabyte, and nobody reads that back."""
    if isinstance(value, str):
        return value if len(value) <= MAX_QUOTED_CHARS else f"{value[:MAX_QUOTED_CHARS]}..."
    if isinstance(value, Mapping):
        return {name: _short(part) for name, part in list(value.items())[:MAX_QUOTED_ITEMS]}
    if isinstance(value, list | tuple):
        return [_short(part) for part in value[:MAX_QUOTED_ITEMS]]
    return value


def _otlp_status(request: Request, status: int, detail: str, headers: Mapping[str, str] | None) -> Response:
    """Return a google.rpc.Status in the encoding of the request."""
    from monitor.ingest.otlp.answer import encoding_of
    from monitor.ingest.otlp.answer import status as encoded

    form = encoding_of(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    return Response(encoded(status, detail, form), status, dict(headers or {}), form)


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    status = status_of(error)
    headers = {}
    if isinstance(error, UnauthenticatedError):
        if _is_page(request):
            return RedirectResponse(f"/login?next={quote(_shown(request))}", 303)
        headers["WWW-Authenticate"] = 'Bearer realm="assay"'
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(error.retry_after_s)
    if status == HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"  # the rest of the body must not be read as the next request
    if isinstance(error, IntegrityFailureError):
        logger(__name__).error("integrity failure", code=error.code, detail=error.message)
    return problem(request, status, error.code, error.message, error.facts, headers)


def _is_page(request: Request) -> bool:
    """Return whether a browser requested a page or sent a form of one, so that it is redirected to the login page."""
    shown = "text/html" in request.headers.get("accept", "") and request.method in ("GET", "POST")
    return shown and not request.url.path.startswith(("/api/", "/v1/", "/metrics"))


def _shown(request: Request) -> str:
    """The path of the page that a browser shows: the one requested, or the one whose form was sent."""
    if request.method == "GET":
        return request.url.path
    found = re.match(r"https?://[^/]*(/[^?#]*)", request.headers.get("referer", ""))
    return unquote(found[1]) if found else "/"


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_one(found) for found in error.errors()]
    first = problems[0]
    broken = any(found["type"] == "json_invalid" for found in error.errors())
    detail = f"{first['field']}: {first['reason']}"
    return problem(
        request, 400 if broken else 422, "invalid_body" if broken else "invalid_request", detail, {"problems": problems}
    )


def _one(found: Mapping[str, Any]) -> dict[str, Any]:
    where: Sequence[Any] = found["loc"]
    field = ".".join(str(part) for part in where[1:]) or str(where[0])
    reason = str(found["msg"]).removeprefix("Value error, ")
    named = getattr(found.get("ctx", {}).get("error"), "field", None)  # of a check that looks at the whole body
    field = ".".join(part for part in (*(map(str, where[1:])), named) if part) if named else field
    if found["type"] == "extra_forbidden":
        reason = "unknown field; leave it out"
    value = None if found["type"] in ("missing", "json_invalid") else repr(found.get("input"))[:200]
    if found["type"].startswith(("datetime_", "timezone_")):
        reason = _no_time(str(found.get("input")), in_address=where[0] == "query")
    return {"field": field, "in": str(where[0]), "reason": reason, "value": value}


def _no_time(text: str, *, in_address: bool) -> str:
    shown = repr(text[:60])
    if in_address and re.search(r" \d\d:?\d\d$", text):
        return f"is {shown}; the + of an offset is written %2B in an address"
    return f"is {shown}; write a time with its zone, such as 2026-03-01T12:00:00Z"


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, AppError):  # of the body: FastAPI hides what was raised while it was received
        return await _app_error(request, error.__cause__)
    if isinstance(error.__cause__, ClientDisconnect):
        return await _disconnected(request, error.__cause__)
    if error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, ValueError | RecursionError):
        text = "the body is no JSON that can be read: its bytes are not UTF-8, or it has too many digits or levels"
        return problem(request, 400, "invalid_body", text)
    codes = {404: "no_such_path", 405: "method_not_allowed"}
    allowed = (error.headers or {}).get("Allow", "other methods")
    details = {
        404: f"nothing is served at {request.url.path}",
        405: f"{request.method} is not served at {request.url.path}; allowed: {allowed}",
    }
    code = codes.get(error.status_code, "http_error")
    return problem(
        request, error.status_code, code, details.get(error.status_code, str(error.detail)), headers=error.headers
    )


async def _disconnected(request: Request, _: Exception) -> Response:
    """Answer a client that disconnected while sending: nobody reads the response, and it is not a server error."""
    return problem(request, 400, "invalid_body", "the body ended early; nothing of it was stored, send it again")


async def _database_away(request: Request, error: Exception) -> Response:
    logger(__name__).error("database unavailable", error=type(error).__name__)
    text = "the database cannot be reached or is locked; nothing was changed, send the request again"
    return problem(request, 503, "database_unavailable", text, headers={"Retry-After": "5"})


async def _collision(request: Request, error: Exception) -> Response:
    # Never the message: it quotes the row.
    named = getattr(getattr(getattr(error, "orig", None), "diag", None), "constraint_name", None)
    logger(__name__).warning("constraint", error=type(error).__name__, constraint=named)
    text = (
        "another request changed the same thing at the same time; nothing was changed, "
        "read the current state and try again"
    )
    return problem(request, 409, "conflict", text)


async def _no_row(request: Request, _: Exception) -> Response:
    return problem(request, 404, "not_found", "something this request names does not exist; check ids and cursor")


async def _unhandled(request: Request, error: Exception) -> Response:
    route = getattr(request.scope.get("route"), "path", None)  # not the path itself: an id in it may be a person's
    logger(__name__).error("unhandled error", route=route, **without_values(error))
    text = "the service failed on this request; the cause is in its log"
    return problem(request, 500, "internal", text)
