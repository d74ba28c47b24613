"""FastAPI whose routes for rows are asked past it: routing and dependencies would take longer than storing a row does.

Such a route is declared as any other, with its path, permission and documentation; its endpoint takes the caller and
the request, and answers a Response. What is raised is answered by the handlers of the application.
"""

import re
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from api.auth import Requires
from governance.access.roles import Caller

Endpoint = Callable[[Caller, Request], Awaitable[Response]]
_MARK: Final = "taken_directly"


def direct(endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint as one that is asked past the framework."""
    setattr(endpoint, _MARK, True)
    return endpoint


class DirectFastAPI(FastAPI):
    @cached_property
    def _direct(self) -> list[tuple[str, re.Pattern[str], Requires, Endpoint]]:
        """Method, path, permission and endpoint of the marked ones, among the routes there are at the first request."""
        made = []
        for found in iter_route_contexts(self.routes):
            route = found.original_route
            if isinstance(route, APIRoute) and hasattr(route.endpoint, _MARK):
                (permission,) = [d.call for d in route.dependant.dependencies if isinstance(d.call, Requires)]
                pattern = compile_path(found.path or "")[0]
                made += [(method, pattern, permission, route.endpoint) for method in route.methods or ()]
        return made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            for method, pattern, permission, endpoint in self._direct:
                if method == scope["method"] and (found := pattern.match(scope["path"])):
                    scope["app"], scope["path_params"] = self, found.groupdict()
                    response = await self._answer(Request(scope, receive), permission, endpoint)
                    await response(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)

    async def _answer(self, request: Request, permission: Requires, endpoint: Endpoint) -> Response:
        try:
            return await endpoint(await permission(request), request)
        except Exception as error:  # noqa: BLE001 - there is a handler for whatever is raised
            handlers = self.exception_handlers
            handler = next(handlers[kind] for kind in type(error).mro() if kind in handlers)
            answer: Response = handler(request, error)  # type: ignore[assignment]  # none of ours waits
            return answer
