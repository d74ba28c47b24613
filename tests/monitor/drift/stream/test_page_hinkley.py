"""Our Page-Hinkley test does what river's does, to the last bit."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import PageHinkley as RiverPageHinkley

from monitor.drift.stream.page_hinkley import PageHinkley


@given(st.lists(st.integers(0, 255), min_size=1, max_size=400), st.floats(0.5, 20.0))
@settings(max_examples=60, deadline=None)
def test_it_fires_where_the_library_s_fires_with_the_same_statistic(steps: list[int], threshold: float) -> None:
    ours = PageHinkley(least=30, ignored=0.02, threshold=threshold)
    library: Any = RiverPageHinkley(min_instances=30, delta=0.02, threshold=threshold, alpha=1.0, mode="up")
    values, expected = [step / 255 for step in steps], list[tuple[int, float]]()
    for at, value in enumerate(values):
        library.update(value)
        if library.drift_detected:
            expected.append((at, library._sum_increase - library._min_increase))
        assert bool(ours.extend([value])) == library.drift_detected
        assert ours.statistic == library._sum_increase - library._min_increase
    assert PageHinkley(least=30, ignored=0.02, threshold=threshold).extend(values) == expected
