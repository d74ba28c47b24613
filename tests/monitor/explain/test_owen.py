"""Owen values against shap's partition explainer on the same tree, with the same budget."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from core.arrays import Floats
from monitor.explain.owen import Mask, owen_values


def model(parts: int) -> Any:
    """Three outputs of which pairs of parts matter together."""
    draw = np.random.default_rng(parts)
    alone, pairs = draw.normal(size=(parts, 3)), draw.normal(size=(parts, parts, 3)) / 3

    def outputs(masks: Any) -> Floats:
        there = np.asarray(masks, dtype=float)
        return np.asarray(np.tanh(there @ alone + np.einsum("ki,kj,ijo->ko", there, there, pairs)))

    return outputs


def tree_of(parts: int) -> Floats:
    """The balanced tree in the form that shap reads: children, height, size."""
    rows: list[list[float]] = []

    def build(first: int, last: int) -> int:
        if last - first == 1:
            return first
        middle = first + (last - first + 1) // 2
        left, right = build(first, middle), build(middle, last)
        rows.append([left, right, (last - first) / parts, last - first])
        return parts + len(rows) - 1

    build(0, parts)
    return np.array(rows)


@pytest.mark.parametrize("parts", [2, 5, 13, 60])
def test_values_are_those_of_shap_after_as_many_evaluations(parts: int) -> None:
    outputs, asked = model(parts), 0

    def ask(pairs: Sequence[tuple[int, Mask]]) -> Floats:
        nonlocal asked
        asked += len(pairs)
        return np.asarray(outputs([mask for _, mask in pairs]))

    ours = owen_values([parts], ask, budget=500, at_once=10)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        class Masker(shap.maskers.Masker):  # type: ignore[misc]  # no types
            def __init__(self) -> None:
                self.clustering, self.shape, self.immutable_outputs = tree_of(parts), (1, parts), True

            def __call__(self, mask: Any, row: Any) -> Any:
                return (np.asarray(mask, dtype=float)[None, :],)

        explainer = shap.explainers.Partition(outputs, Masker())
        theirs = explainer(np.ones((1, parts)), max_evals=500, batch_size=10, silent=True)
    assert ours.values == pytest.approx(theirs.values[0], abs=1e-9)
    assert ours.base == pytest.approx(np.ravel(theirs.base_values), abs=1e-12)
    assert asked == ours.evals <= 500
    assert ours.base + ours.values.sum(axis=0) == pytest.approx(ours.output, abs=1e-9)


def test_many_inputs_together_have_the_values_of_each_alone() -> None:
    sizes = [1, 7, 3, 30]
    models = [model(n) for n in sizes]

    def ask(pairs: Sequence[tuple[int, Mask]]) -> Floats:
        return np.concatenate([models[i]([mask]) for i, mask in pairs])

    together = owen_values(sizes, ask, budget=200)
    for i, n in enumerate(sizes):
        alone = owen_values([n], lambda pairs, i=i: ask([(i, m) for _, m in pairs]), budget=200)[0]  # type: ignore[misc]
        assert together[i].values == pytest.approx(alone.values, abs=1e-12)
        assert together[i].evals == alone.evals
