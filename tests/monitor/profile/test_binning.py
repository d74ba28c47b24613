"""Bins by cells are the bins of a binary search, value by value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.profile.binning import bin_numbers, cell_table
from tests.examples import examples

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=8, max_size=300, unique=True), st.lists(finite, max_size=200))
@settings(max_examples=examples(150))
def test_any_values_and_edges(edges: list[float], values: list[float]) -> None:
    cuts = np.sort(np.array(edges))
    with np.errstate(over="ignore"):
        asked = np.array([*values, *edges, *np.nextafter(cuts, -np.inf), *np.nextafter(cuts, np.inf)])
    asked = asked[np.isfinite(asked)]
    found = bin_numbers(asked, cuts, cell_table(cuts))
    assert found.tolist() == np.searchsorted(cuts, asked, side="left").tolist()


@pytest.mark.parametrize("law", ["normal", "lognormal", "cauchy", "few", "clustered"])
def test_many_values_of_usual_laws(law: str) -> None:
    rng = np.random.default_rng(0)
    made = {
        "normal": rng.normal(50, 10, 200_000), "lognormal": rng.lognormal(0, 3, 200_000),
        "cauchy": rng.standard_cauchy(200_000), "few": rng.integers(0, 100, 200_000).astype(float),
        "clustered": np.where(rng.random(200_000) < 0.9, rng.normal(0, 1e-9, 200_000), rng.normal(0, 1e6, 200_000)),
    }  # fmt: skip
    x = made[law]
    edges = np.unique(np.quantile(x, np.linspace(0, 1, 254), method="inverted_cdf"))
    table = cell_table(edges)
    assert table is not None
    assert np.array_equal(bin_numbers(x, edges, table), np.searchsorted(edges, x, side="left"))
