"""Decision 0015: what the framework costs a request, by how the route of ingest is served.

    python -m bench.decisions.direct_routes [--requests N]

CPU microseconds per request, the least of seven rounds; the endpoint checks a permission that always holds and answers
`{}`. The application is called in this process, without HTTP.
"""

import argparse
import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors
from api.http.auth import Requires
from api.http.direct import DirectRoute
from governance.access.roles import Permission

PATH = "/api/v1/models/{model}/events"
PATTERN = re.compile("^/api/v1/models/(?P<model>[^/]+)/events$")


class Allowed(Requires):
    async def __call__(self, request: Request) -> Any:
        return None


ALLOWED = Allowed(Permission.EVENTS_WRITE)


async def take(_: Annotated[Any, Depends(ALLOWED)], request: Request) -> Response:
    assert request.path_params["model"] == "bench"
    return Response(b"{}", media_type="application/json")


class HandlerRoute(APIRoute):
    """FastAPI's own hook for routes that handle the request themselves."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            return await take(await ALLOWED(request), request)

        return handle


class InnerMiddleware:
    """Answers the requests of ingest itself and passes the others on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (found := PATTERN.match(scope["path"])):
            scope["path_params"] = found.groupdict()
            request = Request(scope, receive)
            response = await take(await ALLOWED(request), request)
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def application() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    errors.install(app)
    return app


def included(route_class: type[APIRoute]) -> FastAPI:
    app, router = application(), APIRouter(route_class=route_class)
    router.post(PATH)(take)
    app.include_router(router)
    return app


def first(route: Route) -> FastAPI:
    app = application()
    app.router.routes.insert(0, route)
    return app


def with_middleware() -> FastAPI:
    app = application()
    app.add_middleware(InnerMiddleware)
    return app


async def plain(request: Request) -> Response:
    return await take(await ALLOWED(request), request)


VARIANTS: dict[str, Callable[[], ASGIApp]] = {
    "in front of the application, no middleware": lambda: InnerMiddleware(application()),
    "innermost middleware": with_middleware,
    "DirectRoute, first in the router": lambda: first(DirectRoute(PATH, take, methods=["POST"])),
    "Starlette's Route, first in the router": lambda: first(Route(PATH, plain, methods=["POST"])),
    "DirectRoute in an included router": lambda: included(DirectRoute),
    "APIRoute with its own get_route_handler": lambda: included(HandlerRoute),
    "APIRoute": lambda: included(APIRoute),
}


def scope() -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
        "method": "POST", "root_path": "", "path": "/api/v1/models/bench/events", "query_string": b"", "state": {},
        "headers": [(b"host", b"x"), (b"authorization", b"Bearer k"), (b"content-type", b"application/x-ndjson")],
        "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
    }  # fmt: skip


async def receive() -> Message:
    return {"type": "http.request", "body": b"{}", "more_body": False}


async def send(message: Message) -> None:
    assert message.get("status", 200) == 200, message


async def least_us(app: ASGIApp, requests: int) -> float:
    found = []
    for _ in range(8):  # the first is not counted
        begin = time.process_time()
        for _ in range(requests):
            await app(scope(), receive, send)
        found.append((time.process_time() - begin) / requests * 1e6)
    return min(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    for name, make in VARIANTS.items():
        print(f"{asyncio.run(least_us(make(), options.requests)):6.1f} us  {name}")


if __name__ == "__main__":
    main()
