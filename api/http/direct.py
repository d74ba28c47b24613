"""The route class of ingest: FastAPI's dependencies and response model would take longer than storing a row does.

Such a route is declared as any other, with its path, permission and documentation, and appears in the OpenAPI document.
Middleware sees its requests and the application's handlers answer its errors; decision 0015 has the figures.
"""

from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from api.http.auth import Requires


class DirectRoute(APIRoute):
    """Calls the coroutine `endpoint(caller, request)`, which returns a Response, once the permission is checked."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        super().__init__(path, endpoint, **declared)
        match [found.call for found in self.dependant.dependencies]:
            case [Requires() as permission]:
                self._permission = permission
            case other:
                raise TypeError(f"{path}: a direct route has one dependency, its permission; this one has {other}")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # answers 405
            return
        request = Request(scope, receive, send)
        response = await self.endpoint(await self._permission(request), request)
        await response(scope, receive, send)
