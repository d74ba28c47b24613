"""Routing: several models of one service, evaluations that arrive apart, and what is told of many refusals."""

import json
from typing import Any

import pytest

from monitor.ingest.media import IDENTITY, JSON, PROTOBUF
from monitor.ingest.otlp.receive import receive_traces
from monitor.ingest.otlp.verdict import SpanVerdict
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.monitor.ingest.otlp.requests import START, TRACE, request, span

COLUMNS = {
    "input": {"role": "input", "type": "text"}, "output": {"role": "prediction", "type": "text"},
    "relevance": {"role": "outcome", "type": "number"},
}  # fmt: skip
JUDGED = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.5}


def declare(site: Site, model: str, **traces: Any) -> None:
    spec = {
        "model": model, "task": "generation", "owner": "ml@example.com", "purpose": "answer", "columns": COLUMNS,
        "baseline": {"rows": "first 1000"}, "traces": {"service": "shop-bot", **traces},
    }  # fmt: skip
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec), "tests")


def send(site: Site, *spans: dict[str, Any], service: str = "shop-bot") -> SpanVerdict:
    return receive_traces(site, request(*spans, service=service).SerializeToString(), PROTOBUF, IDENTITY)


def evaluation(number: int, of: int) -> dict[str, Any]:
    made = span(number, links=[(TRACE, f"{of:016x}")])
    return made | {"attributes": JUDGED}


def ids(site: Site, model: str) -> list[str]:
    return [i[-2:] for i in site.events.events(model, columns=["event_id"])["event_id"]]


@pytest.fixture
def two(site: Site) -> Site:
    for name in ("north", "south"):
        declare(site, name, where={"app.tenant": name})
    return site


def test_each_span_goes_to_the_models_that_select_it(two: Site) -> None:
    verdict = send(two, span(1, {"app.tenant": "north"}), span(2, {"app.tenant": "south"}), span(3))
    assert verdict.rejected == 0
    assert verdict.message.startswith("1 span without an event: attributes are missing")
    assert (ids(two, "north"), ids(two, "south")) == (["01"], ["02"])
    declare(two, "all")
    assert send(two, span(4, {"app.tenant": "north"})).rejected == 0
    assert (ids(two, "north"), ids(two, "all")) == (["01", "04"], ["04"])


def test_an_evaluation_finds_the_model_that_has_its_event(two: Site) -> None:
    send(two, span(1, {"app.tenant": "north"}), span(2, {"app.tenant": "south"}))
    verdict = send(two, evaluation(8, of=2), evaluation(9, of=7))
    assert verdict.rejected == 1
    assert verdict.message.startswith("span 2: model ")
    assert "no event with this id is stored" in verdict.message
    assert two.events.outcomes("north").height == 0
    assert two.events.outcomes("south")["relevance"].to_list() == [0.5]


def test_an_evaluation_that_does_not_fit_leaves_its_event_stored(two: Site) -> None:
    bad = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.label": "good"}
    verdict = send(two, span(1, {"app.tenant": "north"}, events=[("gen_ai.evaluation.result", bad)]))
    assert verdict.rejected == 0
    assert verdict.message == (
        "span 1: model north: relevance: evaluation 'relevance' has a label and no score; "
        "declare the column as a category"
    )
    assert ids(two, "north") == ["01"]


def test_every_refused_span_is_counted_and_the_first_reasons_are_told(two: Site) -> None:
    verdict = send(two, *(evaluation(i, of=5000 + i) for i in range(1, 1201)))
    assert verdict.rejected == 1200
    assert verdict.message.count("span ") == 5
    assert verdict.message.endswith("; and 1195 more")
    verdict = send(two, *(span(i) for i in range(1, 4)), service="it's new")
    assert verdict.rejected == 3
    assert verdict.message.endswith("""assay init --from-trace 'it'"'"'s new'""")


def test_a_service_named_in_two_resources_of_a_request_is_stored_once_for_each_span(two: Site) -> None:
    one, other = request(span(1, {"app.tenant": "north"})), request(span(2, {"app.tenant": "north"}))
    one.MergeFrom(other)
    one.MergeFrom(other)
    assert receive_traces(two, one.SerializeToString(), PROTOBUF, IDENTITY).rejected == 0
    assert ids(two, "north") == ["01", "02"]


def test_half_of_a_character_is_replaced_and_stops_no_other_span(site: Site) -> None:
    """JavaScript cuts a text after so many halves of a pair: in a body of JSON, and in JSON within an attribute."""
    declare(site, "shop")
    cut = {"gen_ai.response.model": "m", "gen_ai.output.messages": "so \ud83d"}
    cut["gen_ai.input.messages"] = '[{"role": "user", "content": "I am \\ud83d"}]'
    body = json.dumps({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop-bot"}}]},
        "scopeSpans": [{"spans": [
            {"traceId": TRACE, "spanId": f"{i:016x}", "name": "chat", "startTimeUnixNano": str(START),
             "endTimeUnixNano": str(START + 1), "droppedAttributesCount": -1, "attributes": [
                 {"key": k, "value": {"stringValue": v}}
                 for k, v in (cut | {"gen_ai.operation.name": "chat"}).items()]}
            for i in (1, 2)]}],
    }]})  # fmt: skip
    assert receive_traces(site, body.encode(), JSON, IDENTITY).message == ""
    found = site.events.events("shop", columns=["input", "output"])
    assert found.rows() == [("I am \ufffd", "so \ufffd")] * 2
