"""Read the binary encoding of ExportTraceServiceRequest and ExportLogsServiceRequest.

The outer levels are read as plain byte strings, and each span or log record is parsed by itself. A small body that
declares millions of empty messages then costs a few bytes for each, not an object.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from monitor.ingest.ndjson import BodyError
from monitor.ingest.otlp.log_records import LogGroup, LogRecord, log_record
from monitor.ingest.otlp.spans import (
    MAX_ATTRIBUTES,
    Attributes,
    Span,
    SpanGroup,
    check_attributes,
    check_count,
    check_depth,
)
from monitor.ingest.otlp.wire import message_class

_Item = TypeVar("_Item")
_ERROR: Final = Status.STATUS_CODE_ERROR
_Parts: Final = message_class("Parts", first="repeated bytes", second="repeated bytes")


def read_protobuf(body: bytes) -> list[SpanGroup]:
    """Read the spans of a protobuf body.

    Raises:
        BodyError: the body is not such a message, contains text that is not UTF-8, or is nested too deeply.
        BodyTooLargeError: the body has more spans than one request may have.
    """
    return [SpanGroup(*group) for group in _groups(body, _span, "ExportTraceServiceRequest")]


def read_log_protobuf(body: bytes) -> list[LogGroup]:
    """Read the log records of a protobuf body; raises the errors of `read_protobuf`."""
    return [LogGroup(*group) for group in _groups(body, _log_record, "ExportLogsServiceRequest")]


def _groups(
    body: bytes, read: Callable[[bytes, int, Attributes, str], _Item], name: str
) -> list[tuple[Attributes, list[_Item]]]:
    """Read a request of either signal: a resource, its scopes, and what each scope sent, numbered from 1."""
    groups: list[tuple[Attributes, list[_Item]]] = []
    count = 0
    try:
        for of_resource in map(_Parts.FromString, _Parts.FromString(body).first):
            resource, found = _resource(of_resource.first), list[_Item]()
            for of_scope in of_resource.second:
                parts = _Parts.FromString(of_scope)
                packed, scope = parts.second, _scope(parts.first)
                check_count(count + len(packed))
                found += [read(one, count + i, resource, scope) for i, one in enumerate(packed, start=1)]
                count += len(packed)
            groups.append((resource, found))
            check_count(len(groups))
    except DecodeError as error:
        raise BodyError(f"the body cannot be read as an {name}: {error}") from error
    return groups


def _resource(packed: Sequence[bytes]) -> Attributes:
    # By the rules of protobuf, repeated occurrences of a singular message field are merged.
    return _attributes(Resource.FromString(b"".join(packed)).attributes) if packed else {}


def _scope(packed: Sequence[bytes]) -> str:
    return InstrumentationScope.FromString(b"".join(packed)).name if packed else ""


def _span(packed: bytes, number: int, resource: Attributes, scope: str) -> Span:
    message = Message.FromString(packed)
    span = Span(
        number, message.trace_id.hex(), message.span_id.hex(), message.parent_span_id.hex(), message.name,
        message.start_time_unix_nano, message.end_time_unix_nano, message.status.code == _ERROR,
        _attributes(message.attributes), resource, scope=scope, dropped=message.dropped_attributes_count,
    )  # fmt: skip
    if message.events:
        check_attributes(len(message.events))
        span.events = [(event.name, _attributes(event.attributes)) for event in message.events]
    if message.links:
        span.links = [(link.trace_id.hex(), link.span_id.hex()) for link in message.links[:MAX_ATTRIBUTES]]
    return span


def _log_record(packed: bytes, number: int, resource: Attributes, _: str) -> LogRecord:
    message = LogMessage.FromString(packed)
    return log_record(
        number, message.trace_id.hex(), message.span_id.hex(), message.event_name,
        message.time_unix_nano or message.observed_time_unix_nano, _attributes(message.attributes),
        _value(message.body, message.body.WhichOneof("value"), 0), resource,
    )  # fmt: skip


def _attributes(pairs: Sequence[KeyValue]) -> Attributes:
    """Read attributes; OTLP forbids duplicate keys, and the last value of one counts."""
    check_attributes(len(pairs))
    found: Attributes = {}
    for pair in pairs:
        value = pair.value
        # Nearly all values are texts that are not empty, and most others numbers that are not 0: no further look.
        found[pair.key] = value.string_value or value.int_value or _value(value, value.WhichOneof("value"), 0)
    return found


def _value(value: AnyValue, kind: str | None, depth: int) -> Any:
    check_depth(depth)
    match kind:
        case None:
            return None
        case "array_value":
            return list(_values(value.array_value.values, depth))
        case "kvlist_value":
            pairs = value.kvlist_value.values
            return dict(zip((pair.key for pair in pairs), _values((p.value for p in pairs), depth), strict=True))
        case "bytes_value":
            return value.bytes_value.hex()
    return getattr(value, kind)


def _values(values: Iterable[AnyValue], depth: int) -> Iterator[Any]:
    return (_value(v, v.WhichOneof("value"), depth + 1) for v in values)
