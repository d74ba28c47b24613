"""The OpenAPI document: FastAPI's, with every status that a route may answer, and what an error looks like.

Most statuses follow from what a route is: whether it asks for a key, takes a body, names something in its path. They
are added here, in one place, so that no route forgets one; what only one route answers, it declares itself.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts

from api.http.auth import Requires
from api.http.direct import DirectRoute
from api.http.errors import MEDIA_TYPE, OTLP_PATHS

# Routes that look something up by a name in the query or the body, or of which there may be none yet.
_NAMING: Final = frozenset({
    ("GET", "/api/v1/alerts"), ("GET", "/api/v1/incidents"), ("POST", "/api/v1/mutes"),
    ("POST", "/api/v1/maintenance"), ("POST", "/api/v1/erasures"), ("GET", "/api/v1/ledger/checkpoint"),
    ("GET", "/api/v1/ledger/proof/inclusion"),
})  # fmt: skip
_PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "An error as RFC 9457 has it; other members are the facts that its text was built from.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "code": {"type": "string"}, "instance": {"type": "string"},
    },
}  # fmt: skip
_REFERENCE: Final[dict[str, Any]] = {"schema": {"$ref": "#/components/schemas/Problem"}}


class DescribedApp(FastAPI):
    """An application whose OpenAPI document lists every status."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas["Problem"] = _PROBLEM
            for context in iter_route_contexts(self.router.routes):
                _describe(document, context)
        return self.openapi_schema or {}


def _describe(document: dict[str, Any], context: RouteContext) -> None:
    operations = document["paths"].get(context.path_format, {})
    for method in context.methods or ():
        if (operation := operations.get(method.lower())) is None:
            continue
        _name_path_parameters(operation, context.path_format or "")
        responses = operation["responses"]
        responses.pop("422", None)  # FastAPI's own form of an error, which is not ours
        for status in sorted(_statuses(context, method, takes_body="requestBody" in operation)):
            kinds = operation["requestBody"]["content"] if context.path in OTLP_PATHS else {MEDIA_TYPE: None}
            content = {kind: _REFERENCE if kind == MEDIA_TYPE else {"schema": {}} for kind in kinds}
            described = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
            described["content"] = content


def _name_path_parameters(operation: dict[str, Any], path: str) -> None:
    """Add the parameters of the path that a direct route reads itself."""
    given: list[dict[str, Any]] = operation.get("parameters", [])
    missing = [name for name in re.findall(r"\{(\w+)\}", path) if name not in {one["name"] for one in given}]
    if missing:
        made = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in missing]
        operation["parameters"] = [*given, *made]


def _statuses(context: RouteContext, method: str, *, takes_body: bool) -> Iterator[int]:
    """Statuses of errors that follow from what a route is."""
    yield from (422, 431)  # a query with NUL, and a head that is too large
    if context.path != "/healthz":
        yield 503  # the database, the lake or the memory is not there
    calls = set(_calls(context))
    is_direct = isinstance(context.original_route, DirectRoute)
    if is_direct or any(isinstance(call, Requires) for call in calls):
        yield from (401, 403)
    if "{" in (context.path or "") or (method, context.path) in _NAMING:
        yield 404
    if method not in ("GET", "HEAD") or 409 in (getattr(context, "responses", None) or {}):
        yield 409
    if takes_body:
        yield from (400, 408, 413)
        if is_direct or any(getattr(call, "__qualname__", "").startswith("body_of.") for call in calls):
            yield 415
    if is_direct:
        yield 507


def _calls(context: RouteContext) -> Iterator[Any]:
    waiting = [getattr(context, "dependant", None)]
    while waiting:
        dependant = waiting.pop()
        if dependant is not None:
            yield dependant.call
            waiting += dependant.dependencies
