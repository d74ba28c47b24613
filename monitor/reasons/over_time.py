"""Attributions over time: how much each feature counts in a window, and whether that has changed since the reference.

Two rules. nDCG of the ranking of features, below 0.9, is the rule that others use; it has no false-alarm rate, and
informs. The calibrated rule is a permutation test over blocks of rows; only it may alarm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from core.errors import InvalidError

NDCG_LIMIT: Final = 0.9  # below it, SageMaker Clarify calls the attributions drifted
MIN_ROWS: Final = 30  # of each side
PERMUTATIONS: Final = 2_000
MOST_PERMUTATIONS: Final = 200_000
_CHUNK: Final = 2_000


@dataclass(frozen=True)
class FeatureShift:
    """One feature: mean |attribution| of both sides, and its p-value, adjusted for all features (single-step max-T)."""

    feature: str
    reference: float
    window: float
    adjusted_p: float | None


@dataclass(frozen=True)
class AttributionDrift:
    """`p` is None exactly where `reason` says why the calibrated rule could not judge.

    Attributes:
        ndcg: of the window's ranking by the reference's mean |attribution|; None where no feature counts.
        p: share of permutations of blocks whose largest standardised change is at least the observed one.
        change: the largest change among features with adjusted p <= alpha, as a share of the reference's sum.
        alarm: p <= alpha and change >= floor.
        features: the most changed first.
    """

    ndcg: float | None
    p: float | None
    reason: str | None
    alpha: float
    floor: float
    change: float
    alarm: bool
    features: tuple[FeatureShift, ...]
    rows: int
    reference_rows: int
    permutations: int
    seed: int


def mean_absolute(attributions: Floats) -> Floats:
    """Mean |attribution| of each feature; (rows, features) -> (features,), in the unit of the output.

    Raises:
        InvalidError: there are no rows, or a value is no finite number.
    """
    values = np.asarray(attributions, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise InvalidError(f"attributions have shape {values.shape}; give (rows, features) with at least one row")
    if not np.isfinite(values).all():
        raise InvalidError("an attribution is no finite number, so no mean can be told")
    return np.asarray(np.abs(values).mean(axis=0))


def attribution_ndcg(reference: Floats, window: Floats) -> float | None:
    """Normalised discounted cumulative gain of the window's ranking of features; 1 where the order is the same.

    Args:
        reference, window: mean |attribution| by feature, in the same order, >= 0.

    Returns:
        sum of reference[i] / log2(place of i in the window + 1) over its largest possible value, 0..1; features that
        the window weighs the same share the mean of their places' discounts. None where every gain is 0.

    Source: Järvelin and Kekäläinen (2002); the rule of Amazon SageMaker Clarify; ties as McSherry and Najork (2008).
    """
    gains = np.asarray(reference, dtype=np.float64)
    if not gains.any():
        return None
    gains = gains / gains.max()  # only their ratios count, and sums of the smallest doubles lose them
    discounts = 1.0 / np.log2(np.arange(len(gains)) + 2.0)
    _, inverse, counts = np.unique(-np.asarray(window, dtype=np.float64), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    sums = np.concatenate([[0.0], np.cumsum(discounts)])
    shared = (sums[ends] - sums[ends - counts]) / counts
    return float(gains @ shared[inverse] / (np.sort(gains)[::-1] @ discounts))


def attribution_drift(
    reference: Floats,
    window: Floats,
    features: Sequence[str],
    *,
    alpha: float,
    floor: float = 0.05,
    reference_blocks: Sequence[int] | None = None,
    window_blocks: Sequence[int] | None = None,
    seed: int = 0,
) -> AttributionDrift:
    """Whether features count otherwise in a window than in the reference, with a stated false-alarm probability.

    The statistic is the largest |change of a mean |attribution||, each in standard deviations of its block sums. Blocks
    change sides, whole: rows of one block may depend on each other. If blocks are exchangeable, P(p <= alpha) <= alpha.

    Args:
        reference, window: attributions, shape (rows, features), of the same version, output and background.
        features: their names.
        alpha: probability of a false alarm that this window may spend.
        floor: the smallest change that may alarm, as a share of the reference's sum of mean |attribution|.
        reference_blocks, window_blocks: the block of each row; without them every row is a block of its own.
        seed: of the permutations.

    Returns:
        The verdict of both rules. Too few rows or blocks for `alpha`: no p, with the reason.

    Raises:
        InvalidError: shapes do not fit, a value is no finite number, or alpha is not between 0 and 1.

    Source: Westfall and Young (1993), algorithm 2.8 (single step); Phipson and Smyth (2010) for p = (1 + b) / (1 + n).
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidError(f"alpha is {alpha}; give a probability above 0 and below 1", field="alpha", value=alpha)
    before, now = mean_absolute(reference), mean_absolute(window)
    if len(before) != len(now) or len(before) != len(features):
        raise InvalidError(f"{len(before)}, {len(now)} and {len(features)} features cannot be compared")
    sums, sizes, here = _blocks(reference, window, reference_blocks, window_blocks)
    wanted = min(MOST_PERMUTATIONS, max(PERMUTATIONS, int(np.ceil(20.0 / alpha))))
    reason = _too_few(len(reference), len(window), len(sizes), here, alpha)
    adjusted, p = (None, None) if reason else _permuted(sums, sizes, here, wanted, seed)
    total = float(before.sum())
    named = now != before if adjusted is None else adjusted <= alpha
    change = float(np.abs(now - before)[named].max(initial=0.0)) / total if total > 0 else 0.0
    order = np.argsort(-np.abs(now - before), kind="stable")
    return AttributionDrift(
        ndcg=attribution_ndcg(before, now), p=p, reason=reason, alpha=alpha, floor=floor, change=change,
        alarm=p is not None and p <= alpha and change >= floor,
        features=tuple(
            FeatureShift(
                features[i], float(before[i]), float(now[i]), None if adjusted is None else float(adjusted[i])
            )
            for i in order
        ),
        rows=len(window), reference_rows=len(reference), permutations=0 if reason else wanted, seed=seed,
    )  # fmt: skip


def _blocks(
    reference: Floats, window: Floats, reference_blocks: Sequence[int] | None, window_blocks: Sequence[int] | None
) -> tuple[Floats, Ints, int]:
    """Sums of |attribution| by block, rows of each block, and how many blocks, the first ones, are the window's."""
    sums: list[Floats] = []
    sizes: list[int] = []
    here = 0
    for values, labels in ((window, window_blocks), (reference, reference_blocks)):
        given = np.arange(len(values)) if labels is None else np.asarray(labels)
        if len(given) != len(values):
            raise InvalidError(f"{len(given)} blocks are given for {len(values)} rows")
        _, inverse = np.unique(given, return_inverse=True)
        count = int(inverse.max()) + 1
        total = np.zeros((count, np.shape(values)[1]))
        np.add.at(total, inverse, np.abs(values))
        sums.append(total)
        sizes.extend(int(n) for n in np.bincount(inverse, minlength=count))
        here = here or count
    return np.concatenate(sums), np.asarray(sizes, dtype=np.int64), here


def _too_few(reference_rows: int, rows: int, blocks: int, here: int, alpha: float) -> str | None:
    for name, count in (("the window", rows), ("the reference", reference_rows)):
        if count < MIN_ROWS:
            return f"{name} has {count} explained rows; {MIN_ROWS} are needed"
    if comb(blocks, here) * alpha < 1.0:
        return f"{here} of {blocks} blocks can be chosen in too few ways to reach a p-value of {alpha:.2g}"
    if alpha * (MOST_PERMUTATIONS + 1) < 1.0:
        return f"a p-value of {alpha:.2g} needs more than {MOST_PERMUTATIONS:,} permutations"
    return None


def _permuted(sums: Floats, sizes: Ints, here: int, wanted: int, seed: int) -> tuple[Floats, float]:
    """Adjusted p-values by feature, and the p-value of the largest change."""
    random = np.random.default_rng(seed)
    rows, total = float(sizes.sum()), sums.sum(axis=0)
    mean = total / rows
    # The scale is the same for every permutation: how far the sums of blocks lie from what their sizes explain.
    scale = np.sqrt(((sums - sizes[:, None] * mean) ** 2).sum(axis=0))
    scale[scale <= 1e-12 * np.maximum(np.abs(total), 1e-300)] = np.inf  # a feature that never varies

    def changes(members: Floats) -> Floats:
        """(arrangements, blocks) of 0 and 1 -> |change of each feature|, in its scale."""
        count = members @ sizes
        inside = members @ sums
        moved = inside / count[:, None] - (total - inside) / (rows - count)[:, None]
        return np.asarray(np.abs(moved) / scale)

    observed = np.zeros((1, len(sizes)))
    observed[0, :here] = 1.0
    seen = changes(observed)[0]
    exceeding = np.zeros(len(seen))
    for start in range(0, wanted, _CHUNK):
        keys = random.random((min(_CHUNK, wanted - start), len(sizes)))
        chosen = np.argpartition(keys, here - 1, axis=1)[:, :here]
        members = np.zeros_like(keys)
        np.put_along_axis(members, chosen, 1.0, axis=1)
        largest = changes(members).max(axis=1)
        exceeding += (largest[:, None] >= seen * (1 - 1e-12)).sum(axis=0)
    adjusted = (1.0 + exceeding) / (1.0 + wanted)
    return adjusted, float(adjusted.min())


@dataclass(frozen=True)
class Interaction:
    """Two features and how much they count together: mean |interaction|, both orders of the pair added."""

    first: str
    second: str
    strength: float


def top_interactions(values: Floats, features: Sequence[str], most: int = 5) -> tuple[Interaction, ...]:
    """The pairs of features that count most together.

    Args:
        values: SHAP interaction values, shape (rows, features, features), symmetric; the diagonal is left out.
        features: their names.
        most: the largest number of pairs.

    Returns:
        Pairs with a strength above 0, the strongest first; in the unit of the output.

    Raises:
        InvalidError: the shape does not fit, or a value is no finite number.

    Source: Lundberg et al. (2020); the effect of a pair is the sum of its two halves.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 3 or given.shape[1:] != (len(features), len(features)) or not len(given):
        raise InvalidError(
            f"interaction values have shape {given.shape}; give (rows, {len(features)}, {len(features)})"
        )
    if not np.isfinite(given).all():
        raise InvalidError("an interaction value is no finite number")
    together = np.abs(given + given.transpose(0, 2, 1)).mean(axis=0)
    first, second = np.triu_indices(len(features), k=1)
    strengths = together[first, second]
    order = np.argsort(-strengths, kind="stable")[:most]
    return tuple(
        Interaction(features[first[i]], features[second[i]], float(strengths[i])) for i in order if strengths[i] > 0
    )
