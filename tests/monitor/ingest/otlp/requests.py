"""OTLP requests for tests, in both encodings."""

import base64
import json
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

TRACE = "5b8efff798038103d269b633813fc60c"
START = 1_767_571_200_000_000_000  # 2026-01-05T00:00:00Z, where the tests' clock stands


def any_value(value: Any) -> AnyValue:
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            found = AnyValue()
            found.array_value.values.extend(any_value(v) for v in value)
            return found
        case dict():
            found = AnyValue()
            found.kvlist_value.values.extend(pairs(value))
            return found
    return AnyValue(string_value=value)


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span(number: int, attributes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A chat of 1.5 seconds: what `request` takes."""
    return {
        "trace": TRACE, "id": f"{number:016x}", "name": "chat gpt-4o", "start": START, "end": START + 1_500_000_000,
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **(attributes or {})}, **more,
    }  # fmt: skip


def request(*spans: dict[str, Any], service: str = "shop-bot", **resource: Any) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.extend(pairs({"service.name": service, **resource}))
    scope = group.scope_spans.add()
    for one in spans:
        made = scope.spans.add(
            trace_id=bytes.fromhex(one["trace"]), span_id=bytes.fromhex(one["id"]), name=one["name"],
            parent_span_id=bytes.fromhex(one.get("parent", "")),
            start_time_unix_nano=one["start"], end_time_unix_nano=one["end"],
        )  # fmt: skip
        made.attributes.extend(pairs(one["attributes"]))
        if one.get("failed"):
            made.status.code = Status.STATUS_CODE_ERROR
        for name, attributes in one.get("events", []):
            made.events.add(name=name).attributes.extend(pairs(attributes))
        for trace, linked in one.get("links", []):
            made.links.add(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(linked))
    return message


def as_json(message: ExportTraceServiceRequest | ExportLogsServiceRequest) -> bytes:
    """By protobuf's own JSON writer, but for the ids, which OTLP writes in hexadecimal."""
    from google.protobuf.json_format import MessageToDict

    def hexadecimal(value: Any) -> Any:
        if isinstance(value, list):
            return [hexadecimal(v) for v in value]
        if isinstance(value, dict):
            ids = ("traceId", "spanId", "parentSpanId")
            return {k: base64.b64decode(v).hex() if k in ids else hexadecimal(v) for k, v in value.items()}
        return value

    return json.dumps(hexadecimal(MessageToDict(message, use_integers_for_enums=True))).encode()


def log(
    of: int | str | None, name: str, body: Any = None, attributes: dict[str, Any] | None = None, **more: Any
) -> Any:
    """A log record about span `of`, half a second after it began: what `logs` takes."""
    span_id = "" if of is None else of if isinstance(of, str) else f"{of:016x}"
    return {
        "trace": TRACE if of is not None else "", "id": span_id, "name": name, "body": body,
        "time": START + 500_000_000, "attributes": attributes or {}, **more,
    }  # fmt: skip


def logs(*records: dict[str, Any], service: str = "shop-bot", **resource: Any) -> ExportLogsServiceRequest:
    message = ExportLogsServiceRequest()
    group = message.resource_logs.add()
    group.resource.attributes.extend(pairs({"service.name": service, **resource}))
    scope = group.scope_logs.add()
    for one in records:
        made = scope.log_records.add(
            trace_id=bytes.fromhex(one["trace"]), span_id=bytes.fromhex(one["id"]), event_name=one["name"],
            time_unix_nano=one["time"],
        )  # fmt: skip
        made.attributes.extend(pairs(one["attributes"]))
        if one["body"] is not None:
            made.body.CopyFrom(any_value(one["body"]))
    return message
