"""Boosted trees as plain arrays, stored without pickle and evaluated with numpy alone.

Those of a mean are fitted by scikit-learn, those of a share by `monitor.estimate.boosting`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Flags, Floats, Ints
from core.errors import IntegrityFailureError
from monitor.estimate import boosting

# A probability is learned from outcomes of 0 and 1, for which small trees do best. A loss holds more information.
SHARE_LEAF: Final = 40  # rows
MEAN_OPTIONS: Final = {
    "max_iter": 100,
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "max_depth": 6,
    "min_samples_leaf": 20,
}
_ROWS_PER_PASS: Final = 512  # so many that what one pass reads and writes stays in the cache


@dataclass(frozen=True, eq=False)
class _Level:
    """The nodes of one depth, shape (trees * 2^depth,): node n has the children 2n (right) and 2n + 1 (left) below.

    A leaf that lies higher has only itself below, so each tree is complete and no step looks its children up.
    """

    feature: NDArray[np.int32]
    threshold: Floats
    missing_left: Flags


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees whose nodes are all in one array. `roots` is the first node of each tree; children are absolute indices."""

    start: float
    roots: Ints  # (trees,)
    feature: Ints  # (nodes,), -1 for a leaf
    threshold: Floats  # (nodes,); values up to it, inclusive, go left
    missing_left: Flags  # (nodes,)
    left: Ints  # (nodes,); a leaf points to itself
    right: Ints  # (nodes,)
    value: Floats  # (nodes,)
    depth: int

    def raw(self, x: Floats) -> Floats:
        """The start value plus, over all trees, the value of the leaf that each row reaches.

        Args:
            x: shape (rows, features); nan is a missing value.

        Returns:
            Raw predictions, shape (rows,): log-odds or means, by what was fitted.

        Source: scikit-learn's HistGradientBoosting, whose raw predictions these are.
        """
        (levels, leaves), found, missing = self._levels, np.empty(len(x)), bool(np.isnan(x).any())
        for at in range(0, len(x), _ROWS_PER_PASS):
            part = x[at : at + _ROWS_PER_PASS]
            begin = (np.arange(len(part), dtype=np.int32) * x.shape[1])[:, None]
            values = np.ravel(part)
            node = np.broadcast_to(np.arange(len(self.roots), dtype=np.int32), (len(part), len(self.roots)))
            for depth, level in enumerate(levels):
                # At first every row is at every root.
                given = values.take(begin + level.feature.take(node)) if depth else part.take(level.feature, axis=1)
                goes_left = given <= level.threshold.take(node)
                if missing:
                    goes_left |= np.isnan(given) & level.missing_left.take(node)
                node = 2 * node + goes_left
            found[at : at + len(part)] = leaves.take(node).sum(axis=1)
        return np.asarray(self.start + found, dtype=np.float64)

    @cached_property
    def _levels(self) -> tuple[tuple[_Level, ...], Floats]:
        """The levels from the roots down, and the values below the last one."""
        levels, nodes = [], self.roots
        for _ in range(self.depth):
            feature = np.maximum(self.feature[nodes], 0)  # a leaf reads the first column, without effect
            levels.append(_Level(feature.astype(np.int32), self.threshold[nodes], self.missing_left[nodes]))
            nodes = np.stack([self.right[nodes], self.left[nodes]], axis=1).ravel()
        return tuple(levels), self.value[nodes]

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "start": np.array([self.start]), "roots": self.roots, "feature": self.feature, "threshold": self.threshold,
            "missing_left": self.missing_left, "left": self.left, "right": self.right, "value": self.value,
            "depth": np.array([self.depth]),
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Trees":
        """Restore trees.

        Raises:
            IntegrityFailureError: an index points outside the nodes, so the bytes are damaged.
        """
        found = cls(
            float(arrays["start"][0]), arrays["roots"], arrays["feature"], arrays["threshold"], arrays["missing_left"],
            arrays["left"], arrays["right"], arrays["value"], int(arrays["depth"][0]),
        )  # fmt: skip
        nodes = len(found.value)
        for name in ("roots", "left", "right"):
            index = arrays[name]
            if len(index) and (index.min() < 0 or index.max() >= nodes):
                raise IntegrityFailureError(f"trees: {name} points outside the {nodes} nodes", part=name)
        return found


def fit_shares(x: Floats, true: Flags, group: Ints) -> tuple[Trees, ...]:
    """Fit trees whose `raw` is the log-odds of a flag, once without each group of rows.

    Args:
        x: shape (rows, features); nan is a missing value.
        true: shape (rows,); without any group both values must occur.
        group: of each row, counted from 0, shape (rows,).

    Returns:
        The fitted trees, in the order of the groups.

    Source: Friedman (2001).
    """
    rows = np.bincount(group)
    used = group[:, None] != np.arange(len(rows))
    grown = boosting.grow(x, true, used, _smallest_leaf(len(x) - int(rows.max()), SHARE_LEAF))
    return tuple(_complete(grown, model) for model in range(len(rows)))


def fit_mean(x: Floats, values: Floats) -> Trees:
    """Fit trees whose `raw` is the mean of a number.

    Args:
        x: shape (rows, features); nan is a missing value.
        values: shape (rows,), finite.

    Returns:
        The fitted trees.

    Source: Friedman (2001); computed by scikit-learn's HistGradientBoostingRegressor.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    return _exported(HistGradientBoostingRegressor(**_options(MEAN_OPTIONS, len(x))).fit(x, values))


def _smallest_leaf(rows: int, most: int) -> int:
    return min(most, max(5, rows // 20))


def _options(size: Mapping[str, float], rows: int) -> dict[str, Any]:
    return {
        **size,
        "min_samples_leaf": _smallest_leaf(rows, int(size["min_samples_leaf"])),
        "l2_regularization": boosting.L2_PENALTY,
        "early_stopping": False,
        "random_state": 0,
    }


def _complete(grown: boosting.GrownTrees, model: int) -> Trees:
    """The trees of one model; of the nodes below a leaf each points to itself, and none is reached."""
    leaf = grown.feature[model].ravel() < 0
    itself = np.arange(leaf.size)
    roots = np.arange(0, leaf.size, boosting.NODES)
    below = itself + itself % boosting.NODES + 1
    return Trees(
        start=float(grown.start[model]),
        roots=roots,
        feature=grown.feature[model].ravel(),
        threshold=np.where(leaf, 0.0, grown.threshold[model].ravel()),
        missing_left=grown.missing_left[model].ravel() & ~leaf,
        left=np.where(leaf, itself, below),
        right=np.where(leaf, itself, below + 1),
        value=np.where(leaf, grown.value[model].ravel(), 0.0),
        depth=boosting.DEPTH,
    )


def _exported(model: Any) -> Trees:
    nodes: Sequence[Any] = [stage[0].nodes for stage in model._predictors]
    roots = np.cumsum([0, *(len(n) for n in nodes[:-1])]).astype(np.int64)
    leaf = np.concatenate([n["is_leaf"].astype(bool) for n in nodes])
    itself = np.arange(len(leaf))
    offset = np.repeat(roots, [len(n) for n in nodes])

    def part(name: str) -> NDArray[Any]:
        return np.concatenate([n[name] for n in nodes])

    return Trees(
        start=float(np.ravel(model._baseline_prediction)[0]),
        roots=roots,
        feature=np.where(leaf, -1, part("feature_idx")).astype(np.int64),
        threshold=np.where(leaf, 0.0, part("num_threshold")).astype(np.float64),
        missing_left=part("missing_go_to_left").astype(bool),
        left=np.where(leaf, itself, part("left") + offset).astype(np.int64),
        right=np.where(leaf, itself, part("right") + offset).astype(np.int64),
        value=np.where(leaf, part("value"), 0.0).astype(np.float64),
        depth=max(int(n["depth"].max()) for n in nodes),
    )
