"""Outcomes over HTTP: parts that arrive apart, corrections, repetitions; and a correction that reaches its window."""

import json
import time
from typing import Any

import httpx2

from tests.server.conftest import SPEC, Api, event
from tests.service import Service

MODEL = "/api/v1/models/support-intents"
COLUMNS = SPEC["columns"] | {
    "feedback": {"role": "outcome", "type": "boolean"}, "stars": {"role": "outcome", "type": "number"},
}  # fmt: skip


def counted(answer: httpx2.Response) -> tuple[int, int]:
    assert answer.status_code == 200, answer.text
    return answer.json()["accepted"], answer.json()["duplicates"]


def test_parts_of_an_outcome_accumulate_over_requests_and_the_newest_value_counts(api: Api) -> None:
    assert api.send("PUT", MODEL, json=SPEC | {"columns": COLUMNS}).status_code == 200
    api.rows("events", [event("p1"), event("p2")])
    first: list[dict[str, Any]] = [{"event_id": "p1", "intent_true": "lost_card"}, {"event_id": "p1", "stars": 4}]
    assert counted(api.rows("outcomes", first)) == (2, 0)
    assert counted(api.rows("outcomes", [{"event_id": "p1", "feedback": True, "stars": None}])) == (1, 0)
    assert counted(api.rows("outcomes", first[::-1])) == (0, 2), "sent again, in another order"
    assert counted(api.rows("outcomes", [{"event_id": "p1", "intent_true": "top_up"}, *first])) == (1, 2)
    found = api.send("GET", f"{MODEL}/events/p1").json()
    assert (found["intent_true"], found["stars"], found["feedback"]) == ("top_up", 4.0, True)
    api.kill()  # what was acknowledged is on disk, and known to whoever comes next
    api.start()
    assert counted(api.rows("outcomes", first)) == (0, 2)
    assert counted(api.rows("outcomes", [{"event_id": "p2", "stars": 1}])) == (1, 0)
    exported = api.send("GET", f"{MODEL}/events?kind=outcomes").text.splitlines()
    rows = [json.loads(line) for line in exported]
    assert [(r["event_id"], r["intent_true"], r["stars"]) for r in rows] == [("p1", "top_up", 4.0), ("p2", None, 1.0)]


def measured(service: Service, wanted: Any, timeout_s: float = 180) -> dict[str, Any]:
    """The window's accuracy once it is as wanted."""
    until = time.monotonic() + timeout_s
    while True:
        url = f"{service.url}{MODEL}/measurements?metric=accuracy"
        found = httpx2.get(url, headers=service.headers(), timeout=30).json()["items"]
        if found and wanted(found[0]):
            first: dict[str, Any] = found[0]
            return first
        assert time.monotonic() < until, (found, service.log_tail())
        time.sleep(0.3)


def test_a_corrected_label_corrects_the_window_that_was_judged_before_and_says_so(server: Service) -> None:
    def send(method: str, path: str, document: Any) -> httpx2.Response:
        return httpx2.request(method, server.url + path, headers=server.headers(), json=document, timeout=60)

    monitors = {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.01}, "kpi": [{"metric": "accuracy"}]}
    declared = SPEC | {"columns": COLUMNS, "monitors": monitors}
    assert send("PUT", MODEL, declared).status_code == 201
    send("POST", f"{MODEL}/events", [event(f"e{i}") for i in range(100)])
    labels = [{"event_id": f"e{i}", "intent_true": "card_arrival"} for i in range(100)]
    assert counted(send("POST", f"{MODEL}/outcomes", labels)) == (100, 0)
    whole = measured(server, lambda m: m["n"] == 100)
    assert (whole["value"], whole["corrected_at"]) == (1.0, None)
    corrected = [{"event_id": f"e{i}", "intent_true": "lost_card"} for i in range(10)]
    assert counted(send("POST", f"{MODEL}/outcomes", corrected)) == (10, 0)
    after = measured(server, lambda m: m["value"] != 1.0)
    assert (after["value"], after["n"], after["previous_value"], after["previous_n"]) == (0.9, 100, 1.0, 100)
    assert after["corrected_at"] is not None
    assert after["details"]["history"][0]["value"] == 1.0
