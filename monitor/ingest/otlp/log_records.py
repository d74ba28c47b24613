"""The log record that both OTLP encodings produce, and which of them say what a span was asked and answered.

Instrumentations that keep texts out of spans export them as log records that name the span: OpenTelemetry's
`gen_ai.client.inference.operation.details` with all messages in its attributes, and before version 1.37 one record for
each message, `gen_ai.user.message`, `gen_ai.choice` and their like, with the message in its body.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.otlp.spans import Attributes, Span, has_ids, service_of

DETAILS: Final = "gen_ai.client.inference.operation.details"
CHOICE: Final = "gen_ai.choice"
_PREFIX: Final = "gen_ai."


@dataclass(slots=True)
class LogRecord:
    """One log record; ids in hexadecimal, empty if missing; time in nanoseconds since 1970, 0 if missing."""

    number: int  # its place in the request, from 1
    trace_id: str
    span_id: str
    name: str  # of the event; empty for other log records
    time: int
    attributes: Attributes  # with what a structured body holds
    resource: Attributes

    @property
    def describes_a_call(self) -> bool:
        """Whether it is an event of the semantic conventions for generative AI."""
        return self.name.startswith(_PREFIX)

    @property
    def event_id(self) -> str:
        return f"{self.trace_id}-{self.span_id}"

    @property
    def names_a_span(self) -> bool:
        """Whether both ids have their length and are not the invalid ids of zeros."""
        return has_ids(self.trace_id, self.span_id)


@dataclass(slots=True)
class LogGroup:
    """Log records of one resource."""

    resource: Attributes
    records: list[LogRecord]

    @property
    def service(self) -> str:
        return service_of(self.resource)


def log_record(
    number: int, trace: str, span: str, name: str, time: int, attributes: Attributes, body: Any, resource: Attributes
) -> LogRecord:
    """Build a record. The event's name is a field of its own since OTLP 1.5, before that an attribute."""
    found = name or attributes.get("event.name") or attributes.get("name")
    read = _structured(body)
    if not found and isinstance(read, Mapping):
        found = read.get("event.name")
    found = found if isinstance(found, str) else ""
    if found.startswith(_PREFIX) and read is not None:
        attributes = {**attributes, **(read if isinstance(read, Mapping) else {"content": read})}
    if found == CHOICE and "tool_calls" in attributes:  # beside the message, not in it
        message = attributes.get("message")
        said = message if isinstance(message, dict) else {"content": message}
        attributes["message"] = {"role": "assistant", **said, "tool_calls": attributes["tool_calls"]}
    return LogRecord(number, trace, span, found, time, attributes, resource)


def described_spans(records: Iterable[LogRecord]) -> list[Span]:
    """Put the records of each span together as a span that has nothing but what they say, in the order of their times.

    Its `end` is the time of its newest record, its `number` that of its first one.
    """
    found: dict[str, Span] = {}
    for one in sorted(records, key=lambda r: (_choice(r), r.time, r.number)):
        span = found.get(one.event_id)
        if span is None:
            span = found[one.event_id] = Span(
                one.number, one.trace_id, one.span_id, "", "", 0, one.time, False, {}, one.resource
            )
        span.number, span.end = min(span.number, one.number), max(span.end, one.time)
        if _choice(one):
            continue  # another of several answers
        if one.name == DETAILS:
            span.attributes |= one.attributes
        span.events.append((one.name, one.attributes))
    return list(found.values())


def _choice(record: LogRecord) -> int:
    """Which of several answers a record holds, 0 for the first and for everything that is no answer."""
    index = record.attributes.get("index") if record.name == CHOICE else None
    return index if isinstance(index, int) else 0


def _structured(body: Any) -> Any:
    """The body; a text that is a JSON object becomes the object."""
    if isinstance(body, str) and body.startswith("{"):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body
