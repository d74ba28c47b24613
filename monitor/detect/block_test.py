"""The permutation test over blocks: how the observed window ranks among all choices of as many blocks."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.arrays import Flags, Floats
from monitor.detect.arrangement import Arrangement
from monitor.detect.permutation import Permutations, p_values
from monitor.detect.permutation_statistics import BlockSums
from monitor.detect.studentised import studentise, volume_weights


@dataclass(frozen=True, eq=False)
class BlockTestResult:
    """The outcome of the test; arrays have shape (statistics,) unless noted.

    `p`: with all changes. `p_gated`: with only those that reach their minimum effect. `means`: over the rows of the
    reference and of the window. `variances`: over all rows. `t`: the absolute change in standard errors. `errors`:
    standard error of the change. `min_effects`: the smallest change that may alarm. `above`: whether the change reaches
    it. `largest`: the largest |t| of all columns in each permutation, shape (permutations,).
    """

    p: float
    p_gated: float
    means: tuple[Floats, Floats]
    variances: Floats
    t: NDArray[np.float32]
    errors: Floats
    min_effects: Floats
    above: Flags
    largest: NDArray[np.float32]


def run_block_test(
    sums: BlockSums, arranged: Arrangement, choices: Permutations, min_effects: Floats
) -> BlockTestResult:
    """Rank the observed choice of window blocks among all choices.

    Args:
        sums: of the statistics over the profile blocks.
        arranged: the blocks of the test.
        choices: of window blocks, shape (choices, blocks), the observed one first.
        min_effects: smallest absolute change of each mean that may alarm, shape (statistics,).
    """
    blocks, starts = arranged.blocks, sums.starts
    y = arranged.sums(sums.values)
    variances = _variances(sums, arranged, y)
    observed = studentise(y, blocks, choices, variances, starts)
    inside = blocks.window
    means = (
        y[~inside].sum(axis=0) / blocks.rows[~inside].sum(),
        y[inside].sum(axis=0) / blocks.rows[inside].sum(),
    )
    above = np.abs(means[1] - means[0]) >= min_effects
    gated = np.maximum.reduceat(np.where(above, observed.t, np.float32(0.0))[None, :], starts, axis=1)
    p, p_gated = p_values(observed.largest, gated)
    if above[int(np.argmax(observed.t))]:
        # The largest change reaches its minimum. The small changes of other columns then count too: together with it
        # they are as unlikely as p says.
        p_gated = p
    largest = observed.largest.max(axis=1)
    return BlockTestResult(p, p_gated, means, variances, observed.t, observed.errors, min_effects, above, largest)


def p_at_changed_volume(sums: BlockSums, arranged: Arrangement, choices: Permutations, variances: Floats) -> float:
    """p of a test that weights blocks by their effective number of rows, which allows for a changed volume.

    Args:
        sums: of the statistics over the profile blocks.
        arranged: the blocks of the test.
        choices: of window blocks, shape (choices, blocks), the observed one first.
        variances: of each statistic over all rows, shape (statistics,).
    """
    blocks = arranged.blocks
    y, starts = arranged.sums(sums.values), sums.starts
    weights, column = volume_weights(y, blocks, variances, starts)
    by_column = np.empty((len(choices), len(starts)), dtype=np.float32)
    for c in range(len(starts)):
        mine = column == c
        g = weights[:, c]
        weighted = y[:, mine] * (g / blocks.rows)[:, None]
        one = studentise(weighted, replace(blocks, rows=g), choices, variances[mine], np.zeros(1, dtype=np.int64))
        by_column[:, c] = one.largest[:, 0]
    return p_values(by_column, by_column[:1])[0]


def _variances(sums: BlockSums, arranged: Arrangement, y: Floats) -> Floats:
    """Variance of each statistic over all rows; `y`: its sums over the blocks of the test."""
    total = float(arranged.blocks.rows.sum())
    mean = y.sum(axis=0) / total
    squares = mean.copy()
    squares[sums.ranked] = sums.squares[arranged.block_of >= 0].sum(axis=0) / total
    variances: Floats = np.maximum(squares - mean**2, 0.0)
    return variances
