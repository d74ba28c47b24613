"""What a model stores of the calls of a sender: the fields that the table in docs/otlp.md is about, case by case."""

from collections.abc import Sequence
from typing import Any, Final

from monitor.ingest.media import PROTOBUF
from monitor.ingest.otlp.receive import read_spans
from tests.senders.recorder import Export

FIELDS: Final = (
    "input", "output", "model", "input_tokens", "output_tokens", "finish_reason", "error", "cost_usd",
)  # fmt: skip
Stored = dict[str, list[dict[str, Any]]]  # case -> its events, each the fields that are not null


def spec(service: str) -> dict[str, Any]:
    """The spec of a model that takes the calls of a sender; its name is that of the service."""
    text, level = {"type": "text"}, {"role": "segment", "type": "category"}
    number = {"role": "measure", "type": "number"}
    return {
        "model": service, "task": "generation", "owner": "ml@example.com", "purpose": "answer",
        "columns": {
            "input": {"role": "input", **text}, "output": {"role": "prediction", **text}, "model": level,
            "finish_reason": level, "error": level, "input_tokens": number, "output_tokens": number,
            "cost_usd": number,
        },
        "baseline": {"rows": "first 1000"},
        "traces": {"service": service, "spans": ["llm", "embedding"], "version": ["model", "operation", "span_name"]},
    }  # fmt: skip


def ids_by_case(exports: Sequence[Export]) -> dict[str, list[str]]:
    """The ids of the events that each case may have made, in the order in which its spans began."""
    found: dict[str, list[tuple[int, str]]] = {one.case: [] for one in exports}
    for one in exports:
        if one.signal == "traces":
            spans = [span for group in read_spans(one.body, PROTOBUF) for span in group.spans]
            found[one.case] += [(span.start, span.event_id) for span in spans]
    return {case: [event_id for _, event_id in sorted(spans)] for case, spans in found.items()}


def shown(event: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that are not null."""
    return {name: event[name] for name in FIELDS if event.get(name) is not None}
