"""Similar decisions: distances worked out by hand, and the nearest event first."""

from datetime import timedelta

import polars as pl
import pytest

from core.clock import ManualClock
from monitor.explore.similar import similar
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.monitor import traffic

pytestmark = SQLITE_FIRST
COLUMNS = {
    "amount": {"role": "input", "type": "number"}, "note": {"role": "input", "type": "text"},
    "region": {"role": "segment", "type": "category"}, "place": {"role": "input", "type": "vector", "dimensions": 2},
    "group": {"role": "protected", "type": "category"}, "answer": {"role": "prediction", "type": "category"},
    "truth": {"role": "outcome", "type": "category"},
}  # fmt: skip
SPEC = parse_spec(
    traffic.document(
        columns=COLUMNS,
        monitors={"windows": {"rows": 250}, "false_alarms": {"alpha": 0.01}, "drift": {"columns": ["amount"]}},
    )
)
ROWS = [
    (10.0, "pay my bill now", "north", [1.0, 0.0], "yes"),
    (10.0, "pay my bill now", "north", [2.0, 0.0], "no"),  # nothing differs
    (10.0, "pay my bill", "south", [0.0, 1.0], "yes"),  # text 1 - 3/4, region 1, vector 1/2
    (None, "entirely other words", None, [-1.0, 0.0], "yes"),  # everything differs
]


def test_distances_are_those_of_a_hand_and_what_differs_is_named(site: Site, clock: ManualClock) -> None:
    clock.move_to(traffic.BEGIN + timedelta(days=2))
    with site.database.write() as db:
        apply_spec(site, db, SPEC, "tester")
    at = pl.Series([traffic.BEGIN]).dt.cast_time_unit("us")
    frame = pl.DataFrame({
        "event_id": [f"e{i}" for i in range(4)], "ts": at.new_from_index(0, 4), "version": ["v"] * 4,
        **{name: [row[i] for row in ROWS] for i, name in enumerate(("amount", "note", "region", "place", "answer"))},
        "group": ["a", "b", "a", "b"],
    }, schema_overrides={"place": pl.List(pl.Float32)})  # fmt: skip
    site.events.append_events(SPEC, frame, now=clock.now())
    site.events.append_outcomes(SPEC, pl.DataFrame({"event_id": ["e2"], "truth": ["yes"]}), now=clock.now())
    event = site.events.event("loans", "e0")
    assert event is not None
    found = similar(site, SPEC, event, without={"group"})
    assert (found.compared, found.columns) == (3, ("amount", "note", "region", "place"))
    assert [e.event_id for e in found.events] == ["e1", "e2", "e3"]
    assert [e.distance for e in found.events] == pytest.approx([0.0, (0.25 + 1 + 0.5) / 4, 1.0])
    assert [e.differs for e in found.events] == [(), ("region", "place", "note"), ("region", "place", "note")]
    assert [(e.answer, e.outcome) for e in found.events] == [("no", None), ("yes", "yes"), ("yes", None)]
    lonely = similar(site, SPEC, {**event, "seq": 10_000}, compared=2)
    assert lonely.reason == "no other event is stored"
