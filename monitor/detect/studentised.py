"""Studentised changes: how many standard errors the mean of each choice of blocks lies from the mean of the others."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from monitor.detect.permutation import Blocks, Permutations

_STATISTICS_PER_PASS: Final = 512  # columns are worked on in passes of about this size, which fit in the cache
_MAX_MULTIPLICATIONS: Final = 900_000  # of one matrix product, which BLAS then runs on one thread


@dataclass(frozen=True, eq=False)
class StudentisedChanges:
    """`largest`: the largest |t| of each choice and column, shape (choices, columns).

    Of the observed choice only, shape (statistics,): `t`, and `errors`, the standard error of the change.
    """

    largest: NDArray[np.float32]
    t: NDArray[np.float32]
    errors: Floats


def studentise(
    sums: Floats, blocks: Blocks, choices: Permutations, variances: Floats, starts: Ints
) -> StudentisedChanges:
    """How many standard errors the mean of each choice lies from the mean of the other blocks.

    Args:
        sums: of each statistic over each block, shape (blocks, statistics).
        blocks: their rows and phases.
        choices: 1 where a block is taken as the window's, shape (choices, blocks); the observed choice first.
        variances: of each statistic over all rows, shape (statistics,).
        starts: index of the first statistic of each column, shape (columns,).

    Returns:
        |t| of every choice, reduced to the largest of each column; and t and standard errors of the observed choice.

    Source: externally studentised residuals, Cook and Weisberg (1982).
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
        last = max(int(np.searchsorted(ends, starts[first] + _STATISTICS_PER_PASS, side="right")), first + 1)
        part = slice(int(starts[first]), int(ends[last - 1]))
        t, errors[part] = _studentise_columns(sums[:, part], blocks, choices, variances[part], factor, half)
        observed[part] = t[0]
        largest[:, first:last] = np.maximum.reduceat(t, starts[first:last] - part.start, axis=1)
        first = last
    return StudentisedChanges(largest, observed, errors)


def _studentise_columns(
    sums: Floats, blocks: Blocks, choices: Permutations, variances: Floats, factor: Floats, half: Floats
) -> tuple[NDArray[np.float32], Floats]:
    """|t| of each choice and statistic, and the standard error of the observed change."""
    rows = blocks.rows
    total, count = float(rows.sum()), len(rows)
    phases, at = np.unique(blocks.phases, return_inverse=True)
    means = np.stack([sums[at == phase].sum(axis=0) / rows[at == phase].sum() for phase in range(len(phases))])
    e = sums - rows[:, None] * means[at]
    free = max(count - len(phases), 1)
    v = count / (total * free) * np.sum(e * e, axis=0)
    # A drifted window must not hide in the variance that it causes, so its own share is subtracted from v. The rest is
    # bounded from below by the variance of independent rows, and by half a row per block, of all blocks and of the
    # chosen ones: in a window of smaller blocks, one rare event must not become extreme.
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


def _product(choices: Permutations, e: NDArray[np.float32]) -> NDArray[np.float32]:
    """`choices @ e` in pieces so small that BLAS runs each on one thread.

    On busy cores, BLAS would wait for its other threads much longer than the product takes.
    """
    t = np.empty((len(choices), e.shape[1]), dtype=np.float32)
    wide = max(_MAX_MULTIPLICATIONS // max(choices.size, 1), 8)
    for at in range(0, e.shape[1], wide):
        np.matmul(choices, e[:, at : at + wide], out=t[:, at : at + wide])
    return t


def volume_weights(sums: Floats, blocks: Blocks, variances: Floats, starts: Ints) -> tuple[Floats, Ints]:
    """The effective number of rows of a block whose rows are correlated: n / (1 + rho (n - 1)).

    rho is the correlation of two rows of one block, averaged over the statistics of a column and clipped to 0..1.

    Args:
        sums: of each statistic over each block, shape (blocks, statistics).
        blocks: their rows.
        variances: of each statistic over all rows, shape (statistics,).
        starts: index of the first statistic of each column, shape (columns,).

    Returns:
        The weights, shape (blocks, columns), and the column of each statistic, shape (statistics,).

    Source: the design effect of cluster samples, Kish (1965).
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
