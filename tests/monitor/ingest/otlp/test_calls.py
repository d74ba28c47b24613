"""One call is one event, however many spans describe it and in whichever order and requests they come."""

import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest

from governance import erasure
from monitor.ingest.media import IDENTITY, PROTOBUF
from monitor.ingest.otlp import span_texts
from monitor.ingest.otlp.receive import receive_traces
from monitor.ingest.otlp.receive_logs import receive_logs
from monitor.ingest.otlp.recent import CALLS
from monitor.ingest.otlp.verdict import SpanVerdict
from monitor.ingest.receive import target_of
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.upkeep.erase_rows import erase_rows
from monitor.upkeep.export import export
from tests.databases import SQLITE_FIRST
from tests.monitor.ingest.otlp.requests import START, TRACE, log, logs, request, span

COLUMNS = {
    "input": {"role": "input", "type": "text"}, "output": {"role": "prediction", "type": "text"},
    "status": {"role": "segment", "type": "category"}, "latency_ms": {"role": "measure", "type": "number"},
    "input_tokens": {"role": "measure", "type": "number"}, "relevance": {"role": "outcome", "type": "number"},
}  # fmt: skip
SECOND = 10**9
ASKED = {"input.value": "Weather?", "openinference.span.kind": "LLM"}
FULL = ASKED | {"output.value": "Rainy", "llm.token_count.prompt": 3}
CLIENT = {"gen_ai.input.messages": [{"role": "user", "content": "Weather?"}]}


@pytest.fixture
def shop(site: Site) -> Site:
    spec = {
        "model": "shop", "task": "generation", "owner": "ml@example.com", "purpose": "answer", "columns": COLUMNS,
        "baseline": {"rows": "first 1000"}, "traces": {"service": "shop-bot"},
    }  # fmt: skip
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec), "tests")
    return site


def at(number: int, begin: float, end: float, attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    times = {"start": START + int(begin * SECOND), "end": START + int(end * SECOND)}
    return span(number, attributes, **times, **more)


def send(site: Site, *spans: dict[str, Any], scopes: Sequence[str] = ()) -> SpanVerdict:
    """Send spans in one request, each from the instrumentation of its place."""
    message = request(*spans)
    for one, scope in zip(list(message.resource_spans[0].scope_spans[0].spans), scopes, strict=False):
        apart = message.resource_spans[0].scope_spans.add()
        apart.scope.name = scope
        apart.spans.append(one)
    if scopes:
        del message.resource_spans[0].scope_spans[0].spans[:]
    return receive_traces(site, message.SerializeToString(), PROTOBUF, IDENTITY)


def stored(site: Site) -> list[dict[str, Any]]:
    return site.events.events("shop").to_dicts()


FRAMEWORK = at(1, 0, 10, FULL)
INNER = at(2, 1, 9, CLIENT, parent="0000000000000001")
BESIDE = at(3, 0.1, 9.9, CLIENT)
STARTED = at(1, 0, 0, ASKED) | {"end": 0}
PAIRS = {
    "one within the other": (FRAMEWORK, INNER, "merged"),
    "one beside the other": (FRAMEWORK, BESIDE, "merged"),
    "at its start and at its end": (FRAMEWORK, STARTED, "sent_again"),
}
ORDERS = [(name, backwards) for name, backwards in itertools.product(PAIRS, (False, True))]


@SQLITE_FIRST
@pytest.mark.parametrize(("name", "backwards"), ORDERS)
def test_two_spans_of_a_call_in_one_request_are_one_event_with_the_fuller_span(
    shop: Site, name: str, backwards: bool
) -> None:
    fuller, other, result = PAIRS[name]
    pair = (other, fuller) if backwards else (fuller, other)
    scopes = ("b", "a") if backwards else ("a", "b")
    verdict = send(shop, *pair, scopes=() if result == "sent_again" else scopes)
    (event,) = stored(shop)
    assert (event["input"], event["output"], event["input_tokens"]) == ("Weather?", "Rainy", 3.0)
    assert event["event_id"] == f"{TRACE}-{fuller['id']}"
    assert verdict.results["shop-bot"] == {"stored": 1, result: 1}
    assert verdict.rejected == 0
    assert "1 span without an event" in verdict.message


@SQLITE_FIRST
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("name", "backwards"), ORDERS)
def test_two_spans_of_a_call_in_two_requests_are_one_event(
    shop: Site, name: str, backwards: bool, restarted: bool
) -> None:
    fuller, other, result = PAIRS[name]
    first, second = (other, fuller) if backwards else (fuller, other)
    send(shop, first, scopes=["a"])
    shop.events.settle("shop")
    if restarted:
        shop.cache.take(CALLS, "shop")  # what a new process does not know
    verdict = send(shop, second, scopes=["a" if result == "sent_again" else "b"])
    (event,) = stored(shop)
    assert (event["output"], event["input_tokens"], event["seq"]) == ("Rainy", 3.0, 0)
    assert event["event_id"] == f"{TRACE}-{first['id']}"
    assert event["span_id"] == fuller["id"]
    less = result == "sent_again" and not backwards  # the start came after the end
    assert verdict.results["shop-bot"] == {"duplicate": 1} if less else {result: 1}
    for one in (first, second):
        found = shop.events.event("shop", f"{TRACE}-{one['id']}")
        assert found is not None
        assert found["event_id"] == event["event_id"]
    for one in (first, second):  # a collector sends both again
        assert send(shop, one).results["shop-bot"] == {"duplicate": 1}
    assert len(stored(shop)) == 1


@SQLITE_FIRST
def test_calls_that_only_look_alike_stay_several_events(shop: Site) -> None:
    root = at(9, 0, 60, {"openinference.span.kind": "CHAIN"})
    steps = [at(i, 10 * i, 10 * i + 9, FULL | {"output.value": f"step {i}"}, parent=root["id"]) for i in (1, 2, 3)]
    samples = [at(i, 40, 49, ASKED | {"output.value": "same"}, parent=root["id"]) for i in (4, 5)]
    judge = at(6, 50, 51, {"gen_ai.input.messages": [{"role": "user", "content": "Is it right?"}]}, parent=root["id"])
    send(shop, root, *steps, *samples, judge, scopes=["a"] * 6 + ["b"])
    assert len(stored(shop)) == 6


@SQLITE_FIRST
def test_a_call_that_is_tried_twice_under_one_span_of_a_framework_is_two_calls(shop: Site) -> None:
    failed = at(2, 1, 2, CLIENT | {"error.type": "timeout"}, parent=FRAMEWORK["id"], failed=True)
    worked = at(3, 3, 9, CLIENT | {"gen_ai.output.messages": [{"role": "assistant", "content": "Rainy"}]},
                parent=FRAMEWORK["id"])  # fmt: skip
    verdict = send(shop, failed, worked, FRAMEWORK, scopes=["b", "b", "a"])
    assert sorted(event["status"] for event in stored(shop)) == ["error", "ok"]
    assert verdict.results["shop-bot"] == {"stored": 2, "merged": 1}


@SQLITE_FIRST
def test_three_spans_within_each_other_are_one_call(shop: Site) -> None:
    router = at(2, 1, 9.5, ASKED | {"output.value": "Rainy"}, parent=FRAMEWORK["id"])
    http = at(4, 2, 8.5, {"http.request.method": "POST"}, parent=router["id"], name="POST")
    client = at(3, 2, 8, CLIENT, parent=http["id"])
    http["attributes"].pop("gen_ai.operation.name")
    verdict = send(shop, client, http, router, FRAMEWORK, scopes="dcba")
    assert [event["span_id"] for event in stored(shop)] == [FRAMEWORK["id"]]
    assert verdict.results["shop-bot"] == {"stored": 1, "merged": 2, "carrier": 1}


@SQLITE_FIRST
def test_equal_ids_of_a_response_are_one_call_and_others_are_several(shop: Site) -> None:
    ids = [{"gen_ai.response.id": one} for one in ("r1", "r1", "r2")]
    spans = [at(i, 0, 5, FULL | of, parent="00000000000000aa") for i, of in enumerate(ids, start=1)]
    send(shop, *spans, scopes="abc")
    assert len(stored(shop)) == 2


def test_an_outcome_finds_the_event_by_the_id_of_either_span(shop: Site) -> None:
    send(shop, INNER, scopes=["b"])
    judged = {"evaluations.0.evaluation.name": "relevance", "evaluations.0.evaluation.score": 0.5}
    send(shop, FRAMEWORK | {"attributes": FRAMEWORK["attributes"] | judged}, scopes=["a"])
    later = span(9, links=[(TRACE, FRAMEWORK["id"])])
    later["attributes"] = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.75}
    assert send(shop, later).rejected == 0
    event = shop.events.event("shop", f"{TRACE}-{INNER['id']}")
    assert event is not None
    assert (event["relevance"], event["output"]) == (0.75, "Rainy")


def test_texts_of_log_records_reach_the_event_by_the_id_of_either_span(shop: Site) -> None:
    bare = {"attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}}
    send(shop, INNER | bare, scopes=["b"])
    send(shop, FRAMEWORK | bare | {"attributes": bare["attributes"] | {"gen_ai.usage.input_tokens": 3}}, scopes=["a"])
    for of, name, text in ((1, "gen_ai.choice", "Rainy"), (2, "gen_ai.user.message", "Weather?")):
        message = {"content": text} if of == 2 else {"index": 0, "message": {"content": text}}
        receive_logs(shop, logs(log(of, name, message)).SerializeToString(), PROTOBUF, IDENTITY)
    for _ in range(2):
        span_texts.join(shop, target_of(shop, "shop", "events"), at_once=True)
    (event,) = stored(shop)
    assert (event["input"], event["output"], event["input_tokens"]) == ("Weather?", "Rainy", 3.0)


@SQLITE_FIRST
def test_what_the_fuller_span_lacks_is_taken_from_the_other(shop: Site) -> None:
    tokens = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7}
    texts = FRAMEWORK | {"attributes": ASKED | {"output.value": "Rainy", "llm.model_name": "m"}}
    counted = INNER | {"attributes": tokens}
    send(shop, texts, counted, scopes="ab")
    send(shop, texts | {"trace": "ab" * 16}, scopes="a")
    send(shop, counted | {"trace": "ab" * 16}, scopes="b")
    assert [(e["output"], e["input_tokens"]) for e in stored(shop)] == [("Rainy", 7.0)] * 2


@SQLITE_FIRST
def test_an_export_has_the_fuller_record_and_the_number_of_events_stays(shop: Site) -> None:
    send(shop, STARTED)
    send(shop, at(5, 20, 21, FULL))
    send(shop, FRAMEWORK)
    lines = b"".join(export(shop, "shop").body).decode().splitlines()
    assert ["Rainy" in line for line in lines] == [True, True]
    assert shop.events.extent("shop").rows == 2
    reached = shop.events.events("shop", from_seq=0, to_seq=1, columns=["event_id", "output"])
    assert reached["output"].to_list() == ["Rainy"]


@SQLITE_FIRST
def test_the_event_of_a_call_is_another_span_where_the_fuller_one_does_not_fit(shop: Site) -> None:
    odd = FRAMEWORK | {"attributes": FRAMEWORK["attributes"] | {"gen_ai.usage.input_tokens": "many"}}
    verdict = send(shop, odd, INNER, scopes="ab")
    assert [event["span_id"] for event in stored(shop)] == [INNER["id"]]
    assert verdict.rejected == 1


@SQLITE_FIRST
def test_every_span_is_counted_and_the_sender_is_told(shop: Site) -> None:
    carrier = at(2, 1, 2, {"http.request.method": "POST"}, name="POST", parent="0000000000000001")
    carrier["attributes"].pop("gen_ai.operation.name")
    plain, agent, cut = at(3, 1, 2, {}), at(4, 0, 11, {"gen_ai.operation.name": "invoke_agent"}), at(5, 20, 21, FULL)
    plain["attributes"] = {"db.system": "postgresql"}
    message = request(FRAMEWORK, carrier, plain, agent, cut)
    message.resource_spans[0].scope_spans[0].spans[4].dropped_attributes_count = 6
    verdict = receive_traces(shop, message.SerializeToString(), PROTOBUF, IDENTITY)
    assert verdict.results["shop-bot"] == {"stored": 2, "carrier": 1, "no_call": 1, "kind": 1}
    assert (verdict.rejected, verdict.spans_cut) == (0, 1)
    for words in (
        "1 span without an event: a model is named",
        "(agent 1)",
        "1 span lost 6 attributes at the sender",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    ):
        assert words in verdict.message


def test_an_erasure_removes_the_fuller_record_of_a_person_too(site: Site) -> None:
    spec = {
        "model": "shop", "task": "generation", "owner": "ml@example.com", "purpose": "answer",
        "columns": COLUMNS | {"user": {"role": "subject", "type": "string"}},
        "baseline": {"rows": "first 1000"}, "traces": {"service": "shop-bot"},
    }  # fmt: skip
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec), "tests")
    send(site, STARTED | {"attributes": STARTED["attributes"] | {"user.id": "Ada"}})
    send(site, FRAMEWORK)
    (event,) = stored(site)
    assert event["user"] == site.events.subject_digest("Ada")  # what the fuller record lacks
    now = site.clock.now()
    with site.database.write() as db:
        row = erasure.request(db, subject=event["user"], models=[], actor="dpo", now=now)
        case = erasure.Case(row.id, row.subject, "shop", now)
    erase_rows(site, case)
    assert stored(site) == []
    assert site.events.table("shop", "replacements").snapshot().rows == 0


@SQLITE_FIRST
def test_a_trace_of_thousands_of_calls_costs_each_of_its_spans_the_same(shop: Site) -> None:
    """Each span was compared with every call of its trace: the second two thousand took 10 s of CPU, now 0.6 s."""
    for first in (1, 2001):
        began = time.process_time()
        send(shop, *(span(number) for number in range(first, first + 2000)))
        assert time.process_time() - began < 4
    assert shop.events.extent("shop").rows == 4000
