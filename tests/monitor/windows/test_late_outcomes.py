"""Labels that arrive late, in parts or corrected visibly change their own windows and no others."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from core.clock import ManualClock
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, Receipt, receive
from monitor.site import Site
from monitor.tables import Measurement, Window
from monitor.windows import late_outcomes
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.examples import examples
from tests.monitor.traffic import document, events_body, rows, spec

ROWS = 100
_NUMBER = count()


def declare(site: Site, **changes: Any) -> str:
    """A separate model with windows of 100 rows, and an outcome column besides the label."""
    base, name = document(), f"loans-{next(_NUMBER)}"
    columns = base["columns"] | {"feedback": {"role": "outcome", "type": "boolean"}}
    kpi = [{"metric": "accuracy"}, {"metric": "thumbs_up_share", "column": "feedback"}]
    monitors = base["monitors"] | {"windows": {"rows": ROWS}, "kpi": kpi, "fairness": [], "estimate": False}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(model=name, columns=columns, monitors=monitors | changes), "tester")
    return name


def send(site: Site, model: str, **columns: list[Any]) -> Receipt:
    return receive(site, model, "outcomes", Body(pl.DataFrame(columns).write_ndjson().encode(), NDJSON))


def closed(site: Site, windows: int = 3, **changes: Any) -> tuple[str, pl.DataFrame]:
    model, frame = declare(site, **changes), rows(ROWS * windows)
    receive(site, model, "events", Body(events_body(frame), NDJSON))
    assert len(evaluate(site, model)) == windows
    return model, frame


def measured(site: Site, model: str, metric: str = "accuracy") -> Sequence[Measurement]:
    with site.database.read() as db:
        return store.measurements(db, store.model(db, model).id, metric=metric, segments=("",))


def windows(site: Site, model: str) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, model).id)


STEP = st.tuples(
    st.lists(st.tuples(st.integers(0, 3 * ROWS - 1), st.sampled_from(["yes", "no", None])), min_size=1, max_size=12),
    st.booleans(),
)


@SQLITE_FIRST
@given(st.lists(STEP, min_size=1, max_size=6))
@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_window_ends_with_the_kpi_of_the_newest_labels_in_any_order_of_arrival(site: Site, steps: list[Any]) -> None:
    model, frame = closed(site)
    labels: dict[int, str] = {}
    said: set[tuple[int, str | None]] = set()
    for updates, look in steps:
        send(
            site, model, event_id=[f"e{i}" for i, _ in updates], truth=[label for _, label in updates],
            feedback=[None if label else True for _, label in updates],
        )  # fmt: skip
        for i, label in updates:
            if label is not None and (i, label) not in said:
                labels[i] = label
            said.add((i, label))
        if look:
            evaluate(site, model)
    evaluate(site, model)
    answers = frame["decision"].to_list()
    for number, m in enumerate(measured(site, model)):
        mine = [i for i in range(number * ROWS, (number + 1) * ROWS) if i in labels]
        right = [answers[i] == labels[i] for i in mine]
        assert (m.value, m.n) == (pytest.approx(sum(right) / len(right)) if right else None, len(right))
        assert m.details["coverage"] == len(right) / ROWS
    for window in windows(site, model):
        known = {i for i in labels if window.from_seq <= i < window.to_seq}
        assert window.labels == len(known), "other outcomes are no labels"
    assert evaluate(site, model) == [], "nothing is looked at twice"


def test_a_changed_label_corrects_a_complete_window_and_what_was_shown_stays_visible(
    site: Site, clock: ManualClock
) -> None:
    model, frame = closed(site)
    send(site, model, event_id=frame["event_id"].to_list(), truth=frame["decision"].to_list())
    assert len(evaluate(site, model)) == 3
    assert [m.value for m in measured(site, model)] == [1.0, 1.0, 1.0]
    assert [w.labels for w in windows(site, model)] == [ROWS] * 3
    clock.move_to(later := clock.now() + timedelta(hours=1))
    wrong = {"yes": "no", "no": "yes"}[frame["decision"][ROWS + 3]]
    assert send(site, model, event_id=[f"e{ROWS + 3}"], truth=[wrong]).accepted == 1
    assert evaluate(site, model) == [windows(site, model)[1].id]
    first, second, third = measured(site, model)
    assert (first.value, first.corrected_at, third.value, third.corrected_at) == (1.0, None, 1.0, None)
    assert (second.value, second.n, second.previous_value, second.previous_n) == (0.99, ROWS, 1.0, ROWS)
    assert second.corrected_at == later
    assert second.details["corrections"] == 1
    assert second.details["history"][0]["value"] == 1.0


@SQLITE_FIRST
def test_parts_that_are_not_the_label_leave_the_label_s_kpi_alone(site: Site) -> None:
    model, frame = closed(site)
    send(site, model, event_id=["e0", "e1"], feedback=[True, False])
    assert len(evaluate(site, model)) == 1
    label, feedback = measured(site, model)[0], measured(site, model, "thumbs_up_share")[0]
    assert (label.value, label.n, label.details["coverage"]) == (None, 0, 0.0)
    assert label.reason == "no outcome has arrived yet for any of the 100 rows"
    assert (feedback.value, feedback.n, feedback.details["coverage"]) == (0.5, 2, 0.02)
    send(site, model, event_id=["e0"], truth=[frame["decision"][0]])
    evaluate(site, model)
    label, feedback = measured(site, model)[0], measured(site, model, "thumbs_up_share")[0]
    assert (label.value, label.n) == (1.0, 1)
    assert (feedback.value, feedback.n, feedback.corrected_at) == (0.5, 2, None)


@SQLITE_FIRST
def test_labels_of_more_rows_than_are_read_together_reach_their_windows(site: Site) -> None:
    model, frame = closed(site)
    mine = [f"e{i}" for i in range(3 * ROWS) if not ROWS <= i < 2 * ROWS]
    turned = frame.filter(pl.col("event_id").is_in(mine)).sample(fraction=1.0, shuffle=True, seed=3)
    send(site, model, event_id=turned["event_id"].to_list(), truth=turned["truth"].to_list())
    with site.database.read() as db:
        current = service.current_spec(site, db, model)
    first, _, third = (w.id for w in windows(site, model))
    for at_once in (1, 37, 1000):
        assert late_outcomes.windows_to_refresh(site, current, 0, len(mine), at_once=at_once) == [first, third]
    one = int(frame.filter(pl.col("event_id") == turned["event_id"][5])["event_id"][0][1:])
    assert late_outcomes.windows_to_refresh(site, current, 5, 6) == [first if one < ROWS else third]


@SQLITE_FIRST
def test_an_interrupted_refresh_is_done_again(site: Site) -> None:
    model, frame = closed(site)
    send(site, model, event_id=frame["event_id"].to_list(), truth=frame["truth"].to_list())
    updates = count()

    def breaking(*arguments: Any) -> None:
        if str(arguments[2]).replace('"', "").startswith("UPDATE window") and next(updates) == 1:
            raise ConnectionError("cut off")

    event.listen(site.database.engine, "before_cursor_execute", breaking)
    try:
        with pytest.raises(ConnectionError):
            evaluate(site, model)
    finally:
        event.remove(site.database.engine, "before_cursor_execute", breaking)
    assert [w.labels for w in windows(site, model)] == [ROWS, 0, 0]
    assert evaluate(site, model) == [w.id for w in windows(site, model)[1:]], "what was done is not done again"
    assert [w.labels for w in windows(site, model)] == [ROWS] * 3
