"""Texts of spans that come as log records: joined to the event in any order, across requests and restarts."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.clock import ManualClock
from monitor import store
from monitor.ingest.media import IDENTITY, JSON, PROTOBUF
from monitor.ingest.otlp import span_texts
from monitor.ingest.otlp.given_up import WAIT, give_up, give_up_oldest
from monitor.ingest.otlp.mapping import events_from
from monitor.ingest.otlp.receive import mappings_by_service, read_spans
from monitor.ingest.otlp.receive_logs import LogVerdict, receive_logs
from monitor.ingest.otlp.store import text_counts
from monitor.ingest.otlp.tables import SpanText
from monitor.ingest.receive import store_rows, target_of
from monitor.service import apply_spec
from monitor.site import Site, open_site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.monitor.ingest.otlp.requests import START, TRACE, as_json, log, logs, request
from tests.monitor.ingest.otlp.requests import span as chat
from tests.monitor.ingest.otlp.test_receive import send

COLUMNS = {
    "question": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "text"},
    "finish_reason": {"role": "segment", "type": "category"},
    "input_tokens": {"role": "measure", "type": "number", "unit": "tokens"},
    "status": {"role": "segment", "type": "category"}, "relevance": {"role": "outcome", "type": "number"},
}  # fmt: skip


def declare(site: Site, model: str = "shop", service: str = "shop-bot", **keys: Any) -> None:
    spec = {
        "model": model, "task": "generation", "owner": "ml@example.com", "purpose": "answer", "columns": COLUMNS,
        "baseline": {"rows": "first 1000"}, "traces": {"service": service, **keys.pop("traces", {})}, **keys,
    }  # fmt: skip
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec), "tests")


@pytest.fixture
def shop(site: Site) -> Site:
    declare(site)
    return site


def tell(site: Site, *records: dict[str, Any], **resource: Any) -> LogVerdict:
    return receive_logs(site, logs(*records, **resource).SerializeToString(), PROTOBUF, IDENTITY)


def event(site: Site, number: int = 1, model: str = "shop") -> dict[str, Any]:
    found = site.events.event(model, f"{TRACE}-{number:016x}")
    assert found is not None
    return found


def texts(site: Site, number: int = 1, model: str = "shop") -> tuple[Any, Any]:
    found = event(site, number, model)
    return found["question"], found["answer"]


def sweep(site: Site, model: str = "shop") -> int:
    return span_texts.join(site, target_of(site, model, "events"), at_once=True)


def asked(of: int = 1, text: str = "hi?", **more: Any) -> Any:
    return log(of, "gen_ai.user.message", {"content": text}, **more)


def answered(of: int = 1, text: str = "hello", **more: Any) -> Any:
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return log(of, "gen_ai.choice", message, **more)


@SQLITE_FIRST
def test_texts_that_come_after_their_span_are_in_its_event(shop: Site) -> None:
    send(shop, chat(1), chat(2))
    verdict = tell(shop, asked(), answered())
    assert (verdict.accepted, verdict.rejected, verdict.skipped, verdict.message) == (2, 0, 0, "")
    assert texts(shop) == ("hi?", "hello")
    assert texts(shop, 2) == (None, None)


def test_texts_that_come_before_their_span_are_in_its_event(shop: Site) -> None:
    tell(shop, asked(), answered())
    assert shop.events.event("shop", f"{TRACE}-{1:016x}") is None
    send(shop, chat(1), chat(2))
    assert texts(shop) == ("hi?", "hello")
    assert texts(shop, 2) == (None, None)


@SQLITE_FIRST
def test_question_and_answer_may_come_on_both_sides_of_their_span(shop: Site) -> None:
    tell(shop, asked())
    send(shop, chat(1))
    assert texts(shop) == ("hi?", None)
    tell(shop, answered())
    assert sweep(shop) <= 1
    assert texts(shop) == ("hi?", "hello")


@SQLITE_FIRST
def test_texts_reach_events_that_lie_in_the_lake_and_nothing_else_of_them_changes(shop: Site) -> None:
    send(shop, *(chat(i) for i in range(1, 20)))
    shop.events.settle("shop")
    before = shop.events.events("shop")
    tell(shop, asked(7, "the seventh"), asked(9, "the ninth"))
    after = shop.events.events("shop")
    assert after.drop("question").equals(before.drop("question"))
    assert after["question"].to_list() == [None] * 6 + ["the seventh", None, "the ninth"] + [None] * 10
    assert after["seq"].to_list() == list(range(19))


def test_nothing_is_lost_if_the_service_restarts_between_the_two(shop: Site) -> None:
    tell(shop, asked())
    shop.close()
    again = open_site(shop.settings, shop.clock)
    send(again, chat(1))
    again.close()
    last = open_site(shop.settings, shop.clock)
    tell(last, answered())
    assert texts(last) == ("hi?", "hello")
    last.close()


def test_a_race_of_span_and_texts_is_settled_by_the_next_sweep(shop: Site) -> None:
    """The texts look for their event just before it is stored, and the span looks for texts just before they are."""
    tell(shop, asked())
    (mapping,) = mappings_by_service(shop)["shop-bot"]
    (group,) = read_spans(request(chat(1)).SerializeToString(), PROTOBUF)
    now = shop.clock.now()
    store_rows(shop, mapping.events, events_from(mapping, group.spans, now), now)
    assert texts(shop) == (None, None)
    assert sweep(shop) == 1
    assert texts(shop) == ("hi?", None)
    assert sweep(shop) == 0


@SQLITE_FIRST
def test_the_last_turn_counts_even_if_an_earlier_one_comes_in_a_later_request(shop: Site) -> None:
    send(shop, chat(1))
    tell(shop, asked(text="second", time=START + 20))
    tell(shop, asked(text="first", time=START + 10))
    sweep(shop)
    assert texts(shop)[0] == "second"
    tell(shop, asked(text="third", time=START + 30))
    sweep(shop)
    assert texts(shop)[0] == "third"


@SQLITE_FIRST
def test_what_the_span_says_itself_stays(shop: Site) -> None:
    send(shop, chat(1, {"input.value": "of the span", "gen_ai.usage.input_tokens": 12}))
    tell(shop, asked(), answered())
    assert texts(shop) == ("of the span", "hello")


@SQLITE_FIRST
def test_one_record_with_all_messages_gives_texts_tokens_and_finish_reason(shop: Site) -> None:
    said = {
        "gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": 12,
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi?"}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "stop"}
        ],
    }  # fmt: skip
    name = "gen_ai.client.inference.operation.details"
    tell(shop, log(1, name, None, said), log(2, name, said))  # some write them into the body
    send(shop, chat(1, failed=True), chat(2))
    for number, status in ((1, "error"), (2, "ok")):
        found = event(shop, number)
        wanted = {"question": "hi?", "answer": "hello", "finish_reason": "stop", "input_tokens": 12.0, "status": status}
        assert {key: found[key] for key in wanted} == wanted


@SQLITE_FIRST
@pytest.mark.parametrize(
    "record",
    [
        log(1, "gen_ai.user.message", "hi?"),
        log(1, "gen_ai.user.message", '{"content": "hi?"}'),
        log(1, "", {"content": "hi?"}, {"event.name": "gen_ai.user.message"}),
        log(1, "", {"event.name": "gen_ai.user.message", "content": "hi?"}),
        log(1, "gen_ai.user.message", None, {"content": "hi?"}),
        log(1, "gen_ai.user.message", {"role": "user", "content": [{"type": "text", "text": "hi?"}]}),
        log(1, "gen_ai.content.prompt", None, {"gen_ai.prompt": "hi?"}),
    ],
)
def test_every_spelling_of_a_message_is_read(shop: Site, record: Any) -> None:
    send(shop, chat(1))
    assert tell(shop, record).accepted == 1
    assert texts(shop)[0] == "hi?"


@SQLITE_FIRST
def test_a_call_of_a_tool_beside_its_message_is_the_answer(shop: Site) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"content": None}, "tool_calls": [call]}
    send(shop, chat(1))
    tell(shop, log(1, "gen_ai.choice", choice))
    assert "get_weather" in texts(shop)[1]


@SQLITE_FIRST
def test_of_several_answers_the_first_counts(shop: Site) -> None:
    second = log(1, "gen_ai.choice", {"index": 1, "message": {"content": "another"}}, time=START + 10)
    send(shop, chat(1))
    tell(shop, second, answered(text="hello", time=START + 20))
    assert texts(shop)[1] == "hello"


def test_a_text_may_hold_any_character(shop: Site) -> None:
    odd = "a\0b \u2028 \U0001f600 \\u0000"
    tell(shop, asked(text=odd))
    send(shop, chat(1))
    assert texts(shop)[0] == odd


@SQLITE_FIRST
def test_json_is_read_like_protobuf(shop: Site) -> None:
    send(shop, chat(1))
    receive_logs(shop, as_json(logs(asked(), answered())), JSON, IDENTITY)
    assert texts(shop) == ("hi?", "hello")


@SQLITE_FIRST
def test_other_log_records_are_counted_and_not_stored(shop: Site) -> None:
    send(shop, chat(1))
    verdict = tell(shop, log(None, "", "GET /health 200"), log(1, "", {"content": "hi?"}), log(1, "session.start"))
    assert (verdict.accepted, verdict.rejected, verdict.skipped) == (0, 0, 3)
    assert "3 log records say nothing that a column of a model takes, and are not stored" in verdict.message
    assert texts(shop) == (None, None)
    assert tell(shop, log(1, "gen_ai.system.message", {"content": "be kind"})).skipped == 1
    assert tell(shop).message == ""


@SQLITE_FIRST
def test_a_record_that_names_no_span_or_no_known_service_is_refused(shop: Site) -> None:
    verdict = tell(shop, log(None, "gen_ai.user.message", "hi?"), log("0" * 16, "gen_ai.user.message", "hi?"))
    assert verdict.rejected == 2
    assert "log record 1: gen_ai.user.message has no trace id and span id" in verdict.message
    other = tell(shop, asked(), service="nobody")
    assert other.rejected == 1
    assert "service 'nobody', 1 log record: no model takes them" in other.message


@SQLITE_FIRST
def test_personal_data_is_replaced_before_a_text_waits(site: Site) -> None:
    declare(site, redact={"question": ["email"]})
    tell(site, asked(text="write to ada@example.com"))
    with site.database.read() as db:
        assert "ada@" not in json.dumps(list(db.scalars(select(SpanText.columns))))
    send(site, chat(1))
    assert texts(site)[0].startswith("write to [email:")


@SQLITE_FIRST
def test_each_model_of_a_service_gets_the_texts_of_its_own_spans(site: Site) -> None:
    for name in ("north", "south"):
        declare(site, name, traces={"where": {"app.tenant": name}})
    send(site, chat(1, {"app.tenant": "north"}))
    tell(site, asked(1, "to north"), asked(2, "to south"))
    send(site, chat(2, {"app.tenant": "south"}))
    assert texts(site, 1, "north")[0] == "to north"
    assert texts(site, 2, "south")[0] == "to south"
    assert give_up(site, site.clock.now() + WAIT + timedelta(seconds=1)) == 0


def test_records_whose_span_never_comes_are_given_up_and_counted_once(site: Site) -> None:
    declare(site, "north", traces={"where": {"app.tenant": "north"}})
    declare(site, "south", traces={"where": {"app.tenant": "south"}})
    tell(site, asked(1), answered(1), asked(2))
    send(site, chat(2, {"app.tenant": "south"}))
    with site.database.read() as db:
        assert sum(waits for waits, _ in text_counts(db).values()) == 4  # kept for both
    assert give_up(site, site.clock.now() + WAIT - timedelta(seconds=1)) == 0
    assert give_up(site, site.clock.now() + WAIT + timedelta(seconds=1)) == 2
    with site.database.read() as db:
        assert sum(lost for _, lost in text_counts(db).values()) == 2
        assert sum(waits for waits, _ in text_counts(db).values()) == 0
    assert texts(site, 2, "south")[0] == "hi?"


def test_what_waits_is_bounded(shop: Site) -> None:
    assert isinstance(shop.clock, ManualClock)
    for number in range(1, 16):
        tell(shop, asked(number, f"of {number}"))
        shop.clock.move_to(shop.clock.now() + timedelta(seconds=1))
    with shop.database.write() as db:
        give_up_oldest(db, store.model(db, "shop"), shop.clock.now(), most=10)
    send(shop, *(chat(i) for i in range(1, 16)))
    questions = shop.events.events("shop")["question"].to_list()
    assert questions == [None] * 5 + [f"of {i}" for i in range(6, 16)]
    with shop.database.read() as db:
        assert text_counts(db)["shop"][1] == 5


def test_sending_again_changes_nothing(shop: Site) -> None:
    send(shop, chat(1))
    for _ in range(3):
        tell(shop, asked(), answered())
        sweep(shop)
    assert texts(shop) == ("hi?", "hello")
    assert shop.events.extent("shop").rows == 1


@SQLITE_FIRST
def test_a_value_that_does_not_fit_its_column_is_told(site: Site) -> None:
    declare(site, traces={"columns": {"input_tokens": "app.count"}})
    said = {"app.count": "many", "gen_ai.input.messages": "hi?"}
    verdict = tell(site, log(1, "gen_ai.client.inference.operation.details", None, said))
    assert verdict.rejected == 1
    assert "model shop: input_tokens: is a string" in verdict.message


@SQLITE_FIRST
def test_texts_of_a_span_that_was_merged_into_the_event_of_its_call_reach_that_event(shop: Site) -> None:
    """Two instrumentors on one call: the log records name the inner span, the outer one is the event."""
    inner = chat(2, {"gen_ai.response.id": "r1"}, parent=f"{1:016x}")
    send(shop, chat(1, {"gen_ai.response.id": "r1", "gen_ai.usage.input_tokens": 12}), inner)
    assert shop.events.extent("shop").rows == 1
    tell(shop, asked(2), answered(2))
    assert texts(shop, 1) == texts(shop, 2) == ("hi?", "hello")
    with shop.database.read() as db:
        assert text_counts(db)["shop"] == (0, 0)


@SQLITE_FIRST
@pytest.mark.parametrize("before", [False, True])
def test_an_evaluation_that_comes_as_a_log_record_is_an_outcome_of_its_span(shop: Site, before: bool) -> None:
    score = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.75}
    judged = log(1, "gen_ai.evaluation.result", None, score)
    if before:
        tell(shop, judged, asked())
    send(shop, chat(1))
    if before:
        assert sweep(shop) == 1
    else:
        assert tell(shop, judged, asked()).accepted == 2
    assert (event(shop)["relevance"], texts(shop)[0]) == (0.75, "hi?")
    assert shop.events.outcomes("shop").height == 1
    assert sweep(shop) == 0


@SQLITE_FIRST
def test_an_evaluation_that_does_not_fit_is_told(shop: Site) -> None:
    label = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.label": "good"}
    verdict = tell(shop, log(1, "gen_ai.evaluation.result", None, label))
    assert verdict.rejected == 1
    assert "has a label and no score; declare the column as a category" in verdict.message
