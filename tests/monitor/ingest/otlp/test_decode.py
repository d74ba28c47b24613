"""Both encodings of OTLP: the same spans out of the same request, and words for what cannot be read."""

import contextlib
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.errors import InvalidError
from monitor.ingest.encoding import decoded
from monitor.ingest.ndjson import BodyError, BodyTooLargeError
from monitor.ingest.otlp.json_body import read_json
from monitor.ingest.otlp.protobuf import read_protobuf
from monitor.ingest.otlp.spans import MAX_ATTRIBUTE_DEPTH, MAX_SPANS
from tests.monitor.ingest.otlp.requests import TRACE, as_json, request, span

RICH = request(
    span(
        1, {"text": "é 🙂", "whole": -5, "large": 2**62, "share": 0.5, "flag": True, "raw": b"\x00\xff", "none": None,
            "list": ["a", 1, [2.5]], "map": {"k": [True]}},
        failed=True, parent="00000000000000ff", events=[("exception", {"exception.type": "TimeoutError"})],
        links=[(TRACE, "00000000000000aa")],
    ),
    span(2),
    **{"service.version": "7"},
)  # fmt: skip


def test_both_encodings_yield_the_same_spans() -> None:
    binary, text = read_protobuf(RICH.SerializeToString()), read_json(as_json(RICH))
    assert binary == text
    first = binary[0].spans[0]
    assert (first.event_id, first.failed, first.number) == (f"{TRACE}-0000000000000001", True, 1)
    assert first.attributes["map"] == {"k": [True]}
    assert first.attributes["raw"] == "00ff"
    assert first.events == [("exception", {"exception.type": "TimeoutError"})]
    assert first.links == [(TRACE, "00000000000000aa")]
    assert binary[0].service == "shop-bot"


def test_json_takes_integers_as_numbers_or_strings_and_ids_in_either_case_and_skips_unknown_fields() -> None:
    document: dict[str, Any] = json.loads(as_json(RICH))
    one = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    one |= {"traceId": TRACE.upper(), "startTimeUnixNano": int(one["startTimeUnixNano"]), "brandNew": {"a": [1]}}
    assert read_json(json.dumps(document).encode()) == read_json(as_json(RICH))


def test_of_two_equal_keys_the_last_value_counts() -> None:
    message = request(span(1, {"a": "first"}))
    again = message.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="a")
    again.value.string_value = "last"
    for groups in (read_protobuf(message.SerializeToString()), read_json(as_json(message))):
        assert groups[0].spans[0].attributes["a"] == "last"


def _nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        inner = b"\x0a" + _length(value) + value
        value = b"\x2a" + _length(inner) + inner
    pair = b"\x0a\x01k\x12" + _length(value) + value
    one = b"\x4a" + _length(pair) + pair
    for tag in (b"\x12", b"\x12", b"\x0a"):
        one = tag + _length(one) + one
    return one


def _length(value: bytes) -> bytes:
    number, out = len(value), bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _json(span_fields: str) -> bytes:
    return ('{"resourceSpans":[{"scopeSpans":[{"spans":[' + span_fields + "]}]}]}").encode()


HOSTILE_PROTOBUF = {
    "cut short": RICH.SerializeToString()[:-3],
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "an endless varint": b"\x0a" + b"\xff" * 20,
    "a group that never ends": b"\x0b" * 100,
    "text that is not UTF-8": RICH.SerializeToString().replace(b"chat gpt-4o", b"chat \xff\xfe-4o"),
    "JSON": as_json(RICH),
    "nested past our limit": _nested(MAX_ATTRIBUTE_DEPTH + 2),
    "nested past protobuf's limit": _nested(20_000),
}
HOSTILE_JSON = {
    "nothing": b"",
    "protobuf": RICH.SerializeToString(),
    "cut short": as_json(RICH)[:-3],
    "an array": b"[]",
    "a number": b"3",
    "nested past Python's limit": b'{"a":' * 200_000,
    "nested past our limit": _json(
        '{"attributes":[{"key":"k","value":' + '{"arrayValue":{"values":[' * 100 + "{}" + "]}}" * 100 + "}]}"
    ),
    "spans as an object": b'{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}',
    "a span as text": _json('"x"'),
    "an id that is no hexadecimal": _json('{"traceId":"xyz"}'),
    "an id as a number": _json('{"traceId":5}'),
    "a time before 1970": _json('{"endTimeUnixNano":"-1"}'),
    "a time past 64 bits": _json('{"endTimeUnixNano":"99999999999999999999"}'),
    "a time as a fraction": _json('{"endTimeUnixNano":1.5}'),
    "an integer of 5,000 digits": _json('{"endTimeUnixNano":' + "9" * 5000 + "}"),
    "text as a boolean": _json('{"attributes":[{"key":"k","value":{"boolValue":"true"}}]}'),
    "an integer that is none": _json('{"attributes":[{"key":"k","value":{"intValue":"1e3"}}]}'),
    "a double that is none": _json('{"attributes":[{"key":"k","value":{"doubleValue":[]}}]}'),
    "bytes that are no base64": _json('{"attributes":[{"key":"k","value":{"bytesValue":"é"}}]}'),
    "an attribute as text": _json('{"attributes":["k"]}'),
    "a status as text": _json('{"status":{"code":"STATUS_CODE_ERROR"}}'),
}


@pytest.mark.parametrize("body", HOSTILE_PROTOBUF.values(), ids=HOSTILE_PROTOBUF.keys())
def test_protobuf_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(BodyError):
        read_protobuf(body)


@pytest.mark.parametrize("body", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
def test_json_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(BodyError):
        read_json(body)


def test_a_small_body_may_not_claim_millions_of_spans_or_attributes() -> None:
    spans = b"\x12\x00" * (MAX_SPANS + 1)
    scope = b"\x12" + _length(spans) + spans
    with pytest.raises(BodyTooLargeError, match="smaller batches"):
        read_protobuf(b"\x0a" + _length(scope) + scope)
    with pytest.raises(BodyTooLargeError):
        read_protobuf(b"\x0a\x00" * (MAX_SPANS + 1))
    with pytest.raises(BodyTooLargeError):
        read_json(b'{"resourceSpans":[' + b"{}," * MAX_SPANS + b"{}]}")
    attributes = b"\x4a\x00" * 10_001
    one = b"\x12" + _length(attributes) + attributes
    scope = b"\x12" + _length(one) + one
    with pytest.raises(BodyError, match="10001 attributes"):
        read_protobuf(b"\x0a" + _length(scope) + scope)
    with pytest.raises(BodyTooLargeError):
        decoded(gzip.compress(bytes(3 << 20)), "gzip", 2)


def test_a_span_of_megabytes_is_read() -> None:
    message = request(span(1, {f"k{i}": "x" * 1000 for i in range(5000)}))
    assert len(read_protobuf(message.SerializeToString())[0].spans[0].attributes) == 5002


@given(st.binary(max_size=300))
def test_random_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (read_protobuf, read_json):
        with contextlib.suppress(InvalidError):
            read(body)


@given(st.integers(0, len(RICH.SerializeToString()) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_request_is_read_or_refused(at: int, damage: bytes) -> None:
    body = RICH.SerializeToString()
    with contextlib.suppress(InvalidError):
        read_protobuf(body[:at] + damage + body[at + len(damage) :])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "intValue",
                                 "stringValue", "arrayValue", "values", "traceId", "events", "links", "status"]),
                inner, max_size=4,
            )
        ),
        max_leaves=20,
    )
)  # fmt: skip
def test_json_of_any_shape_is_read_or_refused(document: object) -> None:
    for body in (json.dumps(document), '{"resourceSpans":[{"scopeSpans":[{"spans":[' + json.dumps(document) + "]}]}]}"):
        with contextlib.suppress(InvalidError):
            read_json(body.encode())


def test_an_empty_request_has_no_span() -> None:
    assert read_protobuf(b"") == []
    assert read_json(b"{}") == []
    assert read_protobuf(ExportTraceServiceRequest().SerializeToString()) == []
