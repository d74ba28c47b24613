"""Decode the content coding of a request body, within a size limit that a compressed body cannot evade."""

import sys
import zlib
from typing import Final

from monitor.ingest.ndjson import BodyError, BodyTooLargeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK: Final = 1 << 20


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
            return _gunzip(body, limit_mb)
        case "zstd":
            return _unzstd(body, limit_mb)
    return body


def _gunzip(body: bytes, limit_mb: int) -> bytes:
    limit = limit_mb << 20
    parts: list[bytes] = []
    size, rest = 0, body
    while rest or not parts:  # a gzip file has one or more members
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                part = member.decompress(rest, limit + 1 - size)
            except zlib.error as error:
                raise BodyError(f"the body is not gzip: {error}") from error
            parts.append(part)
            if (size := size + len(part)) > limit:
                raise too_large(limit_mb, "the unpacked body is")
            if not part and not member.eof:
                raise BodyError("the gzip body ends early; nothing of it was stored, send it again")
            rest = member.unconsumed_tail
        rest = member.unused_data
    return b"".join(parts)


def _unzstd(body: bytes, limit_mb: int) -> bytes:
    # Not pyarrow's stream: each damaged body leaves some kilobytes behind in it (pyarrow 26.0.1).
    limit = limit_mb << 20
    parts: list[bytes] = []
    size, rest = 0, body
    while rest or not parts:  # a zstd file has one or more frames
        frame = zstd.ZstdDecompressor()
        while not frame.eof:
            try:
                part = frame.decompress(rest, limit + 1 - size)
            except zstd.ZstdError as error:
                raise BodyError(f"the body is not zstd: {error}") from error
            parts.append(part)
            if (size := size + len(part)) > limit:
                raise too_large(limit_mb, "the unpacked body is")
            if not part and frame.needs_input:
                raise BodyError("the zstd body ends early; nothing of it was stored, send it again")
            rest = b""
        rest = frame.unused_data
    return b"".join(parts)
