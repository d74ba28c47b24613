"""The route of log records: who may send, how a body may be packed, and what is counted."""

import gzip
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from api.app import create_app
from api.processes.log_texts import TextJoiner
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor.site import Site
from tests.api.http.test_metrics import figures, value
from tests.databases import SQLITE_FIRST
from tests.monitor.ingest.otlp.requests import TRACE, as_json, log, logs, request, span
from tests.monitor.ingest.otlp.test_logs import asked, declare

PROTOBUF, JSON = "application/x-protobuf", "application/json"
EVENT = f"/api/v1/models/shop/events/{TRACE}-{1:016x}"


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    """Of an application whose background threads do not run."""
    declare(site)
    client = TestClient(app := create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})
    yield client
    app.state.intake.stop()


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_reaches_its_event_over_http(client: TestClient, packed: bool) -> None:
    sent = client.post("/v1/traces", content=request(span(1)).SerializeToString(), headers={"Content-Type": PROTOBUF})
    assert (sent.status_code, sent.content) == (200, b"")
    body, headers = logs(asked()).SerializeToString(), {"Content-Type": PROTOBUF}
    if packed:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
    answer = client.post("/v1/logs", content=body, headers=headers)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", PROTOBUF)
    assert client.get(EVENT).json()["question"] == "hi?"


@SQLITE_FIRST
def test_what_is_not_stored_is_told_and_counted(site: Site, client: TestClient) -> None:
    body = logs(asked(), log(None, "gen_ai.choice", "hello"), log(1, "", "GET / 200"))
    answer = client.post("/v1/logs", content=as_json(body), headers={"Content-Type": JSON})
    told = answer.json()["partialSuccess"]
    assert told["rejectedLogRecords"] == "1"
    assert "log record 2: gen_ai.choice has no trace id and span id" in told["errorMessage"]
    assert "1 log record says nothing that a column of a model takes, and is not stored" in told["errorMessage"]
    packed = client.post("/v1/logs", content=body.SerializeToString(), headers={"Content-Type": PROTOBUF})
    assert ExportLogsServiceResponse.FromString(packed.content).partial_success.rejected_log_records == 1
    found = figures(client)
    for result, count in (("accepted", 2), ("rejected", 2), ("skipped", 2)):
        assert value(found, "assay_ingest_rows_total", route="logs", result=result) == count
    assert value(found, "assay_log_records_waiting", model="shop") == 2
    assert value(found, "assay_log_records_lost_total", model="shop") == 0
    for result, count in (("accepted", 2), ("rejected", 2), ("skipped", 2)):
        assert value(found, "assay_log_records_total", service="shop-bot", result=result) == count
    page = client.get("/models/shop").text
    assert "log records waiting" in page
    assert "say nothing that a column takes; not stored" in page
    client.post("/v1/traces", content=request(span(1)).SerializeToString(), headers={"Content-Type": PROTOBUF})
    TextJoiner(site).step()
    assert value(figures(client), "assay_log_records_waiting", model="shop") == 0


@SQLITE_FIRST
def test_only_a_producer_may_send_and_errors_come_in_the_form_of_the_protocol(site: Site, client: TestClient) -> None:
    body = logs(asked()).SerializeToString()
    with site.database.write() as db:
        _, viewer = create_key(db, name="viewer", role=Role.VIEWER, actor="tests", now=site.clock.now())
    for key, status in (("assay_0123456789_x", 401), (viewer, 403)):
        headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {key}"}
        answer = client.post("/v1/logs", content=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROTOBUF)
    assert client.post("/v1/logs", content=b"{", headers={"Content-Type": JSON}).json()["code"] == 3
    assert client.post("/v1/logs", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
