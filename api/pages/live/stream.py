"""The stream of what changes: `GET /live?on=run:ID&on=alerts`, as server-sent events.

Coroutines, because a stream is open for as long as somebody looks: in a thread each, forty of them would be all that a
process can answer (docs/decisions/0041).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from api.http.auth import requires, stands
from api.http.deps import SiteDep, StorableText
from api.http.reach import Reach
from api.pages.live.topics import State, ident_of, topics
from api.pages.live.watch import Listener, Watch
from governance.access.roles import Caller, Permission

AGAIN_MS: Final = 3000  # after which a browser connects again
CHECK_S: Final = 2.0  # between two looks at whether the key or the session still stands
PING_S: Final = 15.0
router = APIRouter(include_in_schema=False)


@router.get("/live")
async def live(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], request: Request, site: SiteDep,
    on: Annotated[list[StorableText], Query(max_length=100)],
    last: Annotated[StorableText | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> EventSourceResponse:  # fmt: skip
    asked = await run_in_threadpool(topics, site, caller, on)
    watch: Watch = request.app.state.live
    listener = watch.listen(caller, asked)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
    return EventSourceResponse(_told(watch, listener, request, caller, last), headers=headers)


async def _told(
    watch: Watch, listener: Listener, request: Request, caller: Caller, last: str | None
) -> AsyncIterator[bytes]:
    """What a listener is told: each state once, again only when it is another."""
    told: dict[str, State] = {}
    known, pinged = last, time.monotonic()
    checked = pinged
    try:
        yield format_sse_event(retry=AGAIN_MS)
        while not listener.over:
            seen = listener.seen
            if seen is not None and (now := ident_of(seen)) != known:
                for name, state in seen.items():
                    if told.get(name) != state:
                        text = json.dumps({"topic": name, **state}, ensure_ascii=False)
                        yield format_sse_event(data_str=text, event="state", id=now)
                told, known, pinged = dict(seen), now, time.monotonic()
            try:
                await asyncio.wait_for(listener.changed.wait(), CHECK_S)
                listener.changed.clear()
            except TimeoutError:
                if time.monotonic() - pinged >= PING_S:
                    pinged = time.monotonic()
                    yield KEEPALIVE_COMMENT
            if time.monotonic() - checked >= CHECK_S:
                checked = time.monotonic()
                if not await run_in_threadpool(stands, request, caller):
                    yield format_sse_event(data_str="{}", event="over")
                    return
    finally:
        watch.leave(listener)
