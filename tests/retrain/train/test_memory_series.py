"""The course of a training is kept in a bounded number of points, however long it runs."""

from retrain.runs.record import SERIES, with_series
from retrain.train.memory_series import MOST, MemorySeries, resident_bytes


def test_the_memory_of_a_long_training_stays_a_bounded_series_over_all_its_steps() -> None:
    series = MemorySeries()
    for step in range(1, 50_001):
        series.add(step, step * 1000, None)
    steps = [point["step"] for point in series.record()]
    assert MOST // 2 <= len(steps) <= MOST
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, max(steps))
    assert (steps[-1] or 0) > 49_000
    assert resident_bytes() > 10**6


def test_the_progress_of_a_run_keeps_its_course_while_it_trains_and_begins_anew_with_another_training() -> None:
    shown: dict[str, object] | None = None
    for step in range(1, 1000):
        line = {"phase": "train", "step": step, "loss": 1 / step, "bytes": 10**9}
        shown = with_series(line, shown)
        shown = with_series(line, shown)  # the same line is seen twice
    assert shown is not None
    series = shown["series"]
    assert isinstance(series, list)
    assert len(series) <= SERIES
    assert series[-1] == [999, 1 / 999, 10**9]
    again = with_series({"phase": "train", "step": 1, "loss": None, "bytes": None}, shown)
    assert again["series"] == [[1, None, None]]
    assert with_series({"phase": "evaluate", "step": 0}, shown) == {"phase": "evaluate", "step": 0}
