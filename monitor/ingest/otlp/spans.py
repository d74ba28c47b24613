"""The span record that both OTLP encodings produce, and the limits on a request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from monitor.ingest.ndjson import BodyError, BodyTooLargeError
from monitor.spec.traces import SpanKind

MAX_SPANS: Final = 100_000  # in one request; collectors send a few thousand
MAX_ATTRIBUTES: Final = 10_000  # of one span, its events or its resource
MAX_ATTRIBUTE_DEPTH: Final = 64  # nested lists and maps in one attribute
MAX_TIME_NS: Final = 2**64 - 1

Attributes = dict[str, Any]  # str, bool, int, float, list, dict or None


@dataclass(slots=True)
class Span:
    """One span; ids in hexadecimal, times in nanoseconds since 1970, 0 if missing."""

    number: int  # its place in the request, from 1
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int
    failed: bool
    attributes: Attributes
    resource: Attributes
    events: list[tuple[str, Attributes]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # trace and span id
    scope: str = ""  # the instrumentation that made the span
    dropped: int = 0  # attributes that the sender's limit cut off
    # What is computed once: the kind, what was asked and answered, and the messages in flattened attributes.
    kind: SpanKind | None = field(default=None, init=False, compare=False, repr=False)
    said: tuple[str | None, str | None] | None = field(default=None, init=False, compare=False, repr=False)
    flattened: Mapping[str, list[dict[str, Any]]] | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def event_id(self) -> str:
        return f"{self.trace_id}-{self.span_id}"


@dataclass(slots=True)
class SpanGroup:
    """Spans of one resource."""

    resource: Attributes
    spans: list[Span]

    @property
    def service(self) -> str:
        return service_of(self.resource)


def has_ids(trace_id: str, span_id: str) -> bool:
    """Whether both ids, in hexadecimal, have their length and are not the invalid ids of zeros."""
    return len(trace_id) == 32 and len(span_id) == 16 and bool(trace_id.strip("0")) and bool(span_id.strip("0"))


def service_of(resource: Attributes) -> str:
    name = resource.get("service.name")
    return name if isinstance(name, str) and name else "unknown_service"


def check_count(items: int) -> None:
    """Bound the spans or log records of a request."""
    if items > MAX_SPANS:
        raise BodyTooLargeError(
            f"the request has more than {MAX_SPANS} spans or log records; send smaller batches", limit_spans=MAX_SPANS
        )


def check_attributes(count: int) -> None:
    if count > MAX_ATTRIBUTES:
        raise BodyError(f"a span has {count} attributes; at most {MAX_ATTRIBUTES} are allowed")


def check_depth(depth: int) -> None:
    if depth > MAX_ATTRIBUTE_DEPTH:
        raise BodyError(f"an attribute nests lists or maps more than {MAX_ATTRIBUTE_DEPTH} deep")


def as_text(value: Any) -> str:
    """Return an attribute value as one string; lists and maps become JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
