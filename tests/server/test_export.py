"""Exports over HTTP."""

import io
import json
from typing import Any

import polars as pl
import pytest

from tests.server.conftest import Api, event

EVENTS = "/api/v1/models/support-intents/events"


def test_rows_come_back_in_every_format_and_are_resumed_by_version_and_seq(api: Api) -> None:
    assert api.rows("events", [event(f"x{i}") for i in range(20)]).status_code == 200
    answer = api.send("GET", EVENTS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["event_id"] for line in lines if line["event_id"].startswith("x")] == [f"x{i}" for i in range(20)]
    assert "Ada Lovelace" not in answer.text
    version = answer.headers["x-assay-version"]
    first = api.send("GET", EVENTS, params={"limit": 7}).text
    seq = json.loads(first.splitlines()[-1])["seq"]
    rest = api.send("GET", EVENTS, params={"cursor": f"{version}:{seq}"}).text
    assert first + rest == answer.text
    parquet = api.send("GET", EVENTS, params={"format": "parquet"})
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert pl.read_parquet(io.BytesIO(parquet.content))["event_id"].to_list() == [line["event_id"] for line in lines]
    arrow = api.send("GET", EVENTS, params={"format": "arrow"})
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pl.read_ipc_stream(io.BytesIO(arrow.content)).height == len(lines)
    early = api.send("GET", EVENTS, params={"to": "2020-01-01T00:00:00Z"})
    assert (early.status_code, early.text) == (200, "")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "2026-01-01T00:00:00"}, "from"),
        ({"to": "yesterday"}, "to"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"format": "xlsx"}, "format"),
        ({"kind": "quarantine"}, "kind"),
        ({"cursor": "what"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"fromm": "2026-01-02T00:00:00Z"}, "fromm"),
    ],
)
def test_what_cannot_be_exported_is_said_with_its_field(api: Api, params: dict[str, Any], field: str) -> None:
    answer = api.send("GET", EVENTS, params=params)
    assert answer.status_code == 422, answer.text
    document = answer.json()
    assert field in (document.get("field"), *(p["field"] for p in document.get("problems", ())))


def test_an_unknown_model_or_version_or_caller_gets_no_rows(api: Api) -> None:
    assert api.send("GET", "/api/v1/models/none/events").json()["code"] == "model_not_found"
    gone = api.send("GET", EVENTS, params={"cursor": "99999:1"})
    assert (gone.status_code, gone.json()["code"]) == (409, "version_gone")
    assert api.send("GET", EVENTS, key=None).status_code == 401
