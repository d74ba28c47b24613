"""What a model stores of the calls of a sender: the fields that the table in docs/otlp.md is about, case by case."""

from collections.abc import Sequence
from typing import Any, Final

from monitor.ingest.media import PROTOBUF
from monitor.ingest.otlp.receive import read_spans
from tests.senders.model_server import ANSWER, MODEL, TOOL_ANSWER
from tests.senders.recorder import Export

QUESTION: Final = "where is my parcel"  # as the programs ask
ASKED_MODEL: Final = "gpt-4o-mini"
TOKENS: Final = (21.0, 7.0)  # as the model counts

FIELDS: Final = (
    "input", "output", "model", "input_tokens", "output_tokens", "finish_reason", "status", "error", "cost_usd",
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
            "finish_reason": level, "status": level, "error": level, "input_tokens": number, "output_tokens": number,
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


# --- the table in docs/otlp.md ----------------------------------------------------------------------------------------

COLUMNS: Final = (
    "question, answer", "streamed answer", "model", "tokens", "tokens of a stream", "finish reason", "tool call",
    "failed call", "responses", "embeddings", "cost",
)  # fmt: skip
_YES, _NO, _NOTHING = "yes", "no", "–"  # nothing: the package does not trace such a call


def row(stored: Stored) -> tuple[str, ...]:
    """What the table says of a sender: its COLUMNS, from the events of its cases."""
    chat = _only(stored, "chat")
    streams = [_only(stored, name) for name in ("stream", "stream_usage") if name in stored]
    return (
        _texts(chat, QUESTION, ANSWER), _streamed(streams), _model(chat), _tokens(chat), _stream_tokens(streams),
        _YES if chat.get("finish_reason") == "stop" else _NO, _tool_call(stored), _failed(stored),
        _answered(stored, "responses", (QUESTION, ANSWER)), _answered(stored, "embeddings", (QUESTION, None)),
        _YES if chat.get("cost_usd") else _NO,
    )  # fmt: skip


def _only(stored: Stored, case: str) -> dict[str, Any]:
    """The event of a case; one call is one event."""
    (event,) = stored[case]
    return event


def _texts(event: dict[str, Any], question: str, answer: str | None) -> str:
    found = [event.get("input"), *([event.get("output")] if answer else [])]
    if found == [question, *([answer] if answer else [])]:
        return _YES
    return _NO if found == [None] * len(found) else f"other: {found}"


def _streamed(streams: Sequence[dict[str, Any]]) -> str:
    if not streams:
        return _NOTHING
    found = {event.get("output") for event in streams}
    return _YES if found == {ANSWER} else _NO if found == {None} else f"other: {found}"


def _model(event: dict[str, Any]) -> str:
    named = event.get("model")
    return {MODEL: "answering", ASKED_MODEL: "asked", f"openai/{ASKED_MODEL}": "asked"}.get(str(named), f"{named}")


def _tokens(event: dict[str, Any]) -> str:
    found = event.get("input_tokens"), event.get("output_tokens")
    return _YES if found == TOKENS else _NO if found == (None, None) else "estimated"


def _stream_tokens(streams: Sequence[dict[str, Any]]) -> str:
    found = [_tokens(event) for event in streams]
    if found == [_NO, _YES]:
        return "with `include_usage`"
    if found == ["estimated", _YES]:
        return "estimated without `include_usage`"
    return _NOTHING if not found else _YES if set(found) == {_YES} else " / ".join(found)


def _tool_call(stored: Stored) -> str:
    called = stored["tool"][0]
    output = called.get("output") or ""
    if len(stored["tool"]) > 1:  # an agent that asks again with the result
        assert [event.get("output") for event in stored["tool"][1:]] == [TOOL_ANSWER]
    return _YES if "get_weather" in output and "Paris" in output else "name" if "get_weather" in output else _NO


def _failed(stored: Stored) -> str:
    event = _only(stored, "failed")
    if event["status"] != "error":
        return _NO
    named = "BadRequestError" if "error" in event else "status"
    return ", ".join([named if named == "status" else "error", *[n for n in ("input", "model") if n in event]])


def _answered(stored: Stored, case: str, texts: tuple[str, str | None]) -> str:
    if not stored.get(case):
        return _NOTHING
    event = _only(stored, case)
    told = [_texts(event, *texts)]
    if event.get("input_tokens") is None:
        told.append("no tokens")
    return {"yes": _YES, "no": "no text", "no, no tokens": _NO}.get(", ".join(told), ", ".join(told))
