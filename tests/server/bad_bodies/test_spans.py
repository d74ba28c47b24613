"""Bad spans: what is no request is refused whole; a span that does not fit is counted and the others are stored."""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.monitor.ingest.otlp.test_decode import HOSTILE_JSON, HOSTILE_PROTOBUF
from tests.server.bad_bodies.rows import CODINGS, EVERY_CODING, encoded, id_of, spans
from tests.server.bad_bodies.target import ROUTES, Target, reason

SPANS: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "text for a number": (
        {"attributes": {"gen_ai.usage.total_tokens": "many"}},
        "total_tokens: is a string; the column",
    ),
    "a list for a number": ({"attributes": {"gen_ai.usage.total_tokens": [1]}}, "total_tokens: is a list"),
    "infinity": ({"attributes": {"gen_ai.usage.total_tokens": float("-inf")}}, "-inf is not a finite number"),
    "a boolean for a number": ({"attributes": {"gen_ai.usage.total_tokens": True}}, "total_tokens: is a boolean"),
    "a map for a category": ({"attributes": {"gen_ai.agent.name": {"a": 5}}}, "part: is a map"),
    "a list for a subject": ({"attributes": {"user.id": [1]}}, "customer: is a list"),
    "no version": ({"attributes": {"gen_ai.request.model": ""}}, "version: missing or empty"),
    "a version as a list": ({"attributes": {"gen_ai.request.model": [4]}}, "version: is a list"),
    "a long version": ({"attributes": {"gen_ai.request.model": "v" * 257}}, "version: has 257 characters; at most 256"),
    "no trace": ({"trace": ""}, "trace_id: has 0 bytes; it needs 16 bytes that are not all zero"),
    "a trace of zeros": ({"trace": "0" * 32}, "trace_id: has 16 bytes; it needs 16 bytes that are not all zero"),
    "a long trace": ({"trace": "ab" * 17}, "trace_id: has 17 bytes"),
    "no id": ({"id": ""}, "span_id: has 0 bytes; it needs 8 bytes that are not all zero"),
    "an id of zeros": ({"id": "0" * 16}, "span_id: has 8 bytes"),
    "no time": ({"start": 0, "end": 0}, "ts: missing"),
    "a far future": ({"end": 4_923_000_000 * 10**9}, "check the unit and the clock"),
    "the last time of all": ({"end": 2**64 - 1}, "check the unit and the clock"),
}


FORMS_OF_SPANS: Final = ("protobuf", "json")
CODED: Final = list(itertools.product(FORMS_OF_SPANS, ("gzip", "zstd")))  # one case stands for all behind a coding


def check_span(target: Target, form: str, name: str, coding: str) -> None:
    change, word = SPANS[name]
    first, odd, last = spans(target)
    odd = odd | change | {"attributes": odd["attributes"] | change.get("attributes", {})}
    route = f"traces-{form}"
    path, media = ROUTES[route]
    answer = target.send(path, CODINGS[coding](encoded(form, [first, odd, last])), media, coding)
    rejected, message = _partial(answer, form)
    assert rejected == 1, message
    assert message.startswith("span 2: model shop: ")
    assert word in message
    target.accept(route, {id_of(first), id_of(last)})


@pytest.mark.parametrize("form", FORMS_OF_SPANS)
@pytest.mark.parametrize("name", SPANS)
@EVERY_CODING
def test_a_bad_span_is_named_and_its_neighbours_are_stored(target: Target, name: str, form: str, coding: str) -> None:
    check_span(target, form, name, coding)


@pytest.mark.parametrize(("form", "coding"), CODED)
def test_a_bad_span_in_a_packed_body_is_named(target: Target, form: str, coding: str) -> None:
    check_span(target, form, "no trace", coding)


def _partial(answer: httpx2.Response, form: str) -> tuple[int, str]:
    assert answer.status_code == 200, answer.content
    if form == "json":
        found = answer.json().get("partialSuccess", {})
        return int(found.get("rejectedSpans", 0)), found.get("errorMessage", "")
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    return partial.rejected_spans, partial.error_message


HOSTILE: Final = {("protobuf", name): body for name, body in HOSTILE_PROTOBUF.items()} | {
    ("json", name): body for name, body in HOSTILE_JSON.items()
}


def check_hostile(target: Target, form: str, name: str, coding: str) -> None:
    route = f"traces-{form}"
    path, media = ROUTES[route]
    answer = target.send(path, CODINGS[coding](HOSTILE[form, name]), media, coding)
    assert answer.status_code == 400, answer.content
    assert 0 < len(reason(answer, route)) < 500


@pytest.mark.parametrize(("form", "name"), HOSTILE)
@EVERY_CODING
def test_what_is_no_request_of_spans_is_refused_whole(target: Target, form: str, name: str, coding: str) -> None:
    check_hostile(target, form, name, coding)


@pytest.mark.parametrize(("form", "coding"), CODED)
def test_what_is_no_request_of_spans_is_refused_whole_when_packed(target: Target, form: str, coding: str) -> None:
    check_hostile(target, form, next(name for of, name in HOSTILE if of == form), coding)


@pytest.mark.parametrize("form", FORMS_OF_SPANS)
def test_fields_that_nobody_knows_are_skipped_and_a_body_of_nothing_has_no_span(target: Target, form: str) -> None:
    (one,) = spans(target, 1)
    route, body = f"traces-{form}", encoded(form, [one])
    if form == "protobuf":
        sent = [b"\xfa\x3f\x03abc\xf0\x3f\x05" + body, b""]
    else:
        sent = [b'{"a": [{}], ' + body[1:], b"{}", b"\xef\xbb\xbf{}\r\n"]
    for each in sent:
        assert _partial(target.send("/v1/traces", each, ROUTES[route][1]), form) == (0, "")
    target.accept(route, {id_of(one)})
