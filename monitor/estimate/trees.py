"""Boosted trees as plain arrays: fitted by scikit-learn, stored without pickle, read by thirty lines of numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from core.errors import IntegrityFailureError

# A chance is learned from yes and no alone, which small trees follow best; a loss is a number and tells more.
SHARE: Final = {"max_iter": 80, "learning_rate": 0.05, "max_leaf_nodes": 8, "max_depth": 3, "min_samples_leaf": 40}
MEAN: Final = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31, "max_depth": 6, "min_samples_leaf": 20}
PENALTY: Final = 5.0


@dataclass(frozen=True, eq=False)
class Trees:
    """`trees` trees with all their nodes in one array; `roots` says where each begins, children are absolute."""

    start: float
    roots: Ints  # (trees,)
    feature: Ints  # (nodes,), -1 for a leaf
    threshold: Floats  # (nodes,): up to and including goes left
    missing_left: NDArray[np.bool_]  # (nodes,)
    left: Ints  # (nodes,); a leaf points to itself
    right: Ints  # (nodes,)
    value: Floats  # (nodes,)
    depth: int

    def raw(self, x: Floats) -> Floats:
        """Start plus the sum over trees of the leaf each row falls into.

        Args:
            x: shape (rows, features); nan is a missing value.
        """
        rows = np.arange(len(x))[:, None]
        at = np.broadcast_to(self.roots, (len(x), len(self.roots)))
        for _ in range(self.depth):
            given = x[rows, self.feature[at]]  # of a leaf the last column, to no effect
            goes_left = np.where(np.isnan(given), self.missing_left[at], given <= self.threshold[at])
            at = np.where(goes_left, self.left[at], self.right[at])
        return np.asarray(self.start + self.value[at].sum(axis=1), dtype=np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "start": np.array([self.start]), "roots": self.roots, "feature": self.feature, "threshold": self.threshold,
            "missing_left": self.missing_left, "left": self.left, "right": self.right, "value": self.value,
            "depth": np.array([self.depth]),
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Trees":
        """Raises IntegrityFailureError where a child lies outside the nodes: such bytes were not written by us."""
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


def fit_share(x: Floats, true: NDArray[np.bool_]) -> Trees:
    """Trees whose `raw` is the log-odds of `true`; both values have to occur."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return _exported(HistGradientBoostingClassifier(**_options(SHARE, len(x))).fit(x, true))


def fit_mean(x: Floats, values: Floats) -> Trees:
    """Trees whose `raw` is the mean of `values`."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return _exported(HistGradientBoostingRegressor(**_options(MEAN, len(x))).fit(x, values))


def _options(size: Mapping[str, float], rows: int) -> dict[str, Any]:
    leaf = min(int(size["min_samples_leaf"]), max(5, rows // 20))
    return {**size, "min_samples_leaf": leaf, "l2_regularization": PENALTY, "early_stopping": False, "random_state": 0}


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
