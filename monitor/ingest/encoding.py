"""Decode the content coding of a request body, within a size limit that a compressed body cannot evade."""

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from monitor.ingest.ndjson import BodyError, BodyTooLargeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def too_large(limit_mb: int, what: str = "the body is") -> BodyTooLargeError:
    return BodyTooLargeError(
        f"{what} larger than {limit_mb} MiB; send it in parts, or raise ASSAY_SERVER__MAX_BODY_MB", limit_mb=limit_mb
    )


def decoded(body: bytes, encoding: str, limit_mb: int) -> bytes:
    """Return the body without its content coding, which is one of `media.ENCODINGS`.

    Raises:
        BodyTooLargeError: the decompressed body is larger than the limit; decompression stops there.
        BodyError: the body is damaged or ends early.
    """
    match encoding:
        case "gzip":
            return _unpacked(body, limit_mb, "gzip", lambda: zlib.decompressobj(wbits=31), zlib.error)
        case "zstd":
            # Not pyarrow's stream: each damaged body leaves some kilobytes behind in it (pyarrow 26.0.1).
            return _unpacked(body, limit_mb, "zstd", zstd.ZstdDecompressor, zstd.ZstdError)
    return body


class _Member(Protocol):
    """A decompressor of one gzip member or zstd frame. A body has one or more."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _unpacked(
    body: bytes, limit_mb: int, name: str, member_of: Callable[[], _Member], damaged: type[Exception]
) -> bytes:
    limit = limit_mb << 20
    parts: list[bytes] = []
    size, rest = 0, body
    while rest or not parts:
        member = member_of()
        while not member.eof:
            try:
                part = member.decompress(rest, limit + 1 - size)
            except damaged as error:
                raise BodyError(f"the body is not {name}: {error}") from error
            parts.append(part)
            if (size := size + len(part)) > limit:
                raise too_large(limit_mb, "the unpacked body is")
            if not part and not member.eof:
                raise BodyError(f"the {name} body ends early; nothing of it was stored, send it again")
            rest = getattr(member, "unconsumed_tail", b"")  # zlib hands back what it has not read; zstd keeps it
        rest = member.unused_data
    return b"".join(parts)
