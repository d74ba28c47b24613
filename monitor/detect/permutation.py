"""The permutation test: which blocks might have been the window, and how far each choice lies from the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.profile.coding import Floats, Ints

Choices = NDArray[np.float32]  # (choices, blocks), 1 where the block is taken for the window's; the observed one first

TIE: Final = 1e-4
_AT_ONCE: Final = 512  # functionals
_ONE_THREAD: Final = 900_000  # multiplications
PAIRED: Final = 6  # blocks of a window from which they are redrawn in pairs; fewer would leave too few choices
_NOTHING: Final = np.float32(1e-3)  # least mean square of t and least deviation of a score: where no column varies


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


def possible(strata: Sequence[tuple[Ints, int]]) -> int:
    """How many choices there are."""
    return math.prod(math.comb(len(at), taken) for at, taken in strata)


def draw(blocks: Blocks, redraws: int, seed: int) -> Choices:
    """The observed choice, then all others when there are at most `redraws` of them, else as many random ones."""
    strata = blocks.strata
    observed = blocks.window.astype(np.float32)
    if possible(strata) <= redraws + 1:
        every = product(*(combinations(at.tolist(), taken) for at, taken in strata))
        rows = np.array([[i for part in choice for i in part] for choice in every], dtype=np.int64)
        found = np.zeros((len(rows), len(observed)), dtype=np.float32)
        np.put_along_axis(found, rows, np.float32(1.0), axis=1)
        others = found[np.any(found != observed, axis=1)]
        return np.concatenate([observed[None, :], others])
    random = np.random.default_rng(seed)
    drawn = np.zeros((redraws, len(observed)), dtype=np.float32)
    for at, taken in strata:
        pairs = taken // 2 if taken >= PAIRED and not blocks.matched else 0
        picked = _picked(random, redraws, len(at), pairs, taken - 2 * pairs)
        np.put_along_axis(drawn, at[picked], np.float32(1.0), axis=1)
    return np.concatenate([observed[None, :], drawn])


def _picked(random: np.random.Generator, redraws: int, count: int, pairs: int, singles: int) -> Ints:
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


@dataclass(frozen=True, eq=False)
class Scored:
    """`largest`: largest |t| of each choice and column, shape (choices, columns).

    Of the observed choice alone, shape (functionals,): `t`, and `errors`, the standard error of the change.
    """

    largest: NDArray[np.float32]
    t: NDArray[np.float32]
    errors: Floats


def scores(sums: Floats, blocks: Blocks, choices: Choices, variances: Floats, starts: Ints) -> Scored:
    """How many standard errors each choice lies from the rest.

    Args:
        sums: of each functional over each block, shape (blocks, functionals).
        blocks: their rows and phases.
        choices: shape (choices, blocks).
        variances: of each functional over all rows, shape (functionals,).
        starts: where the functionals of each column begin, shape (columns,).
    """
    rows = blocks.rows
    total = float(rows.sum())
    taken = np.sum(choices * rows, axis=1)
    factor = total / (taken * (total - taken))
    half = np.maximum(choices.sum(axis=1) / np.minimum(taken, total - taken), len(rows) / total) / 4.0
    ends = np.append(starts[1:], sums.shape[1])
    largest = np.empty((len(choices), len(starts)), dtype=np.float32)
    observed, errors = np.empty(sums.shape[1], dtype=np.float32), np.empty(sums.shape[1])
    first = 0
    while first < len(starts):
        # Some columns at a time, so that what is worked on stays in the cache.
        last = max(int(np.searchsorted(ends, starts[first] + _AT_ONCE, side="right")), first + 1)
        part = slice(int(starts[first]), int(ends[last - 1]))
        t, errors[part] = _scored(sums[:, part], blocks, choices, variances[part], factor, half)
        observed[part] = t[0]
        largest[:, first:last] = np.maximum.reduceat(t, starts[first:last] - part.start, axis=1)
        first = last
    return Scored(largest, observed, errors)


def _scored(
    sums: Floats, blocks: Blocks, choices: Choices, variances: Floats, factor: Floats, half: Floats
) -> tuple[NDArray[np.float32], Floats]:
    """|t| of each choice and functional, and the standard error of the observed change."""
    rows = blocks.rows
    total, count = float(rows.sum()), len(rows)
    phases, at = np.unique(blocks.phases, return_inverse=True)
    means = np.stack([sums[at == phase].sum(axis=0) / rows[at == phase].sum() for phase in range(len(phases))])
    e = sums - rows[:, None] * means[at]
    free = max(count - len(phases), 1)
    v = count / (total * free) * np.sum(e * e, axis=0)
    # A drifted window must not hide inside its own variance: its share is taken out of v, down to the variance of
    # independent rows and to half a row per block, of all and of the choice itself: a window of smaller blocks than the
    # others must not find one rare event extreme.
    t = _product(choices, e.astype(np.float32))
    t *= np.sqrt(factor)[:, None].astype(np.float32)
    external = t * t
    np.subtract((v * free).astype(np.float32), external, out=external)
    external /= np.float32(max(free - 1, 1))
    np.maximum(external, variances.astype(np.float32), out=external)
    np.maximum(external, half[:, None].astype(np.float32), out=external)
    np.sqrt(external, out=external)
    error = external[0].astype(np.float64) * math.sqrt(factor[0])
    np.abs(t, out=t)
    t /= external
    return t, error


def _product(choices: Choices, e: NDArray[np.float32]) -> NDArray[np.float32]:
    """`choices @ e` in pieces so small that BLAS keeps them to one thread: on busy cores it waits for the other ones
    much longer than the product takes."""
    t = np.empty((len(choices), e.shape[1]), dtype=np.float32)
    wide = max(_ONE_THREAD // max(choices.size, 1), 8)
    for at in range(0, e.shape[1], wide):
        np.matmul(choices, e[:, at : at + wide], out=t[:, at : at + wide])
    return t


def volume_weights(sums: Floats, blocks: Blocks, variances: Floats, starts: Ints) -> tuple[Floats, Ints]:
    """How much a block tells when its rows hang together: n / (1 + rho (n - 1)) in place of n.

    Returns the weights, shape (blocks, columns), and the column of each functional. rho, the correlation of two rows of
    one block, is each functional's own averaged half and half with its column's mean, then averaged over the column.
    """
    rows = blocks.rows
    total, count = float(rows.sum()), len(rows)
    column = np.repeat(np.arange(len(starts)), np.diff([*starts, sums.shape[1]])).astype(np.int64)
    e = sums - rows[:, None] * (sums.sum(axis=0) / total)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = count / (count - 1) * np.sum(e * e / rows[:, None], axis=0) / variances - count
    rho = np.where(variances > 0, excess / max(total - count, 1.0), 0.0)
    mean = np.bincount(column, weights=rho) / np.bincount(column)
    return rows[:, None] / (1.0 + np.clip(mean, 0.0, 1.0) * (rows[:, None] - 1.0)), column


def p_values(by_column: NDArray[np.float32], gated: NDArray[np.float32]) -> tuple[float, float]:
    """p of the observed choice, and of the observed choice reduced to its changes above the floors.

    Args:
        by_column: largest |t| of each column, shape (choices, columns), the observed choice first.
        gated: the same of the observed choice, counting changes above their floor only, shape (1, columns).
    """
    sparse = by_column.max(axis=1)
    dense = _together(by_column)
    sparse_mean, sparse_std = float(sparse.mean()), max(float(sparse.std()), float(_NOTHING))
    dense_mean, dense_std = float(dense.mean()), max(float(dense.std()), float(_NOTHING))

    def score(largest: NDArray[np.float32], together: NDArray[np.float32]) -> Floats:
        both = np.maximum((largest - sparse_mean) / sparse_std, (together - dense_mean) / dense_std)
        return np.asarray(both, dtype=np.float64)

    every = score(sparse, dense)
    gated_score = score(gated.max(axis=1), _together(gated))[0]
    p = float(np.mean(every >= every[0] - TIE))
    p_gated = float((1 + np.count_nonzero(every[1:] >= gated_score - TIE)) / len(every))
    return p, p_gated


def _together(by_column: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.log(np.maximum(np.mean(by_column * by_column, axis=1), _NOTHING))
    return found
