"""What real packages sent, replayed: each is stored as the table in docs/otlp.md says. `make senders` runs them."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.clock import ManualClock
from monitor.ingest.media import IDENTITY, PROTOBUF
from monitor.ingest.otlp import span_texts
from monitor.ingest.otlp.receive import read_spans, receive_traces
from monitor.ingest.otlp.receive_logs import receive_logs
from monitor.ingest.receive import target_of
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_ONLY
from tests.senders.recorder import Export, load
from tests.senders.senders import FOLDER, SENDERS
from tests.senders.stored import COLUMNS, Stored, ids_by_case, row, shown, spec
from tests.senders.table import documented, heading

RECORDED = {path.name.partition("__")[0]: path for path in sorted((FOLDER / "recorded").glob("*.zip"))}


def sent_at(exports: list[Export]) -> datetime:
    """The end of the newest span."""
    groups = [g for one in exports if one.signal == "traces" for g in read_spans(one.body, PROTOBUF)]
    return datetime.fromtimestamp(max(span.end for group in groups for span in group.spans) / 1e9, UTC)


def replayed(site: Site, service: str, exports: list[Export]) -> Stored:
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(spec(service)), "tests")
    for one in exports:
        (receive_traces if one.signal == "traces" else receive_logs)(site, one.body, PROTOBUF, IDENTITY)
    span_texts.join(site, target_of(site, service, "events"), at_once=True)
    found = {case: [site.events.event(service, i) for i in ids] for case, ids in ids_by_case(exports).items()}
    return {case: [shown(event) for event in events if event is not None] for case, events in found.items()}


def test_every_sender_is_recorded_and_in_the_table() -> None:
    assert RECORDED.keys() == SENDERS.keys()
    assert documented().keys() == SENDERS.keys()
    assert heading()[2:] == COLUMNS


@SQLITE_ONLY
@pytest.mark.parametrize("name", SENDERS)
def test_what_a_package_sent_is_stored_as_the_table_says(site: Site, clock: ManualClock, name: str) -> None:
    exports = load(RECORDED[name])
    clock.move_to(sent_at(exports))
    assert row(replayed(site, name, exports)) == documented()[name].stored


@SQLITE_ONLY
def test_texts_are_joined_in_the_other_order_too(site: Site, clock: ManualClock) -> None:
    exports = load(RECORDED["openai-v2-events"])
    clock.move_to(sent_at(exports))
    reordered = sorted(exports, key=lambda one: one.signal)  # all logs, then all spans
    assert reordered[0].signal == "logs"
    assert row(replayed(site, "openai-v2-events", reordered)) == documented()["openai-v2-events"].stored


@pytest.mark.parametrize("name", SENDERS)
def test_the_table_names_the_version_that_was_recorded_and_is_pinned(name: str) -> None:
    sender, said = SENDERS[name], documented()[name]
    pinned = (FOLDER / "environments" / f"{sender.environment}.txt").read_text()
    (version,) = re.findall(rf"^{re.escape(sender.package)}==(\S+)", pinned, re.M)
    assert RECORDED[name].name == f"{name}__{sender.package}-{version}.zip"
    assert said.package == f"`{sender.package}` {version}"
    for switch, value in sender.switches.items():
        assert f"`{switch}={value}`" in said.switches
    assert sender.variant in said.switches


def test_no_recording_names_a_machine() -> None:
    for path in RECORDED.values():
        for one in load(path):
            for word in (b'  File "', b"site-packages"):
                assert word not in one.body, (path.name, one.case, word)
    assert sum(path.stat().st_size for path in Path(FOLDER / "recorded").iterdir()) < 500_000
