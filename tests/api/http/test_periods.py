"""Periods and times over HTTP: what holds no time or cannot be right is answered in clear words."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import first_admin
from monitor import service
from monitor.ingest.media import NDJSON
from monitor.site import Site
from tests.databases import SQLITE_ONLY
from tests.monitor.traffic import document, spec

pytestmark = SQLITE_ONLY
AT, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
LISTS = ("windows", "measurements", "quarantine", "events")


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "tester")
    key = first_admin(site)
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"}) as made:
        yield made


def test_a_period_that_holds_no_time_is_refused_everywhere(client: TestClient) -> None:
    for name in LISTS:
        same = client.get(f"/api/v1/models/loans/{name}", params={"from": AT, "to": AT})
        back = client.get(f"/api/v1/models/loans/{name}", params={"from": LATER, "to": AT})
        assert (same.status_code, back.status_code) == (422, 422), name
        assert "are the same time, 2026-01-01T00:00:00+00:00, so nothing lies between them" in same.json()["detail"]
        assert "is after to 2026-01-01T00:00:00+00:00; swap them" in back.json()["detail"]


def test_what_is_no_time_is_told_with_its_value_and_how_to_write_one(client: TestClient) -> None:
    for text, words in (
        ("2026-01-01", "from: is '2026-01-01'; write a time with its zone, such as 2026-03-01T12:00:00Z"),
        ("soon", "from: is 'soon'; write a time with its zone"),
        ("1767225600", "from: is '1767225600'; write a time with its zone"),
        ("2026-02-30T00:00:00Z", "from: is '2026-02-30T00:00:00Z'; write a time"),
        ("2026-01-01T00:00:00 01:00", "the + of an offset is written %2B in an address"),
    ):
        answer = client.get("/api/v1/models/loans/windows", params={"from": text})
        assert answer.status_code == 422, text
        assert words in answer.json()["detail"]
    number = client.post("/api/v1/models/loans/reports", json={"from": 1767225600, "to": LATER})
    assert "from: is '1767225600'; write a time with its zone" in number.json()["detail"]


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (AT, AT, "begins and ends at the same time"),
        (LATER, AT, "ends before it begins"),
        ("0001-01-01T00:00:00Z", AT, "give times from 1700 to 9998"),
        (AT, "9999-12-31T23:59:59Z", "give times from 1700 to 9998"),
    ],
)
def test_a_report_that_could_not_be_built_is_refused_at_once(
    client: TestClient, begin: str, end: str, words: str
) -> None:
    answer = client.post("/api/v1/models/loans/reports", json={"kind": "audit", "from": begin, "to": end})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_rows_of_a_history_are_judged_by_its_newest_time(client: TestClient) -> None:
    row = {"event_id": "a", "ts": "1995-06-01T00:00:00Z", "version": "v1", "decision": "yes"}

    def send(query: str = "") -> tuple[int, str]:
        answer = client.post(
            f"/api/v1/models/loans/events{query}", content=json.dumps(row), headers={"Content-Type": NDJSON}
        )
        found = answer.json()
        return answer.status_code, found["rejected"][0]["reason"] if found.get("rejected") else found.get("detail", "")

    assert send()[0] == 200
    assert "more than 20 years before now" in send()[1]
    assert (
        "more than 20 years before 2015-12-31, the newest time of its history" in send("?newest=2015-12-31T00:00Z")[1]
    )
    assert send("?newest=2014-12-31T00:00Z") == (200, "")
    for wrong in ("", "2014", "2014-12-31", "9999-12-31T23:59:59-23:59", "x"):
        status, words = send(f"?newest={wrong}")
        assert status == 422
        assert "write a time with its zone, such as 2010-12-31T00:00:00Z" in words


def test_a_schedule_that_never_comes_is_refused_with_its_key(client: TestClient) -> None:
    retrain = {"when": [{"cron": "0 0 31 2 *"}], "recipe": {"base_model": "/models/none", "method": "qlora"}}
    answer = client.put("/api/v1/models/loans", json=document(retrain=retrain))
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "retrain.when[0].cron"
    assert "which never comes: no such month has day 31" in answer.json()["detail"]
