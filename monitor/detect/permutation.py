"""The permutation test: which blocks might have been the window, and how far each choice lies from the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.profile.coding import Floats, Ints

Permutations = NDArray[
    np.float32
]  # (choices, blocks), 1 where the block is taken for the window's; the observed one first

TIE_TOLERANCE: Final = 1e-4
MIN_BLOCKS_FOR_PAIRS: Final = (
    6  # blocks of a window from which they are redrawn in pairs; fewer would leave too few choices
)
_LEAST_DEVIATION: Final = np.float32(
    1e-3
)  # least mean square of t and least deviation of a score: where no column varies


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks as the test sees them.

    `rows`: shape (blocks,), all > 0. `window`: which of them are the window's. `phases`: blocks of one phase share a
    mean, and with `matched` a block is only exchanged with blocks of its own phase.
    """

    rows: Floats
    window: NDArray[np.bool_]
    phases: Ints
    matched: bool = False

    @property
    def strata(self) -> list[tuple[Ints, int]]:
        """Blocks that may be exchanged with one another, and how many of them are the window's."""
        groups = self.phases if self.matched else np.zeros(len(self.rows), dtype=np.int64)
        found = [np.flatnonzero(groups == phase) for phase in np.unique(groups)]
        return [(at, int(self.window[at].sum())) for at in found]


def count_permutations(strata: Sequence[tuple[Ints, int]]) -> int:
    """How many choices there are."""
    return math.prod(math.comb(len(at), taken) for at, taken in strata)


def draw_permutations(blocks: Blocks, redraws: int, seed: int) -> Permutations:
    """The observed choice, then all others when there are at most `redraws` of them, else as many random ones."""
    strata = blocks.strata
    observed = blocks.window.astype(np.float32)
    if count_permutations(strata) <= redraws + 1:
        every = product(*(combinations(at.tolist(), taken) for at, taken in strata))
        rows = np.array([[i for part in choice for i in part] for choice in every], dtype=np.int64)
        found = np.zeros((len(rows), len(observed)), dtype=np.float32)
        np.put_along_axis(found, rows, np.float32(1.0), axis=1)
        others = found[np.any(found != observed, axis=1)]
        return np.concatenate([observed[None, :], others])
    random = np.random.default_rng(seed)
    drawn = np.zeros((redraws, len(observed)), dtype=np.float32)
    for at, taken in strata:
        pairs = taken // 2 if taken >= MIN_BLOCKS_FOR_PAIRS and not blocks.matched else 0
        picked = _pick_places(random, redraws, len(at), pairs, taken - 2 * pairs)
        np.put_along_axis(drawn, at[picked], np.float32(1.0), axis=1)
    return np.concatenate([observed[None, :], drawn])


def _pick_places(random: np.random.Generator, redraws: int, count: int, pairs: int, singles: int) -> Ints:
    """Places of `pairs` neighbours and of single blocks among `count`, none twice: shape (redraws, 2 pairs + singles).

    A window of several blocks is one run of neighbours. What neighbours share, a session across midnight, is in its
    sum, and would be in no sum of scattered blocks; half of it is in a sum of pairs. Longer runs would hold more and
    see less: too many of them hold the very days on which a change has begun.
    """
    taken, places = pairs + singles, count - pairs
    if taken == 1:
        chosen = random.integers(0, places, (redraws, 1))
    else:
        chosen = np.argpartition(random.random((redraws, places)), max(taken - 1, 0), axis=1)[:, :taken]
    first, single = chosen[:, :pairs], chosen[:, pairs:]
    # A place stands one further to the right for each pair on its left.
    moved = np.concatenate([first, single], axis=1)
    moved = moved + np.sum(first[:, None, :] < moved[:, :, None], axis=2)
    return np.concatenate([moved[:, :pairs], moved[:, :pairs] + 1, moved[:, pairs:]], axis=1).astype(np.int64)


def p_values(by_column: NDArray[np.float32], gated: NDArray[np.float32]) -> tuple[float, float]:
    """p of the observed choice, and of the observed choice reduced to its changes above the floors.

    Args:
        by_column: largest |t| of each column, shape (choices, columns), the observed choice first.
        gated: the same of the observed choice, counting changes above their floor only, shape (1, columns).
    """
    sparse = by_column.max(axis=1)
    dense = _mean_square(by_column)
    sparse_mean, sparse_std = float(sparse.mean()), max(float(sparse.std()), float(_LEAST_DEVIATION))
    dense_mean, dense_std = float(dense.mean()), max(float(dense.std()), float(_LEAST_DEVIATION))

    def score(largest: NDArray[np.float32], together: NDArray[np.float32]) -> Floats:
        both = np.maximum((largest - sparse_mean) / sparse_std, (together - dense_mean) / dense_std)
        return np.asarray(both, dtype=np.float64)

    every = score(sparse, dense)
    gated_score = score(gated.max(axis=1), _mean_square(gated))[0]
    p = float(np.mean(every >= every[0] - TIE_TOLERANCE))
    p_gated = float((1 + np.count_nonzero(every[1:] >= gated_score - TIE_TOLERANCE)) / len(every))
    return p, p_gated


def _mean_square(by_column: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.log(np.maximum(np.mean(by_column * by_column, axis=1), _LEAST_DEVIATION))
    return found
