"""Which spans are one call and which are several: nothing is lost to a likeness, nothing counts twice."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from monitor.ingest.otlp.receive import mappings_by_service
from monitor.ingest.otlp.recent import CALLS, RecentCalls, recent_calls
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.monitor.ingest.otlp.requests import span
from tests.monitor.ingest.otlp.test_calls import COLUMNS, SECOND, at, send, stored

Spans = Sequence[dict[str, Any]]
ROOT, OUTER = "00000000000000aa", "0000000000000001"


@pytest.fixture
def shop(site: Site) -> Site:
    return _shop(site)


pytestmark = SQLITE_FIRST


def _shop(site: Site, **traces: Any) -> Site:
    spec = {
        "model": "shop", "task": "generation", "owner": "ml@example.com", "purpose": "answer", "columns": COLUMNS,
        "baseline": {"rows": "first 1000"}, "traces": {"service": "shop-bot", **traces},
    }  # fmt: skip
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec), "tests")
    return site


def otel(asked: str = "", answered: str = "", model: str = "gpt-4o", tokens: tuple[int, int] | None = None) -> Any:
    found: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    found |= {"gen_ai.input.messages": [{"role": "user", "content": asked}]} if asked else {}
    found |= {"gen_ai.output.messages": [{"role": "assistant", "content": answered}]} if answered else {}
    counted = (
        dict(zip(("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"), tokens, strict=True)) if tokens else {}
    )
    return found | counted


def inference(asked: str = "", answered: str = "", model: str = "gpt-4o", tokens: tuple[int, int] | None = None) -> Any:
    found: dict[str, Any] = {"openinference.span.kind": "LLM", "llm.model_name": model}
    found |= {"input.value": asked} if asked else {}
    found |= {"output.value": answered} if answered else {}
    counted = dict(zip(("llm.token_count.prompt", "llm.token_count.completion"), tokens, strict=True)) if tokens else {}
    return found | counted


def call(number: int, begin: float, end: float, attributes: dict[str, Any], parent: str = ROOT) -> dict[str, Any]:
    return at(number, begin, end, {}, parent=parent) | {"attributes": attributes}


TOOL: Final = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "input.value": "q"} | {
    f"llm.output_messages.0.message.{name}": value
    for name, value in {
        "role": "assistant", "tool_calls.0.tool_call.function.name": "weather",
        "tool_calls.0.tool_call.function.arguments": '{"city": "Ulm", "days": 2}',
    }.items()
}  # fmt: skip
PART: Final = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"days": 2, "city": "Ulm"}}
SAME_TOOL: Final = otel("q") | {"gen_ai.output.messages": [{"role": "assistant", "parts": [PART]}]}
OTHER_TOOL: Final = otel("q") | {
    "gen_ai.output.messages": [{"role": "assistant", "parts": [PART | {"arguments": {"city": "Bonn"}}]}]
}
# Spans, the instrumentations that made them, and how many calls they are.
CASES: Final[Mapping[str, tuple[Spans, Sequence[str], int]]] = {
    "two models asked at the same time, without texts":
        ([call(1, 0, 5, otel()), call(2, 0, 5, otel(model="claude-sonnet-4"))], "ab", 2),
    "two models asked the same, with the same short answer":
        ([call(1, 0, 5, otel("q", "yes")), call(2, 0, 5, otel("q", "yes", "claude-sonnet-4"))], "ab", 2),
    "two calls at the same time that count other tokens":
        ([call(1, 0, 5, otel(tokens=(3, 4))), call(2, 0, 5, inference(tokens=(9, 4)))], "ab", 2),
    "two routes of one client":
        ([call(1, 0, 5, otel("q") | {"llm.request.type": "chat"}), call(2, 0, 5, otel("q"))], "aa", 2),
    "the same model under two of its names":
        ([call(1, 0, 5, otel()), call(2, 0, 5, inference(model="openai/gpt-4o-2024-08-06"))], "ab", 1),
    "a call within the callback of another, which count other tokens":
        ([call(1, 0, 9, otel(tokens=(100, 50))), call(2, 1, 3, otel(tokens=(5, 5)), OUTER)], "aa", 2),
    "a call of another model within one without texts":
        ([call(1, 0, 9, otel()), call(2, 1, 3, otel(model="claude-sonnet-4"), OUTER)], "ab", 2),
    "a deployment's name for the model, the same answer":
        ([call(1, 0, 9, inference("q", "a", "prod-chat")), call(2, 1, 8, otel("q", "a"), OUTER)], "ab", 1),
    "an answer that calls a tool, in two conventions, within":
        ([call(1, 0, 9, TOOL), call(2, 1, 8, SAME_TOOL, OUTER)], "ab", 1),
    "an answer that calls a tool, in two conventions, beside":
        ([call(1, 0, 9, TOOL), call(2, 0, 9, SAME_TOOL)], "ab", 1),
    "answers that call a tool with other arguments":
        ([call(1, 0, 9, TOOL), call(2, 0, 9, OTHER_TOOL)], "ab", 2),
    "spaces around the answer":
        ([call(1, 0, 9, inference("q", "a\n")), call(2, 1, 8, otel("q", "a"), OUTER)], "ab", 1),
    "two instrumentations on two calls at the same time":
        ([call(1, 0, 5, otel(tokens=(1, 1))), call(2, 0, 5, otel(tokens=(2, 2))),
          call(3, 0, 5, inference(tokens=(1, 1))), call(4, 0, 5, inference(tokens=(2, 2)))], "aabb", 2),
    "a span without an id beside one without a parent":
        ([call(1, 0, 5, otel("q", "a"), ""), call(2, 0, 5, otel("q", "a"), "") | {"id": ""}], "aa", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_spans_are_as_many_calls_as_were_made(shop: Site, name: str) -> None:
    spans, scopes, calls = CASES[name]
    verdict = send(shop, *spans, scopes=scopes)
    assert len(stored(shop)) == calls
    refused = sum(not one["id"] for one in spans)
    assert verdict.rejected == refused
    assert verdict.results["shop-bot"]["merged"] == len(spans) - calls - refused
    for i, one in enumerate(spans):  # the same in requests of their own
        send(shop, one | {"trace": "ab" * 16}, scopes=scopes[i])
    assert len(stored(shop)) == 2 * calls


EQUAL: Final = [call(i, 0, 5, otel("q", "yes", tokens=(3, 1))) for i in (1, 2, 3)]
ATTEMPTS: Final = [call(1, 0, 9, inference("q")), *(call(i, i, i + 1, otel("q"), OUTER) for i in (2, 3))]


@pytest.mark.parametrize(("spans", "calls"), [(EQUAL, 3), (ATTEMPTS, 2)], ids=["equal calls", "attempts"])
def test_a_restart_between_spans_loses_no_call(shop: Site, spans: Spans, calls: int) -> None:
    for one in spans:
        send(shop, one, scopes=["fw" if one["id"] == OUTER and spans is ATTEMPTS else "client"])
        shop.events.settle("shop")
        shop.cache.take(CALLS, "shop")  # what a new process does not know
    assert len(stored(shop)) == calls


def test_a_call_within_an_agent_stays_an_event_after_a_restart(site: Site) -> None:
    _shop(site, spans=["llm", "agent"])
    agent = call(1, 0, 9, {"openinference.span.kind": "AGENT", "llm.model_name": "m", "input.value": "q"})
    send(site, agent, scopes=["a"])
    site.events.settle("shop")
    site.cache.take(CALLS, "shop")
    send(site, call(2, 1, 8, otel("q", "a"), OUTER), scopes=["b"])
    assert len(stored(site)) == 2


def test_a_span_around_others_that_comes_in_a_later_request_is_known(shop: Site) -> None:
    http = at(2, 1, 9, {}, parent=OUTER, name="POST") | {"attributes": {"http.request.method": "POST"}}
    send(shop, call(3, 2, 8, otel(), http["id"]), http, scopes="bh")
    verdict = send(shop, call(1, 0, 10, inference("q", "a")), scopes="a")
    assert verdict.results["shop-bot"] == {"merged": 1}
    assert [event["output"] for event in stored(shop)] == ["a"]


def test_thousands_of_spans_within_each_other_are_compared_in_time(shop: Site) -> None:
    """Each looked at all the spans around it: 3,000 took 4 s of CPU."""
    began = time.process_time()
    nested = [
        span(i, {"gen_ai.usage.input_tokens": i, "gen_ai.usage.output_tokens": 1}, parent=f"{i - 1:016x}")
        | {"end": 1_767_571_200_000_000_000 + SECOND + 3000 - i}
        for i in range(1, 3001)
    ]
    send(shop, *nested)
    assert time.process_time() - began < 3


def test_many_models_share_the_calls_that_are_remembered(shop: Site) -> None:
    """Beyond 20 models each request read the newest rows of its model again, and knew little of their spans."""
    for number in range(500):
        shop.cache.put(CALLS, f"model {number}", RecentCalls([]))
    mapping = mappings_by_service(shop)["shop-bot"][0]
    assert recent_calls(shop, mapping).most == 400
    assert shop.cache.find(CALLS, "model 1") is not None


@pytest.mark.parametrize("together", [True, False])
def test_the_record_of_the_end_says_how_a_call_ended_though_it_has_less(shop: Site, together: bool) -> None:
    begun = call(1, 0, 0, otel("q", "so far", tokens=(3, 1))) | {"end": 0}
    ended = call(1, 0, 9, otel()) | {"failed": True}
    for spans in [(begun, ended)] if together else [(begun,), (ended,), (begun,)]:
        send(shop, *spans)
    (event,) = stored(shop)
    assert (event["status"], event["latency_ms"], event["input"], event["output"]) == ("error", 9000, "q", "so far")
    assert (event["ts"] - shop.clock.now()).total_seconds() == 9
