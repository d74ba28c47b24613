"""Outcomes arrive in parts and are corrected: each row is a fact, stored once; the newest value of a column counts."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.events.merge_outcomes import merged
from monitor.events.store import EventStore
from monitor.lake import table_ids
from monitor.lake.compact import compact
from monitor.lake.identity import IDENTITIES
from monitor.spec.parse import parse_spec
from tests.examples import examples
from tests.forks import ROOT
from tests.monitor.events.test_store import DOCUMENT, NOW, frame, opened
from tests.service import environment

SPEC = parse_spec(
    DOCUMENT
    | {
        "columns": DOCUMENT["columns"]
        | {
            "stars": {"role": "outcome", "type": "number"}, "helpful": {"role": "outcome", "type": "boolean"},
            "note": {"role": "outcome", "type": "text"},
        }
    }
)  # fmt: skip
VALUES: dict[str, Any] = {"truth": pl.String, "stars": pl.Float64, "helpful": pl.Boolean, "note": pl.String}
Fact = tuple[int, str | None, float | None, bool | None, str | None]

FACTS = st.tuples(
    st.integers(0, 4),
    st.sampled_from([None, "x", "y", ""]),
    st.sampled_from([None, 0.0, -0.0, 1.5]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, "1:x", "x\0stars\0003:1.5"]),
).filter(lambda fact: any(value is not None for value in fact[1:]))


def outcomes(facts: Sequence[Fact]) -> pl.DataFrame:
    rows = [(f"e{event}", *values) for event, *values in facts]
    return pl.DataFrame(rows, schema={"event_id": pl.String, **VALUES}, orient="row")


def known(facts: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """The facts merged into dictionaries, in their order."""
    found: dict[str, dict[str, Any]] = {}
    for event, *values in facts:
        mine = found.setdefault(f"e{event}", dict.fromkeys(VALUES))
        mine |= {name: value for name, value in zip(VALUES, values, strict=True) if value is not None}
    return found


def stored(store: EventStore) -> dict[str, dict[str, Any]]:
    return {row["event_id"]: {name: row[name] for name in VALUES} for row in store.outcomes("m").to_dicts()}


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    store = opened(tmp_path)
    store.append_events(SPEC, frame(0, 5), now=NOW)
    return store


@given(st.lists(FACTS, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_newest_value_of_each_column_counts_in_whatever_order_rows_are_read(facts: list[Fact], random: Any) -> None:
    rows = outcomes(facts).with_columns(
        seq=pl.int_range(len(facts), dtype=pl.Int64), ts=pl.lit(NOW) + pl.duration(hours=pl.int_range(len(facts)))
    )
    mixed = list(range(len(facts)))
    random.shuffle(mixed)
    found = merged(rows[mixed])
    assert {row["event_id"]: {n: row[n] for n in VALUES} for row in found.to_dicts()} == known(facts)
    for row in found.to_dicts():
        mine = [i for i, fact in enumerate(facts) if f"e{fact[0]}" == row["event_id"]]
        assert (row["seq"], row["ts"]) == (mine[-1], NOW + timedelta(hours=mine[-1]))
        assert row["first_ts"] == NOW + timedelta(hours=mine[0])
    assert found["seq"].is_sorted()


@example([(1, None, 0.0, None, None), (1, None, -0.0, None, None)])
@given(st.lists(FACTS, min_size=1, max_size=40))
def test_rows_with_equal_values_are_equal_whatever_columns_others_have(facts: list[Fact]) -> None:
    identity, frame = IDENTITIES["outcomes"], outcomes(facts)
    whole = identity.of(frame).whole.to_list()
    said = [(fact[0], *(value if value != 0 or value is False else 0.0 for value in fact[1:])) for fact in facts]
    for i, one in enumerate(said):
        for k, other in enumerate(said):
            assert (whole[i] == whole[k]) == (one == other), (one, other)
    turned = frame.select(reversed(frame.columns)).with_columns(
        later=pl.lit(None, pl.Float64), seq=pl.lit(7), ts=pl.lit(NOW)
    )
    assert identity.of(turned).whole.to_list() == whole


def test_parts_accumulate_a_repetition_is_a_duplicate_and_a_correction_counts(store: EventStore) -> None:
    def send(**values: Any) -> tuple[int, int]:
        done = store.append_outcomes(
            SPEC, pl.DataFrame({"event_id": ["e3"], **{n: [v] for n, v in values.items()}}), now=NOW
        )
        return done.accepted, done.duplicates

    assert send(truth="x") == (1, 0)
    assert send(stars=4.0) == (1, 0)
    assert send(truth="x", stars=None) == send(stars=4.0) == (0, 1)
    store.settle("m")
    assert send(truth="y") == (1, 0)
    assert send(truth="y") == send(truth="x") == (0, 1)
    assert stored(store) == {"e3": {"truth": "y", "stars": 4.0, "helpful": None, "note": None}}
    event = store.event("m", "e3")
    assert event is not None
    assert (event["truth"], event["stars"], event["outcome_ts"]) == ("y", 4.0, NOW)
    assert store.labelled("m", columns=["seq"]).to_dicts() == [
        {"seq": 3, "outcome_ts": NOW, "truth": "y", "stars": 4.0, "helpful": None, "note": None}
    ]
    extent = store.extent("m")
    assert (extent.outcomes, extent.next_outcome) == (3, 3)


def test_a_pinned_version_keeps_what_was_known_then(store: EventStore) -> None:
    store.append_outcomes(SPEC, outcomes([(1, "x", None, None, None)]), now=NOW)
    store.settle("m")
    then = store.extent("m")
    store.append_outcomes(SPEC, outcomes([(1, "y", 2.0, None, None)]), now=NOW)
    store.settle("m")
    pinned = store.labelled("m", events_version=then.events_version, outcomes_version=then.outcomes_version)
    assert pinned["truth"].to_list() == ["x"]
    assert store.labelled("m")["truth"].to_list() == ["y"]
    assert store.outcomes("m", to_seq=1)["truth"].to_list() == ["x"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 1), st.lists(FACTS, min_size=1, max_size=6)),
        st.sampled_from(["flush", "compact", "reopen"]),
    ),
    min_size=1, max_size=10,
)  # fmt: skip


@given(STEPS)
@settings(max_examples=examples(25))
def test_a_fact_is_stored_once_across_processes_flushes_and_compaction(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    stores = [opened(folder), opened(folder)]
    stores[0].append_events(SPEC, frame(0, 5), now=NOW)
    facts: list[Fact] = []
    sent: list[list[Fact]] = []
    for step in steps:
        if step == "flush":
            stores[0].settle("m")
        elif step == "compact":
            table = stores[0].table("m", "outcomes")
            list(compact("m", "outcomes", table, lambda: stores[0].locked("m")))
        elif step == "reopen":
            stores[1].close()
            stores[1] = opened(folder)
        else:
            which, some = step
            done = stores[which].append_outcomes(SPEC, outcomes(some), now=NOW)
            fresh = [fact for i, fact in enumerate(some) if fact not in facts and fact not in some[:i]]
            assert (done.accepted, done.duplicates) == (len(fresh), len(some) - len(fresh))
            facts += fresh
            sent.append(some)
        assert stored(stores[0]) == stored(stores[1]) == known(facts)
    for some in sent:  # everything once more
        assert stores[1].append_outcomes(SPEC, outcomes(some), now=NOW).accepted == 0
    assert stores[0].extent("m").outcomes == len(facts)
    for event in range(5):
        found = stores[0].event("m", f"e{event}")
        assert found is not None
        wanted = known(facts).get(f"e{event}", {})
        assert {n: found.get(n) for n in VALUES} == {n: wanted.get(n) for n in VALUES}
    for one in stores:
        one.close()


def test_parts_in_many_large_files_are_found_and_take_two_bytes_each(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = table_ids.MIN_INDEXED_ROWS
    events = pl.DataFrame({"event_id": [f"n{i}" for i in range(count)], "version": "v", "answer": "a"})
    store.append_events(SPEC, events.with_columns(ts=pl.lit(NOW)), now=NOW)
    for part in ({"truth": "x"}, {"stars": 3.0}, {"truth": "y"}):
        rows = events.select("event_id", **{n: pl.lit(v) for n, v in part.items()})
        assert store.append_outcomes(SPEC, rows, now=NOW).accepted == count
        store.settle("m")
    assert store.append_outcomes(SPEC, rows, now=NOW).duplicates == count
    table = store.table("m", "outcomes")
    assert len(table.snapshot().files) == 3
    assert table.ids.current().nbytes == 3 * 2 * count
    event = opened(tmp_path).event("m", "n77")
    assert event is not None
    assert (event["truth"], event["stars"]) == ("y", 3.0)
    some = store.outcomes("m", ids=pl.Series(["n5", "n19999", "nobody"]))
    assert some.select("event_id", "truth", "stars").rows() == [("n5", "y", 3.0), ("n19999", "y", 3.0)]
    one = outcomes([(2, "x", None, None, None)])
    store.append_outcomes(SPEC, one, now=NOW)
    store.settle("m")
    lacking = table.ids.lacking(pl.Series(["e2"]))
    assert len(lacking) == 3, "only the file that has the event is read"


_SENT = """
import sys
from pathlib import Path
from tests.monitor.events.test_store import NOW, opened
from tests.monitor.events.test_merge_outcomes import SPEC, outcomes

store = opened(Path(sys.argv[1]))
for i in range(int(sys.argv[2]), 10_000):
    store.append_outcomes(SPEC, outcomes([(i % 5, f"label {i % 7}", None, None, None)]), now=NOW)
    store.append_outcomes(SPEC, outcomes([(i % 5, None, float(i % 11), None, None)]), now=NOW)
    if i % 9 == 0:
        store.settle("m")
    print(i, flush=True)
"""


def test_killed_processes_that_send_everything_again_store_each_fact_once(store: EventStore, tmp_path: Path) -> None:
    store.close()
    reached = 0
    for cycle in range(4):
        sender = subprocess.Popen(
            [sys.executable, "-c", _SENT, str(tmp_path), str(max(0, reached - 15))], env=environment(), cwd=ROOT,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert sender.stdout is not None
        for line in sender.stdout:
            reached = int(line)
            if reached >= 25 * (cycle + 1) + cycle:
                break
        os.kill(sender.pid, signal.SIGKILL)
        sender.wait()
        sender.stdout.close()
    again = opened(tmp_path)
    again.flush_orphans()
    rows = again.table("m", "outcomes").scan().collect()
    assert IDENTITIES["outcomes"].of(rows).whole.is_unique().all()
    sent: set[tuple[Any, ...]] = {(f"e{i % 5}", f"label {i % 7}", None) for i in range(reached + 1)}
    sent |= {(f"e{i % 5}", None, float(i % 11)) for i in range(reached + 1)}
    assert sent <= set(rows.select("event_id", "truth", "stars").rows())
    assert rows["seq"].sort().to_list() == list(range(rows.height))
