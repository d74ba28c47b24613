"""The trace view shows what a real package sent, as the tree that it is, and nothing of others."""

import re
from dataclasses import replace
from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.ingest.media import IDENTITY, PROTOBUF
from monitor.ingest.otlp import span_trees
from monitor.ingest.otlp.receive import read_spans, receive_traces
from monitor.ingest.otlp.spans import Span
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.senders.recorder import load
from tests.senders.senders import FOLDER
from tests.senders.stored import spec
from tests.senders.test_senders import sent_at

pytestmark = SQLITE_FIRST
NAME = "openinference-agents"
RECORDED: Path = next((FOLDER / "recorded").glob(f"{NAME}__*.zip"))


def client(site: Site, models: list[str] | None = None) -> TestClient:
    with site.database.write() as db:
        _, key = create_key(db, name=f"o {models}", role=Role.OPERATOR, models=models, actor="t", now=site.clock.now())
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {key}", "Accept": "text/html"})


def span(number: int, ident: str, parent: str, name: str, start: int = 1, end: int = 2) -> Span:
    return Span(number, "a" * 32, ident, parent, name, start, end, failed=False, attributes={}, resource={})


def test_what_an_agent_did_is_shown_as_a_tree_with_tokens_and_messages(site: Site, clock: ManualClock) -> None:
    exports = [one for one in load(RECORDED) if one.signal == "traces"]
    clock.move_to(sent_at(exports))
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec(NAME)), "tester")
        apply_spec(site, db, parse_spec(spec("other")), "tester")
    for one in exports:
        receive_traces(site, one.body, PROTOBUF, IDENTITY)
    traces: dict[str, list[Span]] = {}
    for one in exports:
        for group in read_spans(one.body, PROTOBUF):
            for part in group.spans:
                traces.setdefault(part.trace_id, []).append(part)
    trace = max(traces, key=lambda ident: len(traces[ident]))
    operator = client(site)
    waiting = operator.get(f"/models/{NAME}/traces/{trace}").text  # before it is written
    span_trees.write(site, clock.now())
    shown = operator.get(f"/models/{NAME}/traces/{trace}").text
    assert shown == waiting
    assert "8 spans in" in shown
    assert "2 calls of a language model, 1 of a tool; 42 tokens in, 14 out" in shown
    depths = [int(d) for d in re.findall(r'class="depth d(\d+)"', shown)]
    by_id = {s.span_id: s for s in traces[trace]}

    def depth(s: Span) -> int:
        return 1 + depth(by_id[s.parent_id]) if s.parent_id in by_id else 0

    assert sorted(depths) == sorted(depth(s) for s in traces[trace])
    assert "what will the weather be in Paris" in shown
    assert client(site, ["other"]).get(f"/models/{NAME}/traces/{trace}").status_code == 404
    assert "is kept; it may have been erased" in operator.get("/models/other/traces/none").text
    with site.database.write() as db:
        span_trees.forget(db, [f"{trace}-{next(iter(by_id))}"])
    assert "The outline of its spans is not kept" in operator.get(f"/models/{NAME}/traces/{trace}").text


def test_hostile_names_circles_and_spans_of_other_models_are_harmless(site: Site) -> None:
    with site.database.write() as db:
        for name in ("mine", "theirs"):
            apply_spec(site, db, parse_spec(spec("shop") | {"model": name}), "tester")
    service = parse_spec(spec("shop")).traces
    assert service is not None
    spans = [
        span(1, "1", "", "<script>x</script> anna@example.com\x00"), span(2, "2", "3", "round"),
        span(3, "3", "2", "about"), span(4, "4", "1", "a secret call", end=0), span(5, "5", "gone", "orphan"),
    ]  # fmt: skip
    span_trees.keep(site, service.service, {"a" * 32: spans, "short": spans}, {4: ["theirs"]})
    span_trees.write(site, site.clock.now())
    shown = client(site, ["mine"]).get(f"/models/mine/traces/{'a' * 32}").text
    assert shown.count('<td class="depth') == 5
    assert "&lt;script&gt;" in shown
    assert "anna@" not in shown
    assert "a secret call" not in shown
    assert "a call of another model" in shown
    assert "a secret call" in client(site).get(f"/models/mine/traces/{'a' * 32}").text
    assert shown.count("parent elsewhere") == 1


def test_the_sums_of_a_long_trace_are_those_of_all_its_spans_and_leave_out_other_models(site: Site) -> None:
    with site.database.write() as db:
        for name in ("mine", "theirs"):
            apply_spec(site, db, parse_spec(spec("shop") | {"model": name}), "tester")
    told = {"openinference.span.kind": "LLM", "llm.token_count.prompt": 10, "llm.token_count.completion": -5}
    for part in range(3):
        spans = [replace(span(i, f"{part}.{i}", "", "call"), attributes=told) for i in range(500)]
        span_trees.keep(site, "shop", {"a" * 32: spans}, {0: ["theirs"]})
    page = f"/models/mine/traces/{'a' * 32}"
    whole, limited = client(site).get(page).text, client(site, ["mine"]).get(page).text
    assert "1,500 spans" in whole
    assert "1,500 calls of a language model; 15,000 tokens in, – out" in whole
    assert "The first 1,000 are listed." in whole
    assert "1,497 calls of a language model; 14,970 tokens in" in limited
