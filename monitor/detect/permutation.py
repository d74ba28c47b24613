"""The permutation test: which choices of blocks might have been the window, and how the observed one ranks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints

# Shape (choices, blocks): 1 where the block is taken as the window's; the observed choice first.
Permutations = NDArray[np.float32]

TIE_TOLERANCE: Final = 1e-4  # scores that differ by less count as equal
# Blocks in a window from which they are permuted in pairs; with fewer, too few choices would remain.
MIN_BLOCKS_FOR_PAIRS: Final = 6
MAX_CELLS_AT_ONCE: Final = 4_000_000  # random numbers drawn at one time
# Lower bound of a mean square of t and of the deviation of a score, reached where no column varies.
_LEAST_DEVIATION: Final = np.float32(1e-3)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of the test; every array has shape (blocks,).

    `rows`: number of rows, all > 0. `window`: which blocks are the window's. `phases`: blocks of one phase share a
    mean, and with `within_phases` a block is exchanged with blocks of its own phase only.
    """

    rows: Floats
    window: NDArray[np.bool_]
    phases: Ints
    within_phases: bool = False

    @property
    def strata(self) -> list[tuple[Ints, int]]:
        """Groups of blocks that may be exchanged with one another: their indices, and how many are the window's."""
        groups = self.phases if self.within_phases else np.zeros(len(self.rows), dtype=np.int64)
        found = [np.flatnonzero(groups == phase) for phase in np.unique(groups)]
        return [(at, int(self.window[at].sum())) for at in found]


def count_permutations(strata: Sequence[tuple[Ints, int]]) -> int:
    """How many choices of window blocks exist.

    Args:
        strata: indices of the blocks that may be exchanged with one another, and how many of them the window takes.
    """
    return math.prod(math.comb(len(at), taken) for at, taken in strata)


def log_permutations(strata: Sequence[tuple[int, int]]) -> float:
    """The natural logarithm of the number of choices of window blocks, which may have thousands of digits.

    Args:
        strata: how many blocks may be exchanged with one another, and how many of them the window takes.
    """
    return sum(_log_choices(size, taken) for size, taken in strata)


def _log_choices(size: int, taken: int) -> float:
    if min(taken, size - taken) <= 64:
        return math.log(math.comb(size, taken))  # exact, so that 1 / 200 is reached by 200 choices
    return math.lgamma(size + 1) - math.lgamma(taken + 1) - math.lgamma(size - taken + 1)


def draw_permutations(blocks: Blocks, permutations: int, seed: int) -> Permutations:
    """The observed choice of window blocks, then the others.

    Args:
        blocks: of the test.
        permutations: all other choices are returned where no more than this exist, else this number of random ones.
        seed: of the random choices.

    Returns:
        One row per choice, shape (choices, blocks): 1 where the block is taken as the window's.
    """
    strata = blocks.strata
    observed = blocks.window.astype(np.float32)
    if count_permutations(strata) <= permutations + 1:
        every = product(*(combinations(at.tolist(), taken) for at, taken in strata))
        rows = np.array([[i for part in choice for i in part] for choice in every], dtype=np.int64)
        found = np.zeros((len(rows), len(observed)), dtype=np.float32)
        np.put_along_axis(found, rows, np.float32(1.0), axis=1)
        others = found[np.any(found != observed, axis=1)]
        return np.concatenate([observed[None, :], others])
    random = np.random.default_rng(seed)
    drawn = np.zeros((permutations + 1, len(observed)), dtype=np.float32)
    drawn[0] = observed
    for at, taken in strata:
        pairs = taken // 2 if taken >= MIN_BLOCKS_FOR_PAIRS and not blocks.within_phases else 0
        step = max(1, MAX_CELLS_AT_ONCE // len(at))
        for begin in range(1, permutations + 1, step):
            some = drawn[begin : begin + step]
            picked = _pick_places(random, len(some), len(at), pairs, taken - 2 * pairs)
            np.put_along_axis(some, at[picked], np.float32(1.0), axis=1)
    return drawn


def _pick_places(random: np.random.Generator, permutations: int, count: int, pairs: int, singles: int) -> Ints:
    """Pick `pairs` pairs of neighbours and `singles` single blocks among `count`, none twice.

    The blocks of a window are neighbours. Their sum holds what neighbours share, such as a session across midnight. A
    sum of scattered blocks would hold none of it; a sum of pairs holds half. Longer runs would hold more of it, but the
    test would lose power: too many runs would include the days on which a change began.

    Returns:
        Indices of blocks, shape (permutations, 2 * pairs + singles).
    """
    taken, places = pairs + singles, count - pairs
    if taken == 1:
        chosen = random.integers(0, places, (permutations, 1))
    else:
        chosen = np.argpartition(random.random((permutations, places)), max(taken - 1, 0), axis=1)[:, :taken]
    first, single = chosen[:, :pairs], chosen[:, pairs:]
    # Each pair takes two places, so a place moves one to the right for each pair on its left.
    moved = np.concatenate([first, single], axis=1)
    apart = np.arange(permutations, dtype=np.int64)[:, None] * (places + 1)  # keeps the rows in one ascending order
    left = np.searchsorted((np.sort(first, axis=1) + apart).ravel(), (moved + apart).ravel()).reshape(moved.shape)
    moved = moved + left - np.arange(permutations)[:, None] * pairs
    return np.concatenate([moved[:, :pairs], moved[:, :pairs] + 1, moved[:, pairs:]], axis=1).astype(np.int64)


def p_values(by_column: NDArray[np.float32], gated: NDArray[np.float32]) -> tuple[float, float]:
    """p of the observed choice, with all its changes and with only those that reach their minimum effect.

    Each choice is scored by the larger of two standardised statistics: its largest |t|, which finds a large change in
    one column, and its mean square of t over the columns, which finds small changes in many.

    Args:
        by_column: largest |t| of each column, shape (choices, columns), the observed choice first.
        gated: the same for the observed choice, over changes that reach their minimum only, shape (1, columns).

    Returns:
        p with all changes, and p with only those that reach their minimum; each at least 1 / choices.

    Source: the maximum statistic of Westfall and Young (1993).
    """
    sparse = by_column.max(axis=1)
    dense = _mean_square(by_column)
    sparse_mean, sparse_std = float(sparse.mean()), max(float(sparse.std()), float(_LEAST_DEVIATION))
    dense_mean, dense_std = float(dense.mean()), max(float(dense.std()), float(_LEAST_DEVIATION))

    def score(largest: NDArray[np.float32], mean_square: NDArray[np.float32]) -> Floats:
        both = np.maximum((largest - sparse_mean) / sparse_std, (mean_square - dense_mean) / dense_std)
        return np.asarray(both, dtype=np.float64)

    every = score(sparse, dense)
    gated_score = score(gated.max(axis=1), _mean_square(gated))[0]
    p = float(np.mean(every >= every[0] - TIE_TOLERANCE))
    p_gated = float((1 + np.count_nonzero(every[1:] >= gated_score - TIE_TOLERANCE)) / len(every))
    return p, p_gated


def _mean_square(by_column: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.log(np.maximum(np.mean(by_column * by_column, axis=1), _LEAST_DEVIATION))
    return found
