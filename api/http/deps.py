"""What handlers ask for: the site, a unit of work, the request's body, a page of a list."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Annotated, Generic, Self, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect

from api.http.errors import UnsupportedMediaTypeError
from core.errors import InvalidError
from monitor.ingest.encoding import too_large
from monitor.ingest.media import IDENTITY
from monitor.site import Site

Item = TypeVar("Item", bound="Out")


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


SiteDep = Annotated[Site, Depends(_site)]


def _write(site: SiteDep) -> Iterator[Session]:
    with site.database.write() as db:
        yield db


def _read(site: SiteDep) -> Iterator[Session]:
    with site.database.read() as db:
        yield db


# scope="function": committed before the answer leaves, so a failed commit never answers 2xx.
Db = Annotated[Session, Depends(_write, scope="function")]
ReadDb = Annotated[Session, Depends(_read, scope="function")]


class In(BaseModel):
    """What a client sends; a misspelt field is refused."""

    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    """What a client gets, read from a mapped row or a record."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    @classmethod
    def of(cls, row: object) -> Self:
        return cls.model_validate(row)


class Page(BaseModel, Generic[Item]):
    """A part of a list; `next` is the cursor of the part that follows, null at the end."""

    items: list[Item]
    next: str | None = None

    @classmethod
    def of(cls, rows: Iterable[object], next: str | None = None) -> Self:  # noqa: A002 - the field's name
        return cls.model_validate({"items": list(rows), "next": next}, from_attributes=True)


class BodyStalledError(InvalidError):
    code = "body_stalled"


def _sent(request: Request, header: str) -> str:
    """A header that is there twice is a list of both, so say the rules of HTTP."""
    return ", ".join(request.headers.getlist(header))


def body_of(
    *accepted: str, limit_mb: int | None = None, encodings: Sequence[str] = (IDENTITY,)
) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that reads the body in, as it was sent, if it is of an accepted type and within the limit."""

    async def read(request: Request) -> bytes:
        form_of(request, accepted, encodings)
        site: Site = request.app.state.site
        return await read_body(request, limit_mb or site.settings.server.max_body_mb)

    return read


def form_of(request: Request, accepted: Sequence[str], encodings: Sequence[str]) -> tuple[str, str]:
    """The media type and the content encoding of the body.

    Raises:
        UnsupportedMediaTypeError: one of them is not taken here.
    """
    content_type = _sent(request, "content-type")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in accepted:
        sent = content_type[:200] or "no Content-Type"
        raise UnsupportedMediaTypeError(
            f"{sent} is not taken here; send {' or '.join(accepted)}", field="Content-Type", value=sent
        )
    encoding = (_sent(request, "content-encoding") or IDENTITY).strip().lower()
    if encoding not in encodings:
        others = [e for e in encodings if e != IDENTITY]
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {encoding[:100]} is not taken here; send the body as it is"
            + "".join(f" or as {e}" for e in others),
            field="Content-Encoding",
            value=encoding[:200],
        )
    return media_type, encoding


def declared_size(request: Request, limit_mb: int) -> int:
    """Bytes the body may come to: what its header says, or the most that is taken."""
    said = request.headers.get("content-length", "")
    return min(int(said), limit_mb << 20) if said.isdecimal() else limit_mb << 20


async def read_body(request: Request, limit_mb: int) -> bytes:
    """
    Raises:
        BodyTooLargeError: more than the limit; it was read on without being kept, up to four times as much.
        BodyStalledError: the client sent nothing more.
    """
    chunks, size = await _received(request, limit_mb << 20, keep=True)
    if size > limit_mb << 20:
        raise too_large(limit_mb)
    return b"".join(chunks)


async def drain(request: Request, limit_mb: int) -> None:
    """Read the body without keeping it: a client that is still sending would not see the answer.

    Raises:
        BodyStalledError: the client sent nothing more.
    """
    await _received(request, limit_mb << 20, keep=False)


async def _received(request: Request, limit: int, *, keep: bool) -> tuple[list[bytes], int]:
    """The parts of the body and their size; of one above the limit none, read on up to four times as much."""
    patience_s: float = request.app.state.site.settings.server.stalled_body_s
    clock = asyncio.get_running_loop().time
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience_s) as patience:
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk, more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size > 4 * limit:
                    break
                if keep and size <= limit:
                    chunks.append(chunk)
                else:
                    chunks.clear()
                if more:
                    patience.reschedule(clock() + patience_s)
    except TimeoutError as error:
        raise BodyStalledError(
            f"nothing more of the body arrived within {patience_s:g} s; nothing of it was stored, send it again"
        ) from error
    return chunks, size
