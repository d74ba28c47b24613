"""Build OTLP responses in the encoding of the request."""

import json
from typing import Final

from monitor.ingest.media import JSON, PROTOBUF

_INVALID, _UNAVAILABLE, _UNKNOWN = 3, 14, 2
_CODES: Final = {
    400: _INVALID,
    401: 16,
    403: 7,
    404: 5,
    413: 8,
    415: _INVALID,
    422: _INVALID,
    500: 13,
    503: _UNAVAILABLE,
}


def encoding_of(media_type: str) -> str:
    """Return JSON for a JSON request, else protobuf, which every client reads."""
    return JSON if media_type == JSON else PROTOBUF


def response(rejected: int, message: str, media_type: str) -> bytes:
    """Encode an ExportTraceServiceResponse; `partial_success` is set if there is a message."""
    if media_type == JSON:
        return _json("rejectedSpans", rejected, message)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse()
    if message:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    return answer.SerializeToString()


def log_response(rejected: int, message: str, media_type: str) -> bytes:
    """Encode an ExportLogsServiceResponse; `partial_success` is set if there is a message."""
    if media_type == JSON:
        return _json("rejectedLogRecords", rejected, message)
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    answer = ExportLogsServiceResponse()
    if message:
        answer.partial_success.rejected_log_records = rejected
        answer.partial_success.error_message = message
    return answer.SerializeToString()


def _json(counter: str, rejected: int, message: str) -> bytes:
    partial = {"partialSuccess": {counter: str(rejected), "errorMessage": message}}
    return json.dumps(partial if message else {}).encode()


def status(http_status: int, message: str, media_type: str) -> bytes:
    """Encode a google.rpc.Status with the gRPC code that matches an HTTP status."""
    code = _CODES.get(http_status, _UNKNOWN)
    if media_type == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    from monitor.ingest.otlp.wire import message_class

    encoded: bytes = message_class("Status", code="int32", message="string")(
        code=code, message=message.encode(errors="replace").decode()
    ).SerializeToString()
    return encoded
