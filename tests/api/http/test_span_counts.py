"""What became of spans is shown to their sender, on the model's page and in metrics."""

import pytest
from fastapi.testclient import TestClient

from api.processes.log_texts import TextJoiner
from monitor.ingest.otlp import span_counts
from monitor.site import Site
from tests.api.http.test_logs import PROTOBUF, client
from tests.api.http.test_metrics import figures, value
from tests.databases import SQLITE_FIRST
from tests.monitor.ingest.otlp.requests import log, logs, request, span
from tests.monitor.ingest.otlp.test_logs import asked

__all__ = ["client"]


def counted(client: TestClient) -> dict[str, int]:
    rows = client.get("/api/v1/span-counts").json()
    return {row["result"]: row["spans"] for row in rows if row["service"] == "shop-bot"}


def test_spans_that_no_model_takes_are_counted_each_time_they_come(site: Site, client: TestClient) -> None:
    """Also those of a service that sends nothing new, and by two processes at once."""

    def refused() -> list[int]:
        return [row["spans"] for row in client.get("/api/v1/unmapped-services").json() if row["service"] == "nobody"]

    body = request(span(1), span(2), service="nobody").SerializeToString()
    for n in (2, 4, 6):
        assert client.post("/v1/traces", content=body, headers={"Content-Type": PROTOBUF}).status_code == 200
        assert refused() == [n]
    TextJoiner(site).step()
    assert refused() == [6]
    span_counts.write(site, site.clock.now())
    records = logs(asked(), log(1, "", "GET / 200"), service="nobody").SerializeToString()
    for _ in range(2):
        assert client.post("/v1/logs", content=records, headers={"Content-Type": PROTOBUF}).status_code == 200
    found = figures(client)
    assert (value(found, "assay_unmapped_spans_total"), value(found, "assay_unmapped_log_records_total")) == (6, 2)


@SQLITE_FIRST
@pytest.mark.parametrize("service", ["worker.1", "10.0.0.5", "s" * 255, "J\u00fcrgens Dienst"])
def test_a_service_is_listed_under_the_name_that_a_spec_takes(client: TestClient, service: str) -> None:
    body = request(span(1), service=service).SerializeToString()
    answer = client.post("/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
    assert answer.status_code == 200
    assert [row["service"] for row in client.get("/api/v1/unmapped-services").json()] == [service]


@SQLITE_FIRST
def test_every_span_is_counted_where_a_person_looks(site: Site, client: TestClient) -> None:
    carrier, agent = span(2, name="POST"), span(3, {"gen_ai.operation.name": "invoke_agent"})
    carrier["attributes"] = {"gen_ai.request.model": "m", "http.request.method": "POST"}
    body = request(span(1), carrier, agent)
    body.resource_spans[0].scope_spans[0].spans[0].dropped_attributes_count = 6
    for _ in range(2):
        answer = client.post("/v1/traces", content=body.SerializeToString(), headers={"Content-Type": PROTOBUF})
        assert b"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in answer.content
    wanted = {"stored": 1, "duplicate": 1, "carrier": 2, "kind": 2, "attributes_dropped": 2}
    assert counted(client) == wanted
    TextJoiner(site).step()
    assert counted(client) == wanted
    span_counts.write(site, site.clock.now())
    found = figures(client)
    for result, spans in wanted.items():
        assert value(found, "assay_spans_total", service="shop-bot", result=result) == spans
    page = client.get("/models/shop").text
    assert "What became of the spans of service shop-bot" in page
    assert "raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in page
