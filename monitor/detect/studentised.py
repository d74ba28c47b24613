"""Studentised changes: how many standard errors the mean of each choice of blocks lies from the mean of the others."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.detect.permutation import Blocks, Permutations
from monitor.profile.coding import Floats, Ints

_STATISTICS_PER_PASS: Final = 512  # functionals
_MAX_MULTIPLICATIONS: Final = 900_000  # multiplications


@dataclass(frozen=True, eq=False)
class StudentisedChanges:
    """`largest`: largest |t| of each choice and column, shape (choices, columns).

    Of the observed choice alone, shape (functionals,): `t`, and `errors`, the standard error of the change.
    """

    largest: NDArray[np.float32]
    t: NDArray[np.float32]
    errors: Floats


def studentise(
    sums: Floats, blocks: Blocks, choices: Permutations, variances: Floats, starts: Ints
) -> StudentisedChanges:
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


def _product(choices: Permutations, e: NDArray[np.float32]) -> NDArray[np.float32]:
    """`choices @ e` in pieces so small that BLAS keeps them to one thread: on busy cores it waits for the other ones
    much longer than the product takes."""
    t = np.empty((len(choices), e.shape[1]), dtype=np.float32)
    wide = max(_MAX_MULTIPLICATIONS // max(choices.size, 1), 8)
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
