"""Our way to river's adaptive window is that of river.drift.ADWIN."""

from typing import Any

import numpy as np
import pytest
from river.drift import ADWIN

from monitor.drift.stream.adwin import Adwin


@pytest.mark.parametrize("seed", range(4))
def test_it_fires_where_the_library_s_fires_with_the_same_mean(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = [float(random.random() < share) for share in (0.1, 0.4, 0.05, 0.6) for _ in range(700)]
    wrapper: Any = ADWIN  # untyped
    library, ours, expected = wrapper(delta=0.002), Adwin(delta=0.002), list[tuple[int, bool]]()
    for at, value in enumerate(values):
        before = library.estimation
        library.update(value)
        if library.drift_detected:
            expected.append((at, library.estimation > before))
        assert bool(ours.extend([value])) == library.drift_detected
        assert ours.mean == library.estimation
    whole, parts = Adwin(delta=0.002), Adwin(delta=0.002)
    assert whole.extend(values) == expected
    assert [(at + n, rose) for n in range(0, 2800, 97) for at, rose in parts.extend(values[n : n + 97])] == expected
    assert {rose for _, rose in expected} == {True, False}
