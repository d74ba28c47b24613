"""Where things stand on the axis of a model's events."""

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from monitor.spec.parse import parse_spec
from reports.facts.timelines import timeline
from tests.reports.story_teller import SPEC

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(hours=12)
IDS = [uuid.UUID(int=i) for i in range(6)]


def windows() -> list[Any]:
    return [
        SimpleNamespace(
            id=IDS[i], from_ts=START + i * STEP, to_ts=START + (i + 1) * STEP, scale="500 rows", rows=500, labels=400,
            versions=["v1" if i < 4 else "v2"],
            decision={"verdict": "no_evidence", "judged": True, "p": 0.4, "alpha": 0.01},
        )
        for i in range(6)
    ]  # fmt: skip


def drawn(at: datetime) -> Any:
    """A timeline whose alert, decision and promotion happened at a moment of the clock."""
    return timeline(
        parse_spec(SPEC), cast("Any", windows()), (),
        versions=cast("Any", [SimpleNamespace(version="v1", promoted_at=START - STEP),
                              SimpleNamespace(version="v2", promoted_at=at)]),
        alerts=cast("Any", [SimpleNamespace(opened_at=at, first_window_id=IDS[2], resolved_at=None, monitor="drift",
                                            metric="p_value")]),
        decisions=cast("Any", [SimpleNamespace(at=at, window_id=IDS[3], fired=True, cause="window")]),
        runs=cast("Any", [SimpleNamespace(finished_at=at, state="promoted", candidate_version="v2")]),
    )  # fmt: skip


def test_what_happened_while_events_came_in_stands_where_it_happened() -> None:
    at = START + 4 * STEP + timedelta(minutes=1)
    found = drawn(at)
    assert {t.at for t in found.ticks} == {at}
    assert [(r.at, r.label) for r in found.rules if r.at >= START] == [(at, "v2 promoted")]


def test_what_followed_from_replayed_events_stands_at_their_windows() -> None:
    found = drawn(START + timedelta(days=300))
    assert {t.kind: t.at for t in found.ticks} == {
        "alert opened": START + 3 * STEP, "retrain decided": START + 4 * STEP, "run finished": START + 4 * STEP,
    }  # fmt: skip
    assert [(r.at, r.label) for r in found.rules if r.at >= START] == [(START + 4 * STEP, "v2 answers")]
