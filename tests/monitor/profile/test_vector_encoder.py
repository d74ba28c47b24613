"""The encoder of vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from core.errors import InsufficientDataError, InvalidError
from monitor.profile.text_encoder import COMPONENTS
from monitor.profile.vector_encoder import VectorEncoder, Vectors, fit_vectors


def blobs(rows: int, seed: int, *, dimensions: int = 24, kinds: int = 6, new: bool = False) -> Vectors:
    """Rows around `kinds` centres that are the same for every seed; with `new`, around others."""
    centres = np.random.default_rng(7).normal(size=(2 * kinds, dimensions)) * 3.0
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, kinds, rows) + (kinds if new else 0)
    return (centres[chosen] + rng.normal(size=(rows, dimensions))).astype(np.float32)


FITTED = fit_vectors(blobs(1200, 0), seed=1)


def test_same_vectors_and_seed_give_the_same_encoder_and_arrays_give_it_back() -> None:
    again = fit_vectors(blobs(1200, 0), seed=1)
    for name, values in FITTED.arrays().items():
        assert np.array_equal(values, again.arrays()[name]), name
    back = VectorEncoder.from_arrays(FITTED.arrays())
    assert np.array_equal(back.encode(blobs(9, 3)).distance, FITTED.encode(blobs(9, 3)).distance)


def test_components_are_those_of_principal_component_analysis_in_standard_deviations() -> None:
    rows = blobs(1200, 0)
    expected = PCA(COMPONENTS, whiten=True, svd_solver="full").fit(rows).transform(blobs(50, 5))
    found = FITTED.encode(blobs(50, 5)).components
    sign = np.sign((expected * found).sum(axis=0))
    assert np.allclose(found, expected * sign * np.sqrt(1200 / 1199), atol=2e-3)


def test_distance_is_that_to_the_nearest_three_anchors() -> None:
    rows = blobs(40, 5)
    centred = (rows - FITTED.centre).astype(np.float64)
    along = centred @ FITTED.axes.T
    left = np.linalg.norm(centred - along @ FITTED.axes, axis=1)
    points = np.column_stack([along, left]) / np.sqrt(FITTED.spread * FITTED.spread[0])
    nearest = np.sort(cdist(points, FITTED.anchors, "sqeuclidean"), axis=1)[:, :3]
    assert np.allclose(FITTED.encode(rows).distance, np.sqrt(nearest.mean(axis=1)), atol=1e-3)


def test_vectors_of_a_new_kind_lie_farther_away_and_a_known_one_in_its_cluster() -> None:
    known, new = FITTED.encode(blobs(500, 2)), FITTED.encode(blobs(500, 2, new=True))
    assert np.median(new.distance) > 1.5 * np.quantile(known.distance, 0.9)
    assert len(np.unique(known.cluster)) >= 6
    pure = [len(np.unique(FITTED.encode(blobs(60, s, kinds=1)).cluster)) for s in (1, 2)]
    assert max(pure) < len(FITTED.clusters) / 3


def test_a_direction_the_reference_never_used_is_far_away() -> None:
    flat = blobs(400, 0)
    flat[:, 12:] = 0.0
    encoder = fit_vectors(flat, seed=0)
    off = flat[:20].copy()
    off[:, 20] = 5.0
    assert encoder.encode(off).distance.min() > 2 * encoder.encode(flat).distance.max()


@given(st.floats(1e-3, 1e3), st.integers(-100, 100))
def test_neither_the_unit_nor_the_origin_of_vectors_matters(unit: float, origin: int) -> None:
    rows, moved = blobs(300, 0), blobs(300, 0) * np.float32(unit) + np.float32(origin * unit)
    a, b = fit_vectors(rows, seed=3).encode(blobs(20, 9)), fit_vectors(moved, seed=3)
    found = b.encode(blobs(20, 9) * np.float32(unit) + np.float32(origin * unit))
    assert np.allclose(a.distance, found.distance, rtol=0.02)
    assert np.allclose(np.abs(a.components), np.abs(found.components), atol=0.02)


def test_a_row_is_measured_by_itself_and_a_missing_one_not_at_all() -> None:
    rows = blobs(2500, 4)
    rows[[3, 2100]] = np.nan
    rows[7, 2] = np.inf
    found = FITTED.encode(rows)
    assert np.flatnonzero(np.isnan(found.distance)).tolist() == [3, 7, 2100]
    assert np.flatnonzero(found.cluster == -1).tolist() == [3, 7, 2100]
    assert np.isnan(found.components[3]).all()
    one = FITTED.encode(rows[2400:2401])
    assert np.allclose(one.distance, found.distance[2400], rtol=1e-4)
    assert one.cluster[0] == found.cluster[2400]


def test_too_few_equal_or_foreign_vectors_are_refused_by_name() -> None:
    with pytest.raises(InsufficientDataError, match="column 'e' has 49 vectors"):
        fit_vectors(blobs(49, 0), seed=0, column="e")
    with pytest.raises(InsufficientDataError, match="all vectors of the reference are equal"):
        fit_vectors(np.full((60, 4), 0.3, dtype=np.float32), seed=0, column="e")
    with pytest.raises(InvalidError, match="vectors have 3 numbers, but those of the reference have 24"):
        FITTED.encode(np.zeros((2, 3), dtype=np.float32))
