"""Addresses that nothing can have: they are refused before a route sees them."""

from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.errors import Shown, for_people, problem

MAX_PATH_CHARS: Final = 2_000  # decoded; the longest path of ours has a name and an id, 300 characters


class CleanAddresses:
    """Middleware: a path or query with NUL, or a path beyond MAX_PATH_CHARS, is answered 404 or 422."""

    def __init__(self, app: ASGIApp, shown: Shown) -> None:
        self._app, self._shown = app, shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http":
            request = Request(scope)
            if "\0" in scope["path"] or len(scope["path"]) > MAX_PATH_CHARS:
                text = f"no path has NUL or more than {MAX_PATH_CHARS} characters; correct the address"
                found = problem(request, 404, "no_such_path", text)
            elif b"%00" in scope["query_string"]:
                text = "the query contains the control character U+0000; leave it out"
                found = problem(request, 422, "invalid_request", text)
        app = self._app if found is None else await for_people(request, found, self._shown)
        await app(scope, receive, send)
