"""Times of spans: nanoseconds since 1970, and what is said of other counts."""

import pytest

from monitor.ingest.media import IDENTITY, JSON, PROTOBUF
from monitor.ingest.otlp.receive import receive_traces
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_ONLY
from tests.monitor.ingest.otlp.requests import START, as_json, request, span

pytestmark = SQLITE_ONLY
SPEC = {
    "model": "bot", "task": "generation", "owner": "ml@example.com", "purpose": "answer",
    "columns": {"answer": {"role": "prediction", "type": "text"}}, "traces": {"service": "shop-bot"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (START // 10**9, "it looks like seconds sent as nanoseconds; multiply by 1000000000"),
        (START // 10**6, "it looks like milliseconds sent as nanoseconds; multiply by 1000000"),
        (START // 10**3, "it looks like microseconds sent as nanoseconds; multiply by 1000"),
        (2**64 - 1, "more than a day ahead of now"),
    ],
)
def test_a_span_whose_time_counts_another_unit_is_rejected_with_it(site: Site, at: int, words: str) -> None:
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(SPEC), "tests")
    message = request(span(1, start=at, end=at))
    for body, kind in ((message.SerializeToString(), PROTOBUF), (as_json(message), JSON)):
        verdict = receive_traces(site, body, kind, IDENTITY)
        assert verdict.rejected == 1
        assert words in verdict.message
    assert receive_traces(site, request(span(2)).SerializeToString(), PROTOBUF, IDENTITY).rejected == 0
    assert site.events.extent("bot").rows == 1
