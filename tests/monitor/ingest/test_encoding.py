"""Packed bodies: unpacked within the bound, or refused in words."""

import gzip
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.ingest.encoding import decoded
from monitor.ingest.ndjson import BodyError, BodyTooLargeError


def zstd(body: bytes) -> bytes:
    return pa.compress(body, "zstd", asbytes=True)


PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd, "identity": lambda body: body}


@given(st.binary(max_size=3000), st.sampled_from(sorted(PACK)))
def test_what_was_packed_comes_out(body: bytes, encoding: str) -> None:
    assert decoded(PACK[encoding](body), encoding, 1) == body


def test_a_gzip_body_of_several_members_is_read_to_its_end() -> None:
    assert decoded(gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"c"), "gzip", 1) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [(1 << 20) + 1, 300 << 20])
def test_a_bomb_is_refused(encoding: str, size: int) -> None:
    with pytest.raises(BodyTooLargeError, match="unpacked body is larger than 1 MiB"):
        decoded(PACK[encoding](bytes(size)), encoding, 1)
    assert len(decoded(PACK[encoding](bytes(1 << 20)), encoding, 1)) == 1 << 20


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_cut_short_says_so(encoding: str) -> None:
    packed = PACK[encoding](bytes(range(256)) * 50)
    for size in (0, len(packed) // 2, len(packed) - 1):
        with pytest.raises(BodyError, match="ends early"):
            decoded(packed[:size], encoding, 1)


@given(st.binary(min_size=1, max_size=100), st.sampled_from(["gzip", "zstd"]))
def test_bytes_that_are_not_packed_are_refused_or_read(body: bytes, encoding: str) -> None:
    try:
        decoded(body, encoding, 1)
    except BodyError:
        return


def test_what_stands_after_a_gzip_body_is_not_ignored() -> None:
    with pytest.raises(BodyError, match="not gzip"):
        decoded(gzip.compress(b"ab") + b"more", "gzip", 1)
    with pytest.raises(BodyError):
        decoded(zlib.compress(b"ab"), "gzip", 1)
