"""Bodies that come slowly, or never end, cost their sender a connection and nobody else anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Scope
from uvicorn.server import ServerState

from api.app import create_app
from api.http.arriving import BoundedBodies, Room, read_body
from api.http.errors import install
from api.server import configured
from core.settings import ServerSettings
from governance.access.api_keys import first_admin
from monitor import service
from monitor.ingest.media import NDJSON
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_ONLY
from tests.server.conftest import SPEC, event

EVENTS = "/api/v1/models/support-intents/events"
TRICKLE: list[bytes | float] = [0.01, b" "] * 1000
Answer = tuple[int, dict[str, Any]]


async def ask(
    app: ASGIApp, path: str, parts: Sequence[bytes | float], *, key: str = "", media_type: str = NDJSON
) -> Answer:
    """The answer to a POST whose body comes in parts, with pauses (seconds) between them; a body ends after `b""`."""
    waiting = list(parts)

    async def receive() -> Message:
        while waiting:
            part = waiting.pop(0)
            if isinstance(part, bytes):
                return {"type": "http.request", "body": part, "more_body": part != b""}
            await asyncio.sleep(part)
        await asyncio.sleep(3600)
        raise AssertionError

    answered: list[Message] = []

    async def send(message: Message) -> None:
        answered.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", media_type.encode())]
    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": headers, "scheme": "http", "server": ("x", 80), "client": ("x", 1),
        "root_path": "", "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return answered[0]["status"], json.loads(b"".join(m.get("body", b"") for m in answered[1:]))


def served(site: Site, **server: Any) -> tuple[FastAPI, str]:
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(SPEC), "tester")
    key = first_admin(site)
    assert key is not None
    tight = site.settings.model_copy(update={"server": site.settings.server.model_copy(update=server)})
    return create_app(Site(tight, site.database, site.artifacts, site.events, site.clock, site.keys)), key


def run(made: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await made

    return asyncio.run(bounded())


@SQLITE_ONLY
def test_clients_that_trickle_a_body_without_a_length_take_no_room_from_others(site: Site) -> None:
    app, key = served(site, max_under_way_mb=4, max_body_mb=1)
    row = json.dumps(event("e1", ts="2026-01-04T12:00:00Z")).encode()

    async def play() -> Answer:
        trickle = [b"{", *TRICKLE]
        slow = [asyncio.create_task(ask(app, EVENTS, trickle, key=key)) for _ in range(8)]
        await asyncio.sleep(0.1)
        answer = await ask(app, EVENTS, [row, b""], key=key)
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        await asyncio.to_thread(app.state.intake.stop)
        return answer

    status, body = run(play())
    assert (status, body.get("accepted")) == (200, 1), body


@SQLITE_ONLY
@pytest.mark.parametrize("path", [EVENTS, "/v1/traces", "/api/v1/mutes", "/api/v1/models/support-intents"])
def test_a_body_that_trickles_is_answered_408_on_every_kind_of_route(site: Site, path: str) -> None:
    app, key = served(site, stalled_body_s=0.2, min_bytes_per_s=2000)
    status, body = run(ask(app, path, [b"{", *TRICKLE], key=key, media_type="application/json"))
    if path.startswith("/api/v1/models/support-intents") and path != EVENTS:
        assert status == 405
    else:
        assert (status, "too slowly" in str(body)) == (503 if path == "/v1/traces" else 408, True), body


@SQLITE_ONLY
def test_a_small_body_is_bounded_before_the_caller_is_known(site: Site) -> None:
    app, _ = served(site)
    part = b" " * (1 << 20)
    status, body = run(ask(app, "/api/v1/mutes", [*[part] * 9, b""], key="none", media_type="application/json"))
    assert (status, body["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("trickle", [False, True])
def test_when_there_is_no_room_the_slowest_body_gives_way(trickle: bool) -> None:
    app = FastAPI()
    app.add_middleware(BoundedBodies, room=Room(ServerSettings(max_under_way_mb=2, max_body_mb=8, stalled_body_s=3)))
    install(app)

    @app.post("/")
    async def take(request: Request) -> int:
        return len(await read_body(request, 8))

    part = b" " * (1 << 19)

    async def play() -> list[Any]:
        rest = [0.01, b" "] * 40 if trickle else [0.4]
        slow = asyncio.create_task(ask(app, "/", [part, part, part, *rest, b""]))
        await asyncio.sleep(0.2)
        brisk = await asyncio.gather(*(ask(app, "/", [part, part, b""]) for _ in range(2)))
        return [*brisk, await slow]

    first, second, slow = run(play())
    assert (first, second) == ((200, 1 << 20), (200, 1 << 20))
    assert (slow[0], slow[1]["code"]) == (503, "overloaded")


def test_room_that_was_given_back_is_counted_once() -> None:
    app = FastAPI()
    room = Room(ServerSettings(max_under_way_mb=1, max_body_mb=8))
    app.add_middleware(BoundedBodies, room=room)
    install(app)

    @app.post("/")
    async def take(request: Request) -> int:
        return len(await read_body(request, 8))

    part = b" " * (1 << 19)
    statuses = [run(ask(app, "/", [part] * n + [b""]))[0] for n in (1, 2, 3, 40, 1)]
    assert statuses == [200, 200, 503, 503, 200]
    assert room.taken == 0


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the protocol that the server uses, in this process."""
    config = configured(app, app.state.site.settings.server)
    config.lifespan = "off"
    config.load()
    protocol: Callable[..., asyncio.Protocol] = config.http_protocol_class
    made = partial(protocol, config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1 << 16)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


@pytest.fixture
def small(site: Site) -> FastAPI:
    """An application of its own behind the server's protocol, whose patience is short."""
    server = site.settings.server.model_copy(update={"head_s": 0.2, "stalled_body_s": 0.2, "min_bytes_per_s": 10_000})
    tight = site.settings.model_copy(update={"server": server})
    app = FastAPI()
    app.state.site = Site(tight, site.database, site.artifacts, site.events, site.clock, site.keys)
    app.state.ended = asyncio.Event()

    @app.get("/long")
    async def long() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            try:
                for _ in range(2000):
                    yield b"x" * 65536
            finally:
                app.state.ended.set()

        return StreamingResponse(parts())

    @app.post("/early")
    async def early() -> str:
        return "answered before the body came"

    return app


@SQLITE_ONLY
@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /long HT", b"GET /long HTTP/1.1\r\nHost: x\r\nX: ",
     b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx"],
    ids=["nothing", "a request line", "headers", "a body that was answered"],
)  # fmt: skip
def test_a_connection_that_trickles_is_closed(small: FastAPI, begun: bytes) -> None:
    async def play() -> bool:
        async with listening(small) as (reader, writer):
            writer.write(begun)
            for _ in range(500):
                if begun:
                    writer.write(b"a")
                await asyncio.sleep(0.01)
                if reader.at_eof() or reader.exception() is not None:
                    return True
                if reader._buffer:  # type: ignore[attr-defined]  # the early answer
                    await reader.read(1 << 16)
            return False

    assert run(play())


@SQLITE_ONLY
def test_a_client_that_takes_nothing_of_a_long_answer_is_cut_off(small: FastAPI) -> None:
    async def play() -> None:
        async with listening(small) as (_, writer):
            writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            await small.state.ended.wait()

    run(play())


@SQLITE_ONLY
def test_a_client_that_reads_a_long_answer_at_its_own_pace_gets_all_of_it(small: FastAPI) -> None:
    async def play() -> int:
        async with listening(small) as (reader, writer):
            writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            taken, pauses = 0, 0
            while part := await reader.read(1 << 18):
                taken += len(part)
                if taken > pauses * (8 << 20):
                    pauses += 1
                    await asyncio.sleep(0.05)
            return taken

    assert run(play()) > 2000 * 65536
