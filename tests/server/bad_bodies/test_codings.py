"""Codings and content types, on every route."""

import gzip
import itertools
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import pytest

from monitor.ingest.media import NDJSON, PROTOBUF
from tests.server.bad_bodies import broken
from tests.server.bad_bodies.rows import CODINGS, Bad, Rows, check, good_body, written
from tests.server.bad_bodies.target import FORMS, LIMIT_MB, ROUTES, Target, reason

_zstd = CODINGS["zstd"]


@cache
def _bomb(coding: str) -> bytes:
    return gzip.compress(bytes(64 << 20), 1) if coding == "gzip" else _zstd(bytes(64 << 20))


PACKED: Final[Mapping[str, tuple[str, Callable[[bytes], bytes], int, str]]] = {
    "gzip cut short": ("gzip", lambda body: gzip.compress(body)[:-9], 400, "ends early"),
    "gzip cut at its head": ("gzip", lambda body: gzip.compress(body)[:5], 400, "ends early"),
    "gzip of nothing": ("gzip", lambda _: b"", 400, "ends early"),
    "garbage as gzip": ("gzip", lambda _: b"garbage" * 50, 400, "not gzip"),
    "plain as gzip": ("gzip", lambda body: body, 400, "not gzip"),
    "zstd as gzip": ("gzip", _zstd, 400, "not gzip"),
    "gzip of another sum": ("gzip", lambda body: gzip.compress(body)[:-8] + b"\1\2\3\4\5\6\7\x08", 400, "not gzip"),
    "gzip and garbage": ("gzip", lambda body: gzip.compress(body) + b"garbage", 400, "not gzip"),
    "a bomb in gzip": ("gzip", lambda _: _bomb("gzip"), 413, "unpacked body is larger than 2 MiB"),
    "gzip in gzip": ("gzip", lambda body: gzip.compress(gzip.compress(body)), 400, ""),
    "zstd cut short": ("zstd", lambda body: _zstd(body)[:-9], 400, "ends early"),
    "zstd cut at its head": ("zstd", lambda body: _zstd(body)[:5], 400, "ends early"),
    "zstd of nothing": ("zstd", lambda _: b"", 400, "ends early"),
    "garbage as zstd": ("zstd", lambda _: b"garbage" * 50, 400, "not zstd"),
    "plain as zstd": ("zstd", lambda body: body, 400, "not zstd"),
    "gzip as zstd": ("zstd", gzip.compress, 400, "not zstd"),
    "zstd and garbage": ("zstd", lambda body: _zstd(body) + b"garbage", 400, "zstd"),
    "a bomb in zstd": ("zstd", lambda _: _bomb("zstd"), 413, "unpacked body is larger than 2 MiB"),
    "a bomb of many frames": ("zstd", lambda _: _zstd(bytes(1 << 20)) * 500, 413, "unpacked body is larger"),
    "brotli": ("br", lambda body: body, 415, "gzip"),
    "two codings": ("gzip, zstd", lambda body: body, 415, "gzip"),
    "a coding of no name": (",", lambda body: body, 415, "gzip"),
}  # fmt: skip
_NOT_BY_CODING: Final = {("events-ndjson", "gzip in gzip"), ("outcomes-ndjson", "gzip in gzip")}  # refused by line
# One place unpacks the bodies of all routes. Two routes, one of each way to refuse, get every packing.
_WHOLE_ROUTES: Final = {"events-ndjson", "traces-protobuf"}
_EVERYWHERE: Final = {"gzip cut short", "a bomb in zstd", "brotli"}
_CASES: Final = [
    pytest.param(*case, marks=() if case[0] in _WHOLE_ROUTES or case[1] in _EVERYWHERE else pytest.mark.slow)
    for case in itertools.product(ROUTES, PACKED) if case not in _NOT_BY_CODING
]  # fmt: skip


@pytest.mark.parametrize(("route", "name"), _CASES)
def test_a_body_that_cannot_be_unpacked_is_refused_whole(target: Target, route: str, name: str) -> None:
    coding, pack, status, word = PACKED[name]
    path, form = ROUTES[route]
    answer = target.send(path, pack(good_body(target, route)[0]), form, coding)
    assert answer.status_code == status, answer.text[:500]
    assert word in reason(answer, route)


# The reader behind a coding is the one that reads bodies without it: two cases a reader stand for its table of cases.


def _an_empty_id(form: str, rows: Rows) -> Bad:
    first, odd, last = (rows.good() for _ in range(3))
    rows.made.pop(1)
    body = written(form, [first, odd | {"event_id": ""}, last])
    return Bad(body, 200, field="event_id", word="missing or empty")


def _too_large(form: str, rows: Rows) -> Bad:
    """Larger than the limit only when it is unpacked, by its coding or by its own packing."""
    body = b" " * ((LIMIT_MB << 20) + 1) if form in ("ndjson", "json") else broken.bomb(form, rows)
    return Bad(body, 413, "body_too_large", word="2 MiB")


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["events", "outcomes"])
@pytest.mark.parametrize("make", [_an_empty_id, _too_large], ids=["a bad row", "a bad body"])
def test_a_packed_body_is_judged_like_a_plain_one(
    target: Target, make: Callable[[str, Rows], Bad], kind: str, form: str, coding: str
) -> None:
    check(target, kind, form, lambda rows: make(form, rows), coding)


TYPES: Final = (
    "", "text/plain", "text/csv", "application/octet-stream", "application/json, application/json", "json", "*/*",
    "application/vnd.apache.arrow.file", "multipart/form-data; boundary=x", ";charset=utf-8",
)  # fmt: skip


@pytest.mark.parametrize("route", ["events-ndjson", "outcomes-json", "traces-protobuf"])
@pytest.mark.parametrize("form", TYPES)
def test_another_type_is_refused_with_those_that_are_taken(target: Target, route: str, form: str) -> None:
    answer = target.send(ROUTES[route][0], good_body(target, route)[0], form)
    assert answer.status_code == 415, answer.text
    assert f"send {PROTOBUF if 'traces' in route else NDJSON} or" in reason(answer, route)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("written_as", ["{}; charset=utf-8", '{} ;a=b; c="d;e"', "{};"])
def test_a_type_may_have_parameters_and_capitals(target: Target, route: str, written_as: str) -> None:
    path, form = ROUTES[route]
    body, ids = good_body(target, route)
    answer = target.send(path, body, written_as.format(form.upper()))
    assert answer.status_code == 200, answer.text
    target.accept(route, ids)
