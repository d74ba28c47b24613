"""Packed bodies: unpacked within the bound, or refused in words."""

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.ingest.encoding import decoded
from monitor.ingest.ndjson import BodyError, BodyTooLargeError
from tests.service import environment


def zstd(body: bytes) -> bytes:
    return pa.compress(body, "zstd", asbytes=True)


PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd, "identity": lambda body: body}


@given(st.binary(max_size=3000), st.sampled_from(sorted(PACK)))
def test_what_was_packed_comes_out(body: bytes, encoding: str) -> None:
    assert decoded(PACK[encoding](body), encoding, 1) == body


def test_a_gzip_body_of_several_members_is_read_to_its_end() -> None:
    assert decoded(gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"c"), "gzip", 1) == b"abc"


def test_a_zstd_body_of_several_frames_is_read_to_its_end() -> None:
    assert decoded(zstd(b"ab") + zstd(b"") + zstd(b"c"), "zstd", 1) == b"abc"
    with pytest.raises(BodyError, match="not zstd"):
        decoded(zstd(b"ab") + b"more", "zstd", 1)


REFUSALS = """
import contextlib, psutil
import pyarrow as pa
from monitor.ingest.encoding import decoded
from monitor.ingest.ndjson import BodyError

good = pa.compress(b'{"a": 1}\\n' * 200, "zstd", asbytes=True)
damaged = [good[:at] + bytes([good[at] ^ 8]) + good[at + 1 :] for at in range(4, 11)]

def refused(times):
    for body in damaged * times:
        with contextlib.suppress(BodyError):
            decoded(body, "zstd", 1)
    return psutil.Process().memory_info().rss

before = refused(50)
print(refused(300) - before)
"""


def test_damaged_bodies_leave_nothing_behind_in_memory() -> None:
    # In a process of its own: this one has free memory that a leak would fill first.
    done = subprocess.run(
        [sys.executable, "-c", REFUSALS], env=environment(), capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4 << 20  # 2,100 bodies; each left 8 KiB behind


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
