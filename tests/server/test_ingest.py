"""Ingest over HTTP: what is taken, what is refused and in which words, and what survives a killed process."""

import gzip
import io
import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pytest

from tests.server.conftest import SPEC, Api, event

EVENTS = "/api/v1/models/support-intents/events"


def test_events_are_stored_once_and_read_back_with_their_outcome(api: Api) -> None:
    answer = api.rows("events", [event("r1"), event("r2"), event("r1")])
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"accepted": 2, "duplicates": 1, "rejected": [], "rejected_total": 0, "quarantined": 0}
    body = "\n".join(json.dumps(event(i)) for i in ("r2", "r3")).encode()
    answer = api.send("POST", EVENTS, content=body, headers={"Content-Type": "application/x-ndjson; charset=utf-8"})
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (1, 1)
    assert api.rows("outcomes", [{"event_id": "r1", "intent_true": "lost_card"}]).json()["accepted"] == 1
    assert api.rows("outcomes", [{"event_id": "r1", "intent_true": "lost_card"}]).json()["duplicates"] == 1
    found = api.send("GET", f"{EVENTS}/r1").json()
    assert (found["intent"], found["intent_true"]) == ("card_arrival", "lost_card")


_written: pl.Expr = pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
FORMS: dict[str, Callable[[pl.DataFrame], bytes]] = {
    "application/x-ndjson": lambda frame: frame.with_columns(_written).write_ndjson().encode(),
    "application/json": lambda frame: json.dumps(frame.with_columns(_written).to_dicts()).encode(),
    "application/vnd.apache.arrow.stream": lambda frame: _bytes(frame.write_ipc_stream),
    "application/vnd.apache.parquet": lambda frame: _bytes(frame.write_parquet),
}
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body, "gzip": gzip.compress, "zstd": lambda body: pa.compress(body, "zstd", asbytes=True),
}  # fmt: skip


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_every_coding_is_stored_alike(api: Api, form: str, coding: str) -> None:
    rows = pl.DataFrame([event(f"{form}-{coding}-{i}") for i in range(3)]).with_columns(
        pl.col("ts").str.to_datetime(time_zone="UTC"), pl.col("intent").cast(pl.Categorical)
    )
    if "json" in form:
        rows = rows.cast({"intent": pl.String})
    headers = {"Content-Type": form, "Content-Encoding": coding}
    answer = api.send("POST", EVENTS, content=CODINGS[coding](FORMS[form](rows)), headers=headers)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (3, [])
    stored = api.send("GET", f"{EVENTS}/{quote(f'{form}-{coding}-1', safe='')}").json()
    assert (stored["intent"], stored["ts"]) == ("card_arrival", rows["ts"][1].isoformat())
    outcomes = pl.DataFrame({"event_id": [f"{form}-{coding}-1", "never-sent"], "intent_true": ["a", "b"]})
    writers = FORMS | {
        "application/x-ndjson": lambda frame: frame.write_ndjson().encode(),
        "application/json": lambda frame: json.dumps(frame.to_dicts()).encode(),
    }
    answer = api.send(
        "POST",
        EVENTS.replace("/events", "/outcomes"),
        content=CODINGS[coding](writers[form](outcomes)),
        headers=headers,
    )
    assert answer.json()["accepted"] == 1
    assert [(r["line"], r["field"]) for r in answer.json()["rejected"]] == [(2, "event_id")]


def test_a_subject_is_stored_as_a_digest_only(api: Api) -> None:
    api.rows("events", [event("s1"), event("s2"), event("s3", customer="Alan Turing")])
    one, two, other = (api.send("GET", f"{EVENTS}/{i}").json()["customer"] for i in ("s1", "s2", "s3"))
    assert one == two != other
    for path in (api.installation.home / "lake").rglob("*"):
        assert path.is_dir() or b"Lovelace" not in path.read_bytes()


def test_an_event_id_may_hold_any_printable_character(api: Api) -> None:
    assert api.rows("events", [event("a/b c?ü#1")]).json()["accepted"] == 1
    assert api.send("GET", f"{EVENTS}/a%2Fb%20c%3F%C3%BC%231").json()["event_id"] == "a/b c?ü#1"


def test_a_model_that_does_not_exist_is_named(api: Api) -> None:
    answer = api.rows("events", [event("x")], model="nobody")
    assert (answer.status_code, answer.json()["code"], answer.json()["model"]) == (404, "model_not_found", "nobody")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"task": "regression"}, "prediction of type number"),
        ({"colour": "red"}, "colour"),
        ({"columns": {"text": {"role": "input", "type": "text"}}}, "no column has role prediction"),
        ({"monitors": {"kpi": [{"metric": "accuracy", "min": 0.9, "max": 0.1}]}}, "above max"),
        ({"model": "another"}, "the path"),
    ],
    ids=["task", "unknown field", "no prediction", "min above max", "other name"],
)
def test_a_spec_that_contradicts_itself_is_refused_with_the_field(api: Api, change: dict[str, Any], word: str) -> None:
    answer = api.send("PUT", "/api/v1/models/support-intents", json=SPEC | change)
    assert answer.status_code in (409, 422)
    assert word in answer.text


def test_a_column_added_to_the_spec_is_taken_from_then_on(api: Api) -> None:
    wider = SPEC | {"model": "grows"}
    assert api.send("PUT", "/api/v1/models/grows", json=wider).status_code == 201
    assert api.rows("events", [event("g1")], model="grows").json()["accepted"] == 1
    wider = wider | {"columns": SPEC["columns"] | {"channel": {"role": "segment", "type": "category"}}}
    assert api.send("PUT", "/api/v1/models/grows", json=wider).json()["outcome"] == "changed"
    assert api.rows("events", [event("g2", channel="mail")], model="grows").json()["accepted"] == 1
    one, two = (api.send("GET", f"/api/v1/models/grows/events/{i}").json() for i in ("g1", "g2"))
    assert (one["channel"], two["channel"]) == (None, "mail")


def test_what_was_acknowledged_survives_a_killed_process_and_nothing_is_stored_twice(api: Api) -> None:
    acknowledged: list[str] = []
    sent: list[str] = []
    stop = threading.Event()

    def send() -> None:
        for number in range(10_000):
            ids = [f"k{number}-{i}" for i in range(5)]
            sent.extend(ids)
            try:
                answer = api.rows("events", [event(i) for i in ids])
            except OSError:
                return
            except Exception:  # noqa: BLE001 - the client's own name for a connection that broke off
                return
            if answer.status_code == 200:
                acknowledged.extend(ids)
            if len(acknowledged) >= 60:
                stop.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert stop.wait(60)
    api.kill()
    sender.join(30)
    api.start()
    for start in range(0, len(acknowledged), 20):
        answer = api.rows("events", [event(i) for i in acknowledged[start : start + 20]]).json()
        assert (answer["accepted"], answer["duplicates"]) == (0, len(acknowledged[start : start + 20]))
    answer = api.rows("events", [event(i) for i in sent]).json()
    assert answer["accepted"] + answer["duplicates"] == len(sent)
    assert len(acknowledged) <= answer["duplicates"] <= len(acknowledged) + 5


def test_events_sent_at_the_same_time_by_many_are_each_stored_once(api: Api) -> None:
    answers: list[dict[str, Any]] = []

    def send(worker: int) -> None:
        answers.extend(api.rows("events", [event(f"p{n}-{i}") for i in range(10)]).json() for n in range(5))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(a["accepted"] for a in answers) == 50
    assert sum(a["duplicates"] for a in answers) == 150
