"""Dependencies of the handlers: the site, a unit of work, the request body, a page of a list."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Self, TypeVar

from fastapi import Depends, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy.orm import Session

from api.http.arriving import read_body
from api.http.errors import UnsupportedMediaTypeError
from core.text import texts_of, unfit
from monitor.ingest.media import IDENTITY
from monitor.site import Site

MAX_INDEX: Final = 2**31 - 1  # of an entry of the ledger
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


class UnfitTextError(ValueError):
    """A text of a body has characters that cannot be stored; `field` is its place, empty for a key of the body."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.field = field


_NUMBER: Final = re.compile(r"\s*[-+]?[0-9.]+\s*", re.ASCII)


class In(BaseModel):
    """Base of request models; unknown fields are refused, and so are characters that no text may have."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, given: Any) -> Any:
        for name, text in texts_of(given):
            if reason := unfit(text):
                raise UnfitTextError(reason if name else f"a key {reason}", name)
        return given


def _storable(text: str) -> str:
    if reason := unfit(text):
        raise ValueError(reason)
    return text


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time lies outside the years 1 to 9999 of UTC; correct its year or its offset") from error


def _written(given: Any) -> Any:
    """Pydantic would take a number for seconds, or for milliseconds if it is large."""
    if isinstance(given, int | float) or (isinstance(given, str) and _NUMBER.fullmatch(given)):
        raise PydanticCustomError("datetime_number", "a number is no time")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]  # a time with its zone, as UTC
DayOrTime = Annotated[str, BeforeValidator(_written), Field(max_length=60)]  # read by `core.clock.day_or_time`
StorableText = Annotated[str, AfterValidator(_storable)]  # of a parameter that is stored


class Out(BaseModel):
    """Base of response models, built from a mapped row or a record."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    @classmethod
    def of(cls, row: object) -> Self:
        return cls.model_validate(row)


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next` is the cursor of the following page, null at the end."""

    items: list[Item]
    next: str | None = None

    @classmethod
    def of(cls, rows: Iterable[object], next: str | None = None) -> Self:  # noqa: A002 - the field's name
        return cls.model_validate({"items": list(rows), "next": next}, from_attributes=True)


def _sent(request: Request, header: str) -> str:
    """Return a header; by the rules of HTTP, repeated headers form a list."""
    return ", ".join(request.headers.getlist(header))


def taken(*media_types: str) -> dict[str, Any]:
    """What the OpenAPI document says of a body that the route reads itself."""
    return {"requestBody": {"required": True, "content": {kind: {"schema": {}} for kind in media_types}}}


def body_of(
    *accepted: str, limit_mb: int | None = None, encodings: Sequence[str] = (IDENTITY,)
) -> Callable[[Request], Awaitable[bytes]]:
    """Return a dependency that reads the body as sent, if its type is accepted and its size within the limit."""

    async def read(request: Request) -> bytes:
        form_of(request, accepted, encodings)
        site: Site = request.app.state.site
        return await read_body(request, limit_mb or site.settings.server.max_body_mb)

    return read


def media_type_of(request: Request) -> str:
    return _sent(request, "content-type").partition(";")[0].strip().lower()


def form_of(request: Request, accepted: Sequence[str], encodings: Sequence[str]) -> tuple[str, str]:
    """Return the media type and the content encoding of the body.

    Raises:
        UnsupportedMediaTypeError: one of them is not accepted by this route.
    """
    content_type, media_type = _sent(request, "content-type"), media_type_of(request)
    if media_type not in accepted:
        sent = content_type[:200] or "no Content-Type"
        raise UnsupportedMediaTypeError(
            f"{sent} is not accepted here; send {' or '.join(accepted)}", field="Content-Type", value=sent
        )
    encoding = (_sent(request, "content-encoding") or IDENTITY).strip().lower()
    if encoding not in encodings:
        others = [e for e in encodings if e != IDENTITY]
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {encoding[:100]} is not accepted here; send the body as it is"
            + "".join(f" or as {e}" for e in others),
            field="Content-Encoding",
            value=encoding[:200],
        )
    return media_type, encoding
