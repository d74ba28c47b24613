"""Stability: whether an explanation stays the same where its input changes by next to nothing.

Numbers move by a small part of what they vary in the reference; texts lose one word of the least weight. The model's
own answer may change with that, so it is told beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.arrays import Floats
from core.errors import InvalidError

NOISE: Final = 0.05  # standard deviations of the reference by which a number is moved
TOP: Final = 3  # features that are looked at as the reasons of the answer


@dataclass(frozen=True)
class Stability:
    """How far the attributions of slightly changed inputs agree with those of the input itself.

    Attributes:
        top_kept: mean share of the `top` features with the largest |attribution| that are still among them, 0..1.
        rank_correlation: the smallest Spearman correlation of |attribution|; None where all are equal.
        largest_change: the largest change of one attribution, as a share of the sum of all; None if that is 0.
        answers_changed: changed inputs to which the model gave another answer.
    """

    top_kept: float
    top: int
    rank_correlation: float | None
    largest_change: float | None
    answers_changed: int
    changed_inputs: int


def jittered(row: Mapping[str, Any], spread: Mapping[str, float], repeats: int, seed: int) -> list[dict[str, Any]]:
    """The row, `repeats` times, each with every number moved by a normal draw of NOISE standard deviations.

    Args:
        spread: by column that may move: its standard deviation in the reference. Whole numbers stay whole.
    """
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(repeats):
        moved = dict(row)
        for name in sorted(spread):
            value = row.get(name)
            draw = float(random.normal()) * NOISE * spread[name]  # drawn always: one column does not move the others
            if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
                moved[name] = round(value + draw) if isinstance(value, int) else value + draw
        rows.append(moved)
    return rows


def without_least_words(values: Sequence[float], repeats: int) -> list[int]:
    """Places of the words to leave out, one at a time: those of the least |attribution|, never the only word."""
    if len(values) < 2:
        return []
    return [int(i) for i in np.argsort(np.abs(np.asarray(values)), kind="stable")[: min(repeats, len(values) - 1)]]


def agreement(own: Floats, changed: Floats, answers_changed: int, top: int = TOP) -> Stability:
    """Compare attributions of changed inputs with those of the input itself.

    Args:
        own: attributions of the input, shape (features,).
        changed: those of the changed inputs, shape (inputs, features); for a text, without the word that is left out
            each row has a NaN in its place, which is not compared.
        answers_changed: how many of the changed inputs the model answers otherwise.
        top: how many features are looked at as the reasons.

    Raises:
        InvalidError: no changed input, or another number of features.
    """
    base, others = np.asarray(own, dtype=np.float64), np.asarray(changed, dtype=np.float64)
    if others.ndim != 2 or others.shape[1] != len(base) or not len(others):
        raise InvalidError(
            f"attributions have shape {others.shape}; give (inputs, {len(base)}) with at least one input"
        )
    total = float(np.abs(base).sum())
    kept, ranks, largest = [], [], 0.0
    for other in others:
        there = np.isfinite(other)
        mine, theirs = np.abs(base[there]), np.abs(other[there])
        count = min(top, len(mine))
        best, now = ({*np.argsort(-v, kind="stable")[:count].tolist()} for v in (mine, theirs))
        kept.append(len(best & now) / count if count else 1.0)
        ranks.append(_spearman(mine, theirs))
        largest = max(largest, float(np.abs(base[there] - other[there]).max(initial=0.0)))
    known = [rank for rank in ranks if rank is not None]
    return Stability(
        top_kept=float(np.mean(kept)), top=top, rank_correlation=min(known, default=None),
        largest_change=largest / total if total > 0 else None, answers_changed=answers_changed,
        changed_inputs=len(others),
    )  # fmt: skip


def _spearman(first: Floats, second: Floats) -> float | None:
    """Correlation of ranks, ties by their mean; None where one side has no order."""
    from scipy.stats import rankdata

    a, b = rankdata(first), rankdata(second)
    if len(a) < 2 or not a.std() or not b.std():
        return None
    return float(np.corrcoef(a, b)[0, 1])
