"""Read the JSON encoding of ExportTraceServiceRequest and ExportLogsServiceRequest.

Names are in camel case, ids hexadecimal, 64-bit integers strings.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from core.text import whole_characters
from monitor.ingest.ndjson import BOM, BodyError
from monitor.ingest.otlp.log_records import LogGroup, LogRecord, log_record
from monitor.ingest.otlp.spans import (
    MAX_ATTRIBUTES,
    MAX_TIME_NS,
    Attributes,
    Span,
    SpanGroup,
    check_attributes,
    check_count,
    check_depth,
)

_Item = TypeVar("_Item")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_ERROR: Final = 2  # Status.code


def read_json(body: bytes) -> list[SpanGroup]:
    """Read the spans of a JSON body; unknown fields are skipped.

    Raises:
        BodyError: the body is not JSON, or a field does not have the type that the protocol declares.
        BodyTooLargeError: the body has more spans than one request may have.
    """
    return [SpanGroup(*group) for group in _groups(body, ("resourceSpans", "scopeSpans", "spans"), _span)]


def read_log_json(body: bytes) -> list[LogGroup]:
    """Read the log records of a JSON body; raises the errors of `read_json`."""
    return [LogGroup(*group) for group in _groups(body, ("resourceLogs", "scopeLogs", "logRecords"), _log_record)]


def _groups(
    body: bytes, names: tuple[str, str, str], read: Callable[[Mapping[str, Any], int, Attributes, str], _Item]
) -> list[tuple[Attributes, list[_Item]]]:
    """Read a request of either signal: a resource, its scopes, and what each scope sent, numbered from 1."""
    try:
        document = json.loads(body.removeprefix(BOM).decode())
    except (ValueError, RecursionError) as error:
        raise BodyError(f"the body is not JSON: {str(error)[:200]}") from error
    of_resources, of_scopes, items = names
    groups: list[tuple[Attributes, list[_Item]]] = []
    count = 0
    for one in _list(_map(document, "the body"), of_resources):
        holder = _map(one, of_resources)
        resource, found = _attributes(_map(holder.get("resource"), "resource")), list[_Item]()
        for scope in _list(holder, of_scopes):
            holding = _map(scope, of_scopes)
            sent, named = _list(holding, items), _text(_map(holding.get("scope"), "scope"), "name")
            check_count(count + len(sent))
            found += [read(_map(item, items), count + i, resource, named) for i, item in enumerate(sent, start=1)]
            count += len(sent)
        groups.append((resource, found))
        check_count(len(groups))
    return groups


def _log_record(fields: Mapping[str, Any], number: int, resource: Attributes, _: str) -> LogRecord:
    return log_record(
        number, _id(fields, "traceId"), _id(fields, "spanId"), _text(fields, "eventName"),
        _time(fields, "timeUnixNano") or _time(fields, "observedTimeUnixNano"), _attributes(fields),
        _value(_map(fields.get("body"), "body"), 0), resource,
    )  # fmt: skip


def _span(fields: Mapping[str, Any], number: int, resource: Attributes, scope: str) -> Span:
    status = _map(fields.get("status"), "status")
    span = Span(
        number, _id(fields, "traceId"), _id(fields, "spanId"), _id(fields, "parentSpanId"), _text(fields, "name"),
        _time(fields, "startTimeUnixNano"), _time(fields, "endTimeUnixNano"),
        _integer(status.get("code", 0), "status.code") == _ERROR, _attributes(fields), resource,
        scope=scope, dropped=max(0, _integer(fields.get("droppedAttributesCount", 0), "droppedAttributesCount")),
    )  # fmt: skip
    events = [_map(event, "events") for event in _list(fields, "events")]
    check_attributes(len(events))
    span.events = [(_text(event, "name"), _attributes(event)) for event in events]
    links = [_map(link, "links") for link in _list(fields, "links")[:MAX_ATTRIBUTES]]
    span.links = [(_id(link, "traceId"), _id(link, "spanId")) for link in links]
    return span


def _attributes(holder: Mapping[str, Any]) -> Attributes:
    pairs = _list(holder, "attributes")
    check_attributes(len(pairs))
    return _pairs(pairs, 0)


def _pairs(pairs: list[Any], depth: int) -> Attributes:
    fields = [_map(pair, "attributes") for pair in pairs]
    return {_text(pair, "key"): _value(_map(pair.get("value"), "value"), depth) for pair in fields}


def _value(fields: Mapping[str, Any], depth: int) -> Any:
    """Return the value of an AnyValue: the one field that is set."""
    check_depth(depth)
    for kind, value in fields.items():
        match kind:
            case "stringValue":
                return _text(fields, kind)
            case "boolValue" if isinstance(value, bool):
                return value
            case "intValue":
                return _integer(value, kind)
            case "doubleValue":
                return _double(value)
            case "arrayValue":
                return [_value(_map(v, kind), depth + 1) for v in _list(_map(value, kind), "values")]
            case "kvlistValue":
                return _pairs(_list(_map(value, kind), "values"), depth + 1)
            case "bytesValue":
                return _bytes(value)
            case "boolValue":
                raise _wrong(kind, "true or false")
    return None


def _map(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(name, "an object")
    return value


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(name, "an array")
    return value


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, "a string")
    return whole_characters(value)


def _id(holder: Mapping[str, Any], name: str) -> str:
    value = _text(holder, name)
    if not _HEX.fullmatch(value):
        raise _wrong(name, "hexadecimal")
    return value.lower()


def _integer(value: Any, name: str) -> int:
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    if number is None or not -(2**63) <= number <= MAX_TIME_NS:
        raise _wrong(name, "a 64-bit integer")
    return number


def _time(holder: Mapping[str, Any], name: str) -> int:
    found = _integer(holder.get(name, 0), name)
    if found < 0:
        raise _wrong(name, "nanoseconds since 1970")
    return found


def _double(value: Any) -> float:
    """Read a number; `NaN`, `Infinity` and `-Infinity`, which JSON lacks, come as strings."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong("doubleValue", "a number") from error


def _bytes(value: Any) -> str:
    try:
        return base64.b64decode(value, validate=True).hex()
    except (TypeError, ValueError, binascii.Error) as error:
        raise _wrong("bytesValue", "base64") from error


def _wrong(name: str, wanted: str) -> BodyError:
    return BodyError(f"{name} is not {wanted}, as OTLP/JSON requires")
