"""Statistics of raw rows against scikit-learn and against what theory says of known distributions."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import linalg, stats
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.rows import ROW_METHODS, row_scores
from monitor.drift.rows.base import features


def normal(rows: int, seed: int, *, shift: float = 0.0, turned: bool = False) -> Floats:
    """Three columns; the first two are correlated, with `turned` negatively."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    b = (-a if turned else a) + 0.3 * rng.normal(size=rows)
    return np.column_stack([a + shift, b, rng.normal(size=rows)])


def _domain(x: Floats, y: Floats) -> float:
    """Of two normals one apart in one column, no classifier is better than this."""
    return float(stats.norm.cdf(1.0 / math.sqrt(2.0)))


def _mmd(x: Floats, y: Floats) -> float:
    both = np.concatenate([x, y])
    distances = ((both[:, None] - both[None]) ** 2).sum(axis=-1)[np.triu_indices(len(both), 1)]
    gamma, n = 1.0 / float(np.median(distances)), len(x)
    within = sum((rbf_kernel(s, s, gamma=gamma).sum() - n) / (n * (n - 1)) for s in (x, y))
    return float(within - 2 * rbf_kernel(x, y, gamma=gamma).mean())


def _frechet(x: Floats, y: Floats) -> float:
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shared = linalg.sqrtm(first @ second).real
    gap = x.mean(axis=0) - y.mean(axis=0)
    return float(gap @ gap + np.trace(first + second - 2 * shared))


def _pca(x: Floats, y: Floats) -> float:
    order = np.random.default_rng(0).permutation(len(x))
    half = len(x) // 2
    model = PCA(n_components=0.65, svd_solver="full").fit(x[order[:half]])

    def error(rows: Floats) -> float:
        return float(np.linalg.norm(rows - model.inverse_transform(model.transform(rows)), axis=1).mean())

    return error(y) / error(x[order[half:]])


# The reference, how near the value has to come to it, and the rows it is asked about.
REFERENCES: dict[str, tuple[Callable[[Floats, Floats], float], float, Callable[[], tuple[Floats, Floats]]]] = {
    "domain_classifier": (
        _domain, 0.05,
        lambda: (np.random.default_rng(1).normal(size=(2000, 1)), np.random.default_rng(2).normal(1.0, size=(2000, 1))),
    ),
    "frechet": (_frechet, 1e-6, lambda: (normal(500, 1), normal(300, 2, shift=0.7, turned=True))),
    "mmd": (_mmd, 1e-9, lambda: (normal(200, 1), normal(200, 2, shift=0.7))),
    "pca_reconstruction": (_pca, 1e-9, lambda: (normal(600, 1), normal(400, 2, turned=True))),
}  # fmt: skip


def test_every_statistic_of_rows_has_an_outside_reference() -> None:
    assert set(REFERENCES) == set(ROW_METHODS)


@pytest.mark.parametrize("name", ROW_METHODS)
def test_a_statistic_of_rows_equals_its_outside_reference(name: str) -> None:
    expected, near, rows = REFERENCES[name]
    x, y = rows()
    assert ROW_METHODS[name].compute(x, y, 0) == pytest.approx(expected(x, y), abs=near)


@pytest.mark.parametrize("name", ROW_METHODS)
def test_without_drift_it_stays_near_its_unchanged_value_and_a_turned_relation_moves_it(name: str) -> None:
    """The turned relation leaves the distribution of every single column as it was."""
    method = ROW_METHODS[name]
    quiet = [method.compute(normal(500, seed), normal(500, seed + 100), seed) for seed in range(12)]
    error = float(np.std(quiet, ddof=1)) / math.sqrt(len(quiet))
    # Sampling alone moves a Fréchet distance up: by about (features + their products) / rows, for either side.
    usual = 2 * (3 + 3) / 500 if name == "frechet" else 0.0
    assert abs(float(np.mean(quiet)) - method.unchanged) < 4 * error + usual
    turned = method.compute(normal(500, 50), normal(500, 51, turned=True), 0)
    assert turned > max(quiet) + 3 * float(np.std(quiet, ddof=1))


@pytest.mark.parametrize("name", ROW_METHODS)
def test_the_seed_alone_decides_and_no_row_is_undefined(name: str) -> None:
    x, y = normal(400, 1), normal(300, 2, shift=0.5)
    method = ROW_METHODS[name]
    assert method.compute(x, y, 3) == method.compute(x, y, 3)
    with pytest.raises(InsufficientDataError):
        method.compute(x, y[:0], 0)


def test_mmd_over_many_blocks_agrees_with_one_over_all_rows() -> None:
    x, y = normal(1500, 1), normal(1500, 2, shift=0.7)
    assert ROW_METHODS["mmd"].compute(x, y, 0) == pytest.approx(_mmd(x, y), abs=0.01)


def frames(rows: int = 300) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(0)
    a = rng.normal(10.0, 2.0, rows)
    before = pl.DataFrame({"a": a, "b": np.full(rows, 3.0), "c": rng.choice(["x", "y"], rows), "t": ["text"] * rows})
    after = before.with_columns(
        pl.when(pl.col("a") > 10).then(None).otherwise("a").alias("a"), pl.lit("new").alias("c")
    )
    return before, after


def test_features_are_on_the_scale_of_the_reference_and_mark_what_is_missing() -> None:
    before, after = frames()
    x, y = features(before, after, {"a": "number", "b": "number", "c": "category", "t": "text"})
    assert x.shape == y.shape == (300, 6)
    assert x[:, 0].mean() == pytest.approx(0.0, abs=1e-9)
    assert x[:, 0].std() == pytest.approx(1.0)
    assert y[:, 1].sum() == after["a"].null_count()
    assert not x[:, 2].any()  # a constant stays at 0
    assert not y[:, 4:].any()  # a level the reference never saw


def test_scores_of_rows_say_why_one_is_undefined() -> None:
    before, after = frames()
    assert all(s.value is not None for s in row_scores(before, after, {"a": "number", "c": "category"}))
    only_text = row_scores(before, after, {"t": "text"})
    assert {s.reason for s in only_text} == {"no column of numbers, categories or vectors is watched"}
    few = {s.method: s for s in row_scores(before, after.head(20), {"a": "number", "c": "category"})}
    assert few["domain_classifier"].value is None
    assert "fewer than 50 rows" in (few["domain_classifier"].reason or "")
    constant = {s.method: s for s in row_scores(before, before, {"b": "number"})}
    assert "all rows are equal" in (constant["mmd"].reason or "")
    assert "without error" in (constant["pca_reconstruction"].reason or "")


def test_a_vector_is_read_by_its_principal_components_and_where_it_is_missing() -> None:
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(400, 20)) * np.linspace(3.0, 1.0, 20)
    lists = pl.Series("v", matrix.tolist(), dtype=pl.List(pl.Float64))
    before = pl.DataFrame({"v": lists})
    gaps = [None if i in {7, 9} else row for i, row in enumerate(matrix[:300].tolist())]
    after = pl.DataFrame({"v": pl.Series(gaps, dtype=pl.List(pl.Float64))})
    x, y = features(before, after, {"v": "vector"})
    assert (x.shape, y.shape) == ((400, 32), (300, 32))
    expected = PCA(16, whiten=True, svd_solver="full").fit_transform(matrix.astype(np.float32))
    assert np.allclose(np.abs(x[:, ::2]), np.abs(expected) * math.sqrt(400 / 399), atol=1e-3)
    assert y[:, 1].sum() == 2
    moved = pl.DataFrame({"v": pl.Series((matrix + 2.0).tolist(), dtype=pl.List(pl.Float64))})
    quiet, loud = (row_scores(before, side, {"v": "vector"}) for side in (before, moved))
    for still, found in zip(quiet, loud, strict=True):
        assert found.value is not None
        if found.method in ("frechet", "mmd", "domain_classifier"):
            assert found.value > (still.value or 0.0) + 0.1, found.method
    x, _ = features(pl.DataFrame({"v": [None, None]}), after, {"v": "vector"})
    assert x.shape[1] == 0
