"""Rates of groups that are means of a number: scores of a classifier, errors of a regression, shares of texts."""

from collections.abc import Callable
from typing import Final

import numpy as np

from core.arrays import Floats
from monitor.fairness.cells import BINS, CONFIDENCE, SCORE, GroupCells
from monitor.fairness.estimates import Estimates, of_means, of_shares
from monitor.fairness.rates import GroupRate, Need

CALIBRATION_BINS: Final = 10
DRAWS: Final = 200
SEED: Final = 20_240_101
PREDICTED, ERROR, ABSOLUTE, SQUARED = "predicted", "error", "absolute error", "squared error"
REFUSED, LENGTH, EXACT = "refused", "length", "exact match"


def mean_of(*measures: str) -> Callable[[GroupCells], Estimates]:
    """The mean of the first of these measures that is counted."""
    return lambda cells: of_means(_sums(cells, *measures))


def share_of(measure: str) -> Callable[[GroupCells], Estimates]:
    """The share of rows for which a measure is 1, and not 0."""

    def read(cells: GroupCells) -> Estimates:
        sums = _sums(cells, measure)
        return of_shares(sums[:, 1].round().astype(np.int64), sums[:, 0].astype(np.int64))

    return read


def standardised(cells: GroupCells) -> Estimates:
    """Mean score, or mean prediction of a regression, in standard deviations of all rows.

    Args:
        cells: counts of each group.

    Returns:
        Means in standard deviations, shape (groups,); nan where all rows are alike.

    Source: the standardised mean difference of fair-lending practice, Cohen (1988), section 2.2.
    """
    name = next((m for m in (SCORE, CONFIDENCE, PREDICTED) if m in cells.sums), None)
    return of_means(_sums(cells, SCORE, CONFIDENCE, PREDICTED), cells.spread.get(name or "", float("nan")))


def root_mean_square(cells: GroupCells) -> Estimates:
    """Root of the mean squared error.

    Args:
        cells: counts of each group.

    Returns:
        Errors in the prediction's unit, shape (groups,), with standard errors by the delta method.

    Source: scikit-learn's root_mean_squared_error; Wasserman, All of Statistics (2004), section 9.9.
    """
    found = of_means(_sums(cells, SQUARED))
    assert found.error is not None
    value = np.sqrt(found.value)
    error = np.divide(found.error, 2.0 * value, out=np.zeros(len(value)), where=value > 0)
    return Estimates(value, found.n, error=error)


def scoring_rate(cells: GroupCells) -> Estimates:
    """Share of rows whose score lies above the median of all rows, to a bin of 0.05.

    Args:
        cells: counts of each group.

    Returns:
        Shares 0..1, shape (groups,).

    Source: 6 RCNY 5-300 (New York City, Local Law 144 of 2021).
    """
    rows = cells.bins[..., 0]
    return of_shares(rows[:, cells.median + 1 :].sum(axis=1).astype(np.int64), rows.sum(axis=1).astype(np.int64))


def calibration(cells: GroupCells) -> Estimates:
    """Expected calibration error: by how much the score misses the share of events, averaged over ten bins by rows.

    Args:
        cells: counts of each group.

    Returns:
        Errors 0..1, shape (groups,); nan without a row that has score and outcome. Standard errors by a seeded
        bootstrap of the events of each bin, as no closed form is known.

    Source: Naeini, Cooper and Hauskrecht (2015), AAAI; Efron and Tibshirani (1993), section 6.5.
    """
    bins = cells.bins.reshape(len(cells.names), CALIBRATION_BINS, BINS // CALIBRATION_BINS, 4).sum(axis=2)
    n, score, events = bins[..., 1], bins[..., 2], bins[..., 3]
    rows = n.sum(axis=1)
    share = np.divide(events, n, out=np.zeros_like(n), where=n > 0)
    drawn = np.random.default_rng(SEED).binomial(n.astype(np.int64), share, size=(DRAWS, *n.shape))
    value = _missed(score, events, rows)
    return Estimates(value, rows.astype(np.int64), error=_missed(score, drawn.astype(np.float64), rows).std(axis=0))


def _missed(score: Floats, events: Floats, rows: Floats) -> Floats:
    gap: Floats = np.abs(score - events).sum(axis=-1)
    share: Floats
    share = np.divide(  # nan without rows
        gap, rows, out=np.full(gap.shape, np.nan), where=np.broadcast_to(rows > 0, gap.shape)
    )
    return share


def _sums(cells: GroupCells, *measures: str) -> Floats:
    found = next((cells.sums[name] for name in measures if name in cells.sums), None)
    return np.zeros((len(cells.names), 3)) if found is None else found


_SCORE: Final[frozenset[Need]] = frozenset(["score"])
_BOTH: Final[frozenset[Need]] = frozenset(["score", "outcome"])
_OUTCOME: Final[frozenset[Need]] = frozenset(["outcome"])
_NO_SCORE, _NO_LABEL = "no row with a score", "no row with an outcome"

MEAN_SCORE: Final = GroupRate(
    "mean_score", "mean score", mean_of(SCORE, CONFIDENCE), _SCORE, without=_NO_SCORE, of_class=False
)
SCORING: Final = GroupRate(
    "scoring_rate", "scoring rate (share above the median score of all rows)", scoring_rate, _SCORE,
    without=_NO_SCORE, of_class=False,
)  # fmt: skip
CALIBRATION: Final = GroupRate(
    "calibration_error", "expected calibration error", calibration, _BOTH, "lowest",
    without="no row with a score and an outcome",
)  # fmt: skip
STANDARDISED: Final = GroupRate(
    "standardised_score", "mean score in standard deviations", standardised, _SCORE,
    unit="standard deviations", without="no spread of the score", of_class=False,
)  # fmt: skip
STANDARDISED_NUMBER: Final = GroupRate(
    "standardised_prediction", "mean prediction in standard deviations", standardised, unit="standard deviations",
    without="no spread of the prediction", task="regression", of_class=False,
)  # fmt: skip

OF_SCORES: Final = (MEAN_SCORE, SCORING, CALIBRATION)
OF_NUMBERS: Final = (
    GroupRate(
        "mean_prediction", "mean prediction", mean_of(PREDICTED), unit="number", task="regression", of_class=False
    ),
    GroupRate(
        "mean_error", "mean error (prediction - outcome)", mean_of(ERROR), _OUTCOME, unit="number", without=_NO_LABEL,
        task="regression", of_class=False,
    ),
    GroupRate(
        "mean_absolute_error", "mean absolute error", mean_of(ABSOLUTE), _OUTCOME, "lowest", "number", _NO_LABEL,
        "regression", of_class=False,
    ),
    GroupRate(
        "root_mean_squared_error", "root mean squared error", root_mean_square, _OUTCOME, "lowest", "number", _NO_LABEL,
        "regression", of_class=False,
    ),
)  # fmt: skip
OF_TEXTS: Final = (
    GroupRate(
        "refusal_rate", "share of refusals", share_of(REFUSED), best="lowest", task="generation", of_class=False
    ),
    GroupRate(
        "exact_match", "share of answers equal to a reference", share_of(EXACT), _OUTCOME, without=_NO_LABEL,
        task="generation", of_class=False,
    ),
    GroupRate(
        "answer_length", "mean length of the answer", mean_of(LENGTH), unit="characters", task="generation",
        of_class=False,
    ),
)  # fmt: skip
