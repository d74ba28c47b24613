"""The mean difference of two models on the same rows, with its interval: the one evaluations and gates quote."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError, InvalidError
from retrain.evals.paired_score import design_effect, score_interval

DRAWS: Final = 2000  # of a bootstrap
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """Challenger minus champion, in the unit of the score; the interval is two-sided at `level`.

    `disagree` is the share of rows that only one of the two answers rightly; None for scores that are not 0 and 1.
    `spread` is the standard deviation of a row's difference. `clusters` counts subjects, each row without one as its
    own; `design_effect` says how many times fewer rows the rows are worth because subjects have several.
    """

    value: float
    low: float
    high: float
    level: float
    champion: float
    challenger: float
    n: int
    disagree: float | None
    spread: float
    clusters: int
    design_effect: float

    @property
    def effective(self) -> float:
        """Independent rows that would tell as much."""
        return self.n / self.design_effect


def paired_difference(
    champion: Floats,
    challenger: Floats,
    *,
    level: float = 0.95,
    subjects: Sequence[str | None] = (),
    bounded: bool = False,
) -> MeanDifference:
    """Mean difference of paired scores.

    Args:
        champion: score of each row, shape (n,), finite; higher is better.
        challenger: scores of the same rows in the same order, shape (n,).
        level: coverage of the interval, 0 < level < 1.
        subjects: the subject of each row, shape (n,), None where it is not known; without any, every row is its own.
        bounded: whether every score lies within 0..1.

    Returns:
        The difference of the means and its interval. For scores of 0 and 1 it is Tango's score interval of paired
        proportions, which does not collapse where the models agree on every row; for other bounded scores a paired
        bootstrap that does not either (`bootstrap_interval`); otherwise Student's. Rows of one subject count as fewer
        rows, by their design effect, and the quantile is Student's with the subjects' degrees of freedom; the bootstrap
        draws subjects.

    Raises:
        InvalidError: shapes differ, or a score is not finite.
        InsufficientDataError: fewer than two rows, or a single subject.

    Source: Tango (1998) for shares; Efron and Tibshirani (1993); Student (1908); Rao and Scott (1992) for counts of
    clusters, made smaller by the design effect.
    """
    if champion.shape != challenger.shape or champion.ndim != 1:
        shapes = f"{champion.shape} and {challenger.shape}"
        raise InvalidError(f"scores have shapes {shapes}; give one score per row for each model")
    if not (np.isfinite(champion).all() and np.isfinite(challenger).all()):
        raise InvalidError("a score is not finite; leave such rows out of both models")
    n = len(champion)
    if subjects and len(subjects) != n:
        raise InvalidError(f"subjects: {len(subjects)} values for {n} rows; give one for each row")
    codes = _codes(subjects, n)
    clusters = n if codes is None else int(codes.max()) + 1
    if n < 2 or clusters < 2:
        words = f"{n} rows" if n < 2 else f"{n} rows of one subject"
        raise InsufficientDataError(f"{words}; a paired difference needs at least 2", n=n)
    gain = challenger - champion
    value, spread = float(gain.mean()), float(gain.std(ddof=1))
    effect = 1.0 if codes is None else design_effect(gain, codes)
    share = None
    if np.isin(champion, (0.0, 1.0)).all() and np.isin(challenger, (0.0, 1.0)).all():
        gained, lost = int((gain > 0).sum()), int((gain < 0).sum())
        share = (gained + lost) / n
        quantile = NormalDist().inv_cdf((1 + level) / 2) if codes is None else _student(clusters - 1, level)
        low, high = score_interval(gained / effect, lost / effect, n / effect, quantile)
    elif bounded:
        low, high = bootstrap_interval(gain, codes, level)
        spread = float(np.append(gain, (-1.0, 1.0)).std(ddof=1))
    else:
        half = _student(clusters - 1, level) * spread * math.sqrt(effect / n)
        low, high = value - half, value + half
    means = float(champion.mean()), float(challenger.mean())
    return MeanDifference(value, low, high, level, *means, n, share, spread, clusters, effect)


def bootstrap_interval(gain: Floats, clusters: Floats | None, level: float) -> tuple[float, float]:
    """Percentile interval of the mean difference of bounded scores, drawing rows, or the rows of a subject together.

    The lower end counts one more row, on which the challenger loses all, the upper end one on which it gains all. So
    the interval does not collapse where the models agree on every row: a loss on 3 rows of n is not ruled out by n rows
    without one, as for shares.

    Args:
        gain: difference of each row, within -1..1, shape (n,).
        clusters: number of each row's subject, shape (n,), whole numbers from 0; None where every row is its own.
        level: coverage, 0 < level < 1.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    at = np.arange(len(gain)) if clusters is None else clusters.astype(np.intp)
    sizes = np.bincount(at).astype(np.float64)
    sums = np.bincount(at, weights=gain)
    m, typical = len(sizes) + 1, float(sizes.mean())
    drawn = np.random.default_rng(SEED).multinomial(m, np.full(m, 1 / m), size=DRAWS)
    rows = drawn @ np.append(sizes, typical)
    tail = (1 - level) / 2
    ends = [
        float(np.quantile(drawn @ np.append(sums, worst * typical) / rows, share))
        for worst, share in ((-1.0, tail), (1.0, 1 - tail))
    ]
    return ends[0], ends[1]


def _student(freedom: int, level: float) -> float:
    from scipy.special import stdtrit  # a sixth of what the service would import at its start

    return float(stdtrit(freedom, (1 + level) / 2))


def _codes(subjects: Sequence[str | None], n: int) -> Floats | None:
    """Number of each row's cluster; None where every row is its own."""
    names: dict[object, int] = {}
    codes = [names.setdefault((i,) if s is None else s, len(names)) for i, s in enumerate(subjects)]
    return None if len(names) in (0, n) else np.array(codes, dtype=np.float64)
