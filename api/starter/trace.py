"""A first spec from OpenTelemetry spans: those of a file, or those that a service sent and no model took."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from api.client import Client
from api.starter.guess import Draft, Guess
from api.starter.own_fields import OwnFields
from core.errors import InvalidError

_WHY: Final[Mapping[str, str]] = {
    "prediction": "what the span answered", "input": "what the span was asked", "outcome": "an evaluation of the span",
    "agent": "the part that answered", "subject": "the user of the span; stored as a keyed digest only",
}  # fmt: skip


def spans_of(trace: str, client: Callable[[], Client]) -> tuple[str, Any]:
    """The service and a sample of its spans (names and types, no values).

    Raises:
        InvalidError: the text is neither a file with spans nor a service whose spans no model takes.
    """
    from monitor.ingest.otlp.starter import groups_of_file
    from monitor.ingest.otlp.unmapped import sample_of

    if Path(trace).is_file():
        groups = [group for group in groups_of_file(Path(trace).read_bytes()) if group.spans]
        if not groups:
            raise InvalidError(
                f"--from-trace: the file {trace[:100]!r} holds no span; give a request of POST /v1/traces, with "
                "`resourceSpans`", field="from-trace", value=trace[:100],
            )  # fmt: skip
        service = groups[0].service
        return service, sample_of(span for group in groups if group.service == service for span in group.spans)
    seen = {row["service"]: row["sample"] for row in client().json("GET", "/api/v1/unmapped-services")}
    if trace not in seen:
        known = ", ".join(seen) or "none yet"
        raise InvalidError(
            f"--from-trace: {trace[:100]!r} is neither a file nor a service that sent spans no model takes; "
            f"such services "
            f"are: {known}", field="from-trace", value=trace[:100],
        )  # fmt: skip
    return trace, seen[trace]


def draft_of(document: Mapping[str, Any]) -> Draft:
    """The starter document of a trace, as a draft with a reason for each column."""
    columns = [
        Guess(
            name, name, column["role"], column["type"], _WHY.get(column["role"], f"the span's {name}"),
            more={key: value for key, value in column.items() if key not in ("role", "type")},
        )
        for name, column in document["columns"].items()
    ]  # fmt: skip
    return Draft(document["task"], columns, [], OwnFields(), 0)
