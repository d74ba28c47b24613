"""Boosted trees for the odds of a flag, several models of the same rows, all grown side by side in numpy.

scikit-learn grows the same trees. To import it costs more than to grow ten models of a few thousand rows, and it sorts
and counts the rows of each model anew; here they are coded once, and the sums of all models are one product with a
sparse matrix of ones.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Flags, Floats, Ints

_Codes = NDArray[np.int32]  # of bins or nodes
_Sums = NDArray[np.float32]
ITERATIONS: Final = 40
LEARNING_RATE: Final = 0.1
DEPTH: Final = 3
L2_PENALTY: Final = 5.0
MAX_BINS: Final = 64
_MIN_HESSIAN: Final = 1e-3  # of each side of a split
NODES: Final = 2 ** (DEPTH + 1) - 1  # of a complete tree, numbered by level: node n has the children 2n + 1 and 2n + 2


@dataclass(frozen=True, eq=False)
class GrownTrees:
    """Complete trees: of each model, iteration and node, shape (models, iterations, nodes).

    `feature` is -1 at a leaf, below which the nodes mean nothing.
    """

    start: Floats  # (models,), log-odds
    feature: Ints
    threshold: Floats  # values up to it, inclusive, go left
    missing_left: Flags
    value: Floats  # of a leaf


@dataclass(frozen=True, eq=False)
class _Bins:
    """The bins of all features in one row: those of feature 0 in order, its missing values, those of feature 1, ..."""

    code: _Codes  # (rows, features), the bin of each value
    first: Ints  # (bins,), the first bin of the same feature
    missing: Ints  # (bins,), the bin of the feature's missing values, or -1 where it has none
    feature: _Codes  # (bins,)
    threshold: Floats  # (bins,), the values of a bin are up to it
    ones: Any  # sparse (bins, rows), 1 where the row has a value in the bin; single precision, as the rows' gradients


@dataclass(frozen=True, eq=False)
class _Splits:
    """The best split of each node, shape (models, nodes); `left` and `right` have the shape (3, models, nodes)."""

    bin: Ints  # up to this one to the left
    missing_left: Flags
    gain: Floats  # not above 0 where no split is better than none
    left: Floats  # sums of its rows: gradient, hessian, count
    right: Floats


def grow(x: Floats, true: Flags, used: Flags, min_rows: int) -> GrownTrees:
    """Grow trees for the log-odds of a flag, one model of each choice of rows.

    Args:
        x: shape (rows, features); nan is a missing value.
        true: shape (rows,); both values must occur in each model.
        used: whether a model learns from a row, shape (rows, models).
        min_rows: of a leaf.

    Returns:
        The trees of each model: 40 of at most 8 leaves.

    Source: Friedman (2001), with the second-order leaves of Chen and Guestrin (2016); as in scikit-learn's
    HistGradientBoostingClassifier, except that the bins are those of all rows.
    """
    bins = _binned(x)
    kept, models = used.astype(np.float64), used.shape[1]
    share = (true @ kept) / kept.sum(axis=0)
    start = np.log(share / (1.0 - share))
    raw, signed = np.repeat(start[None, :], len(x), axis=0), true.astype(np.float64)[:, None]
    shape = (models, ITERATIONS, NODES)
    grown = GrownTrees(start, np.full(shape, -1), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape))
    for iteration in range(ITERATIONS):
        chance = 1.0 / (1.0 + np.exp(-raw))
        sums = np.stack([(chance - signed) * kept, chance * (1.0 - chance) * kept, kept], axis=1, dtype=np.float32)
        leaf = _grow(grown, iteration, bins, sums, min_rows)
        raw += grown.value[np.arange(models), iteration, leaf]
    return grown


def _binned(x: Floats) -> _Bins:
    """At most 64 bins of each feature, about equally full, and one for its missing values."""
    from scipy.sparse import csr_matrix

    code = np.empty(x.shape, np.int32)
    first, missing, feature, threshold = list[int](), list[int](), list[int](), list[float]()
    for name, values in enumerate(x.T):
        begin, absent = len(feature), np.isnan(values)
        edges = _edges(np.sort(values[~absent]))
        last = begin + len(edges)
        code[:, name] = np.where(absent, last + 1, begin + np.searchsorted(edges, values))
        bins = len(edges) + 1 + int(absent.any())
        first += [begin] * bins
        missing += [last + 1 if absent.any() else -1] * bins
        feature += [name] * bins
        threshold += [*edges.tolist(), np.inf, np.inf][:bins]
    begins = np.arange(0, code.size + 1, x.shape[1])
    ones = csr_matrix((np.ones(code.size, np.float32), code.ravel(), begins), shape=(len(x), len(feature))).T
    return _Bins(code, np.array(first), np.array(missing), np.array(feature, np.int32), np.array(threshold), ones)


def _edges(values: Floats) -> Floats:
    """The ends of all bins but the last, of sorted values."""
    different = values[np.flatnonzero(np.diff(values, prepend=-np.inf))]
    if len(different) <= MAX_BINS:
        return np.asarray(different[:-1] + np.diff(different) / 2.0, dtype=np.float64)
    shares = np.linspace(0.0, 1.0, MAX_BINS + 1)[1:-1]
    return np.unique(np.quantile(values, shares, method="averaged_inverted_cdf"))


def _grow(grown: GrownTrees, iteration: int, bins: _Bins, sums: _Sums, min_rows: int) -> _Codes:
    """Grow one tree of each model, level by level.

    Args:
        sums: gradient, hessian and 1 of each row in each model, 0 where it is left out, shape (rows, 3, models), in
            single precision as scikit-learn's are.

    Returns:
        The leaf of each row, shape (rows, models).
    """
    rows, _, models = sums.shape
    at = np.zeros((rows, models), np.int32)  # node within its level
    counted = (bins.ones @ sums.reshape(rows, -1)).reshape(-1, 3, models, 1).astype(np.float64)
    total, real = sums.sum(axis=0, dtype=np.float64)[:, :, None], np.ones((models, 1), bool)
    for depth in range(DEPTH + 1):
        nodes = 2**depth
        level = (slice(None), iteration, slice(nodes - 1, 2 * nodes - 1))
        value = -LEARNING_RATE * total[0] / (total[1] + L2_PENALTY)
        if depth:  # what lies below a leaf is that leaf
            above = grown.value[:, iteration, nodes // 2 - 1 : nodes - 1]
            value = np.where(real, value, np.repeat(above, 2, axis=1))
        grown.value[level] = value
        if depth == DEPTH:
            break
        found = _best_splits(bins, counted, total, min_rows)
        split = real & (found.gain > 0.0)
        grown.feature[level] = np.where(split, bins.feature[found.bin], -1)
        grown.threshold[level] = bins.threshold[found.bin]
        grown.missing_left[level] = found.missing_left
        right = _goes_right(bins, found, split, at)
        if depth < DEPTH - 1:
            counted = _counted_below(bins, sums, counted, at, right)
        total = np.stack([found.left, found.right], axis=3).reshape(3, models, 2 * nodes)
        at, real = 2 * at + right, np.repeat(split, 2, axis=1)
    return at + 2**DEPTH - 1


def _best_splits(bins: _Bins, counted: Floats, total: Floats, min_rows: int) -> _Splits:
    """The split of each node that lowers the loss most.

    Args:
        counted: sums of the rows in each bin, shape (bins, 3, models, nodes).
        total: sums of all rows, shape (3, models, nodes).
    """
    up_to = np.cumsum(counted, axis=0)
    before = np.where((bins.first > 0)[:, None, None, None], up_to[bins.first - 1], 0.0)
    ways = [up_to - before]  # missing values go right
    absent = np.where((bins.missing >= 0)[:, None, None, None], counted[bins.missing], 0.0)
    if (bins.missing >= 0).any():
        ways.append(ways[0] + absent)
    gains = [_gains(left, total - left, total, min_rows) for left in ways]
    for gain in gains:  # the missing values of a feature are no end of a bin
        gain[bins.missing[bins.missing >= 0]] = -1.0
    best = [gain.argmax(axis=0) for gain in gains]
    highest = [np.take_along_axis(gain, b[None], axis=0)[0] for gain, b in zip(gains, best, strict=True)]
    chosen = np.argmax(np.stack(highest), axis=0)
    bin_ = np.choose(chosen, best)
    left = np.choose(chosen, [_at(way, bin_) for way in ways])
    right = total - left
    some_missing = _at(absent, bin_)[2] > 0.0
    return _Splits(
        bin_, np.where(some_missing, chosen == 1, left[2] > right[2]), np.choose(chosen, highest), left, right
    )


def _at(values: Floats, bin_: Ints) -> Floats:
    """The values, shape (bins, 3, models, nodes), at one bin of each node, shape (3, models, nodes)."""
    return np.asarray(np.take_along_axis(values, bin_[None, None], axis=0)[0], dtype=np.float64)


def _gains(left: Floats, right: Floats, total: Floats, min_rows: int) -> Floats:
    """By how much a split at each bin lowers the loss, -1 where a side is too small, shape (bins, models, nodes)."""

    def lowered(sums: Floats, axis: int) -> Floats:
        gradient, hessian = sums.take(0, axis), sums.take(1, axis)
        return np.asarray(gradient**2 / (hessian + L2_PENALTY), dtype=np.float64)

    gain = lowered(left, 1) + lowered(right, 1) - lowered(total, 0)
    for side in (left, right):
        gain[(side[:, 2] < min_rows) | (side[:, 1] < _MIN_HESSIAN)] = -1.0
    return gain


def _goes_right(bins: _Bins, found: _Splits, split: Flags, at: _Codes) -> Flags:
    """Whether each row goes right from its node, shape (rows, models); below a leaf every row goes left."""
    node = at + np.arange(at.shape[1], dtype=np.int32) * split.shape[1]  # in the order of all models' nodes
    begin = np.arange(0, bins.code.size, bins.code.shape[1], dtype=np.int32)[:, None]
    code = bins.code.take(begin + bins.feature[found.bin].ravel().take(node))
    # No code lies above the last bin, and none of a missing value.
    right = code > np.where(split, found.bin, len(bins.feature)).ravel().take(node)
    if (bins.missing >= 0).any():
        absent = np.where(split & found.missing_left, bins.missing[found.bin], -1)
        right &= code != absent.ravel().take(node)
    return np.asarray(right, dtype=np.bool_)


def _counted_below(bins: _Bins, sums: _Sums, counted: Floats, at: _Codes, right: Flags) -> Floats:
    """The sums of the rows in each bin of the nodes below, shape (bins, 3, models, 2 nodes)."""
    nodes = counted.shape[3]
    is_left = (at[:, :, None] == np.arange(nodes)) & ~right[:, :, None]
    left = bins.ones @ (sums[..., None] * is_left[:, None]).reshape(len(sums), -1)
    left = left.reshape(counted.shape).astype(np.float64)
    return np.stack([left, counted - left], axis=4).reshape(*counted.shape[:3], 2 * nodes)
