"""Rejected rows over HTTP: kept without personal data, tried again, corrected, discarded; each once."""

import io
import json
from typing import Any

import polars as pl
import pytest

from core.clock import SystemClock
from monitor.events import wal_records
from monitor.events.store import EventStore
from monitor.ingest.quarantine import EVENTS_PER_ROW, MAX_RAW_BYTES, MAX_ROWS_PER_REQUEST, MIN_ROWS_PER_MODEL, free_rows
from tests.server.conftest import SPEC, Api, event

CARD, MAIL = "4111111111111111", "ada@example.com"


def declared(api: Api, model: str, **more: Any) -> str:
    answer = api.send("PUT", f"/api/v1/models/{model}", json=SPEC | {"model": model} | more)
    assert answer.status_code == 201, answer.text
    return f"/api/v1/models/{model}/quarantine"


def lines(api: Api, model: str, *rows: bytes, path: str = "events") -> dict[str, Any]:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = api.send("POST", f"/api/v1/models/{model}/{path}", content=b"\n".join(rows), headers=headers)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def kept(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = api.send("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_rejected_rows_are_kept_once_with_their_text_and_reason(api: Api) -> None:
    path = declared(api, "keeps")
    body = [
        json.dumps(event("q1", confidence="high")).encode(),
        b'{"event_id": "q2", "text": ',
        json.dumps(event("q3")).encode(),
    ]
    for _ in range(2):
        answer = lines(api, "keeps", *body)
        assert (answer["rejected_total"], answer["quarantined"]) == (2, 2)
    first, second = kept(api, path)
    assert (first["event_id"], first["line"], first["field"], first["state"]) == ("q1", 1, "confidence", "open")
    assert "'high' is not a number" in first["reason"]
    assert json.loads(first["raw"])["confidence"] == "high"
    assert first["body_digest"] == second["body_digest"]
    assert (second["event_id"], second["field"], second["raw"]) == (None, None, '{"event_id": "q2", "text":')
    assert [r["id"] for r in kept(api, path, field="confidence")] == [first["id"]]
    page = api.send("GET", path, params={"limit": 1}).json()
    assert [r["id"] for r in kept(api, path, cursor=page["next"])] == [second["id"]]
    assert kept(api, path, to="2020-01-01T00:00:00Z") == kept(api, path, state="released") == []


def test_rows_of_arrow_and_of_arrays_are_kept_alike(api: Api) -> None:
    path = declared(api, "forms")
    row = event("f1", version="")
    for form, body in [
        ("application/json", json.dumps([row]).encode()),
        ("application/vnd.apache.arrow.stream", _arrow(pl.DataFrame([event("f2", version="")]))),
    ]:
        answer = api.send("POST", "/api/v1/models/forms/events", content=body, headers={"Content-Type": form})
        assert answer.json()["quarantined"] == 1, answer.text
    assert [json.loads(r["raw"])["event_id"] for r in kept(api, path)] == ["f1", "f2"]


def _arrow(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC")).write_ipc_stream(out)
    return out.getvalue()


def test_no_personal_data_is_kept_in_clear(api: Api) -> None:
    path = declared(api, "secret", ack="lake", redact={"text": ["email", {"name": "patient", "pattern": r"P-\d{6}"}]})
    marked = {"text": f"P-123456 {MAIL}", "customer": "Grace Hopper"}
    assert lines(api, "secret", json.dumps(event("s0", **marked)).encode())["accepted"] == 1
    rejected = [
        json.dumps(event("s1", **marked, confidence="x")).encode(),
        json.dumps(event("s2", **marked, confidence=int(CARD), colour=1)).encode(),
        json.dumps(event("s3", **marked, confidence=MAIL)).encode(),
        json.dumps(event("s4", **marked)).encode()[:-1],
        json.dumps(event("s5", **marked)).replace("ada@", "ada\\u0040").encode()[:-1] + b"]",
        json.dumps(event("s6", text=marked["text"], customer=8150099077, confidence="x")).encode(),
        b"s7,P-123456," + MAIL.encode() + b"," + CARD.encode(),
    ]
    assert lines(api, "secret", *rejected)["quarantined"] == len(rejected)
    rows = kept(api, path)
    stored = api.send("GET", "/api/v1/models/secret/events/s0").json()
    marker = stored["text"].partition(" ")[2]
    assert marker.startswith("[email:")
    for row in rows:
        assert not any(word in json.dumps(row) for word in (MAIL, "P-123456", CARD, "Grace", "8150099077")), row
        assert row["event_id"] == "s6" or marker in row["raw"]
    assert f"[subject:{stored['customer']}]" in rows[3]["raw"]
    home = api.installation.home
    words = (MAIL.encode(), b"P-123456", b"Hopper", CARD.encode())
    for segment in (home / "wal").rglob("*.log"):
        for record in wal_records.records(segment, "any"):
            payload = segment.read_bytes()[record.offset : record.offset + record.size]
            assert record.header.model != "secret" or not any(word in payload for word in words)
    store = EventStore(str(home / "lake"), home, b"")
    store.settle("secret")
    for file in (home / "lake" / "secret").rglob("*.parquet"):
        text = "".join(str(row) for row in pl.read_parquet(file).rows()).encode()
        assert not any(word in text for word in words), file
    subjects = store.quarantine("secret").select("subject").collect()["subject"]
    assert subjects.to_list().count(stored["customer"]) == 5


def test_rows_that_pass_under_a_new_spec_are_released_with_their_subject(api: Api) -> None:
    path = declared(api, "grown")
    rows = [json.dumps(event(f"g{i}", channel="mail")).encode() for i in range(3)]
    assert lines(api, "grown", json.dumps(event("g-good")).encode(), *rows)["quarantined"] == 3
    answer = api.send("POST", f"{path}/replay", json={"all": True}).json()
    assert (answer["released"], answer["rejected_total"]) == (0, 3)
    assert answer["rejected"][0]["field"] == "channel"
    assert len(kept(api, path, state="open")) == 3
    wider = SPEC | {"model": "grown", "columns": SPEC["columns"] | {"channel": {"role": "segment", "type": "category"}}}
    assert api.send("PUT", "/api/v1/models/grown", json=wider).json()["outcome"] == "changed"
    one = kept(api, path)[0]["id"]
    answer = api.send("POST", f"{path}/replay", json={"ids": [one]}).json()
    assert (answer["released"], answer["accepted"], answer["rejected"]) == (1, 1, [])
    assert api.send("POST", f"{path}/replay", json={"all": True}).json()["released"] == 2
    assert kept(api, path, state="open") == []
    assert {r["decided_by"] for r in kept(api, path, state="released")} == {"admin"}
    good, released = (api.send("GET", f"/api/v1/models/grown/events/{i}").json() for i in ("g-good", "g1"))
    assert (released["channel"], released["customer"]) == ("mail", good["customer"])
    answer = api.send("POST", f"{path}/replay", json={"ids": [one]})
    assert (answer.status_code, answer.json()["code"]) == (409, "quarantine_row_decided")


def test_a_row_is_fixed_or_discarded_once_and_the_ledger_says_so(api: Api) -> None:
    path = declared(api, "mends")
    assert lines(api, "mends", *(json.dumps(event(i, version="")).encode() for i in ("m1", "m2")))["quarantined"] == 2
    one, two = (r["id"] for r in kept(api, path))
    answer = api.send("POST", f"{path}/{one}/fix", json=event("m1", version=""))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "row_rejected", "version")
    assert api.send("POST", f"{path}/{one}/fix", json=event("m1")).json()["accepted"] == 1
    assert api.send("POST", f"{path}/{two}/discard").status_code == 204
    for row in (one, two):
        assert api.send("POST", f"{path}/{row}/discard").status_code == 409
    assert api.send("POST", f"{path}/nothing/discard").json()["code"] == "quarantine_row_not_found"
    assert api.send("POST", f"{path}/replay", json={"ids": ["nothing"]}).status_code == 404
    assert [r["state"] for r in kept(api, path)] == ["fixed", "discarded"]
    entries = api.send("GET", "/api/v1/ledger/entries", params={"first": 0, "limit": 1000}).json()["items"]
    mine = [e for e in entries if e["kind"].startswith("quarantine.") and e["subject"] == "model:mends"]
    assert [e["kind"] for e in mine] == ["quarantine.fixed", "quarantine.discarded"]
    assert "Lovelace" not in json.dumps(mine)


def test_an_outcome_that_came_before_its_event_is_released_after_it(api: Api) -> None:
    path = declared(api, "early")
    outcome = json.dumps({"event_id": "o1", "intent_true": "lost_card"}).encode()
    assert lines(api, "early", outcome, path="outcomes")["quarantined"] == 1
    assert api.send("POST", f"{path}/replay", json={"all": True}).json()["rejected_total"] == 1
    assert lines(api, "early", json.dumps(event("o1")).encode())["accepted"] == 1
    assert api.send("POST", f"{path}/replay", json={"all": True}).json()["accepted"] == 1
    assert api.send("GET", "/api/v1/models/early/events/o1").json()["intent_true"] == "lost_card"


def test_a_flood_of_bad_rows_is_counted_and_kept_within_bounds(api: Api) -> None:
    path = declared(api, "flood")
    rows = [b'{"a":%d}' % i for i in range(MAX_ROWS_PER_REQUEST + 500)]
    answer = lines(api, "flood", *rows)
    assert (answer["rejected_total"], answer["quarantined"]) == (len(rows), MAX_ROWS_PER_REQUEST)
    assert lines(api, "flood", b'{"b":1}')["quarantined"] == 0
    (first,) = kept(api, path, limit=1)
    assert api.send("POST", f"{path}/{first['id']}/discard").status_code == 204
    assert lines(api, "flood", b'{"b":1}')["quarantined"] == 1


@pytest.mark.parametrize(
    ("events", "undecided", "free"),
    [
        (0, 0, MIN_ROWS_PER_MODEL),
        (0, MIN_ROWS_PER_MODEL + 5, 0),
        (MIN_ROWS_PER_MODEL * EVENTS_PER_ROW * 3, MIN_ROWS_PER_MODEL, MAX_ROWS_PER_REQUEST),
    ],
)
def test_a_model_may_have_a_share_of_its_rows_in_quarantine(events: int, undecided: int, free: int) -> None:
    assert free_rows(events, undecided) == free


def test_a_very_long_row_is_cut(api: Api) -> None:
    path = declared(api, "long")
    assert lines(api, "long", json.dumps(event("l", text="ä" * 200_000, version="")).encode())["quarantined"] == 1
    (row,) = kept(api, path)
    assert MAX_RAW_BYTES - 4 < len(row["raw"].encode()) <= MAX_RAW_BYTES
    assert api.send("POST", f"{path}/replay", json={"all": True}).json()["rejected_total"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?state=lost", None, 422), ("GET", "?cursor=x", None, 422), ("GET", "?from=2026-01-01", None, 422),
        ("POST", "/replay", {}, 422), ("POST", "/replay", {"all": False}, 422), ("POST", "/replay", {"ids": []}, 422),
        ("POST", "/replay", {"ids": ["a"], "all": True}, 422), ("POST", "/x/fix", [1], 422),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(api: Api, method: str, path: str, body: Any, status: int) -> None:
    answer = api.send(method, f"/api/v1/models/support-intents/quarantine{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_producer_can_neither_look_nor_decide(api: Api) -> None:
    key = api.send("POST", "/api/v1/keys", json={"name": f"q-{SystemClock().now()}", "role": "producer"}).json()["key"]
    path = "/api/v1/models/support-intents/quarantine"
    assert api.send("GET", path, key=key).status_code == 403
    assert api.send("POST", f"{path}/replay", json={"all": True}, key=key).status_code == 403
