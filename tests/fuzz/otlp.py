"""Fuzz the readers of spans and log records, and their way into columns.

What it finds becomes a case of tests/monitor/ingest/otlp/test_decode.py.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["monitor"]):
    from core.errors import AppError
    from monitor.ingest.media import JSON, PROTOBUF
    from monitor.ingest.otlp.evaluations import evaluations_of
    from monitor.ingest.otlp.json_body import read_log_json
    from monitor.ingest.otlp.log_records import described_spans
    from monitor.ingest.otlp.mapping import described_from, events_from, mapping_of, outcomes_from
    from monitor.ingest.otlp.protobuf import read_log_protobuf
    from monitor.ingest.otlp.receive import read_spans
    from monitor.ingest.otlp.starter import starter_spec
    from monitor.ingest.otlp.unmapped import sample_of
    from monitor.spec.parse import parse_spec

from tests.monitor.ingest.otlp.requests import as_json, log, logs, request, span
from tests.monitor.ingest.otlp.test_mapping import CONVENTIONS, SPEC

NOW: Final = datetime(2026, 1, 5, 1, tzinfo=UTC)
PARSED: Final = parse_spec(SPEC)
assert PARSED.traces is not None
MAPPING: Final = mapping_of(PARSED, PARSED.traces)


def spans(body: bytes, form: str) -> None:
    groups = read_spans(body, form)
    found = [one for group in groups for one in group.spans]
    selected = [one for one in found if MAPPING.selects(one)]
    if selected:
        events_from(MAPPING, selected, NOW)
    outcomes_from(MAPPING, [(one.event_id, one, evaluations_of(one)) for one in found], NOW)
    sample = sample_of(found)
    if groups:
        parse_spec(starter_spec("a service", sample, owner="me"))


def records(body: bytes, form: str) -> None:
    groups = (read_log_json if form == JSON else read_log_protobuf)(body)
    described = described_spans(record for group in groups for record in group.records)
    if described:
        described_from(MAPPING, described, NOW)


READERS: Final[tuple[Callable[[bytes, str], None], ...]] = (spans, records)


def one(data: bytes) -> None:
    """The first byte chooses reader and form, the rest is the body."""
    if len(data) > 1:
        try:
            READERS[data[0] % 2](data[1:], JSON if data[0] % 4 < 2 else PROTOBUF)
        except AppError as error:
            assert 0 < len(error.message) < 2000  # noqa: PT017 - what is refused is told in a few words


def seeds() -> dict[str, bytes]:
    """A request of each convention in both forms, also under the reader of the other kind, and log records."""
    texts = logs(
        log(1, "gen_ai.user.message", {"content": "hi"}), log(1, "gen_ai.choice", {"message": {"content": "x"}})
    )
    found = {"log-json": b"\x01" + as_json(texts), "log-protobuf": b"\x03" + texts.SerializeToString()}
    for i, given in enumerate(CONVENTIONS.values()):
        attributes: dict[str, Any] = given.get("attributes", {})
        made = request(span(i + 1, attributes))
        for reader in range(2):
            found[f"json-{i}-{reader}"] = bytes([reader]) + as_json(made)
            found[f"protobuf-{i}-{reader}"] = bytes([2 + reader]) + made.SerializeToString()
    return found


if __name__ == "__main__":
    from tests.fuzz.bounded import fuzz

    fuzz(one, seeds())
