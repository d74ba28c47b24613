"""Estimated KPIs of a classifier before its outcomes arrive: confidence-based performance estimation (CBPE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Flags, Floats
from core.errors import InsufficientDataError
from monitor.estimate import base
from monitor.estimate.base import Estimate, EstimationMethod, Features
from monitor.estimate.curves import calibration_curve
from monitor.estimate.expected import METRICS, PROBABILITY_ONLY
from monitor.estimate.matching import Matching, fit_matching, quantiles, rank_of
from monitor.estimate.trees import Trees, fit_shares
from monitor.levels import answer, answers
from monitor.spec.model import ModelSpec

SIMULATIONS: Final = 200  # of the outcomes of a window
FOLDS: Final = 5  # a curve and trees are learned without each, so that no row judges what learned from it
_TRUTHS: Final = ("false", "true")


@dataclass(frozen=True, eq=False)
class Cbpe:
    """An estimator fitted on labelled reference rows.

    With `target` "positive" it models the probability that the outcome is `classes[1]`, from which every KPI of two
    classes follows. The score is that of the positive class or, if `turned`, that of the predicted class. With "right"
    it models the probability that the prediction is right. Of more than two classes, the probability of the predicted
    one determines nothing else.
    """

    target: str
    turned: bool
    classes: tuple[str, ...]
    columns: Mapping[str, str | None]  # name of the prediction and the score column
    features: Features
    curves: tuple[tuple[Floats, Floats], ...]  # score and calibrated probability, one curve without each fold
    trees: tuple[Trees, ...]  # without each fold
    matchings: tuple[Matching, ...]  # one without each group
    labels: int

    @property
    def method(self) -> str:
        return "CBPE"

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(METRICS) if self.target == "positive" else ("accuracy",)

    def estimate(self, frame: pl.DataFrame, metrics: Sequence[str]) -> dict[str, Estimate]:
        """Estimate KPIs, with bands, of rows whose outcome is unknown.

        Args:
            frame: events with the columns of the spec, shape (rows,). Of more than 10,000 rows, a sample of that size
                is estimated, and the band is that of the sample.
            metrics: names of KPIs.

        Returns:
            One estimate for each metric, in the KPI's unit. Half the band is a quantile times the root of the sum of
            two variances. The sampling variance is that of the KPI of these rows if each outcome is drawn with its
            probability (200 simulations). The calibration variance is the delete-a-group jackknife over the ten
            blends, each fitted without a tenth of the labelled rows. The quantile is that of `base.band_half_width`.
            The band is valid while outcomes depend on the inputs and the score as in the reference; it cannot detect a
            change of that dependence.

        Source: NannyML's confidence-based performance estimation; Shao and Tu (1995) for the jackknife.
        """
        rows = self._rows(frame)
        if isinstance(rows, str):
            return base.not_estimated(metrics, rows, frame.height)
        found = {}
        for metric in metrics:
            if metric not in self.metrics:
                why = "more than two classes: the score says only how sure the answer is"
                reason = why if metric in METRICS else f"{metric} has no estimate without outcomes"
                found[metric] = Estimate(metric, None, reason, rows.total)
            elif metric == "pr_auc" and self.turned:
                found[metric] = Estimate(
                    metric, None, "depends on which class is positive; declare `positive`", rows.total
                )
            elif rows.unanswered and metric != "accuracy":
                reason = f"{rows.unanswered} rows have no prediction"
                found[metric] = Estimate(metric, None, reason, rows.total)
            else:
                found[metric] = _estimate(metric, rows)
        return found

    def probabilities(self, frame: pl.DataFrame) -> Floats:
        """The calibrated probability of the target, by the blend fitted without each group.

        It blends two probabilities. The isotonic (or logistic) curve of the score ignores the inputs. The trees over
        score and inputs follow a change of the inputs but shrink towards the mean. The blend is fitted to rows that
        neither learned from, so that the KPIs of the reference come out. Curve and trees are the means over all folds;
        the blend is that of the group. The jackknife over the groups is therefore that of the sums which the blend
        matches, and those decide the KPIs. Curves and trees that lack one fold each differ mostly by chance, which
        their mean removes and a jackknife would count several times over.

        Args:
            frame: events with the columns of the spec, shape (rows,), with finite scores.

        Returns:
            Probabilities 0..1, shape (groups, rows).

        Source: Platt (1999); Zadrozny and Elkan (2002) for isotonic calibration.
        """
        score, x, answer = self._score(frame), self.features.matrix(frame), self._answer(frame)
        models = np.mean([_modelled(*one, score, x) for one in zip(self.curves, self.trees, strict=True)], axis=0)
        rank = rank_of(score, self.matchings[0].ranks)
        return np.stack([matching.probabilities(models, rank, answer) for matching in self.matchings])

    def _answer(self, frame: pl.DataFrame) -> Flags:
        if self.target != "positive":
            return np.ones(frame.height, bool)
        return np.asarray(self._said(frame) == self.classes[1], dtype=np.bool_)

    def _said(self, frame: pl.DataFrame) -> NDArray[np.str_]:
        """The predictions, written as the classes are."""
        return _text(frame[str(self.columns["prediction"])], self.classes == _TRUTHS)

    def _score(self, frame: pl.DataFrame) -> Floats:
        name = self.columns["score"]
        assert name is not None
        score = _numbers(frame[name])
        if not self.turned:
            return score
        return np.where(self._said(frame) == self.classes[1], score, 1.0 - score)

    def _rows(self, frame: pl.DataFrame) -> "_Rows | str":
        prediction, score = str(self.columns["prediction"]), str(self.columns["score"])
        answered = frame.filter(pl.col(prediction).is_not_null())
        usable = answered.filter(pl.Series(np.isfinite(_numbers(answered[score]))))
        if not usable.height:
            return "no row has a prediction with a score"
        if usable.height < answered.height:
            return f"{answered.height - usable.height} of {answered.height} rows have no score"
        strange = sorted({str(c) for c in self._said(usable)} - set(self.classes))
        if strange and self.target == "positive":
            return f"the class {strange[0]!r} does not occur among the labelled rows of the reference"
        taken = base.sample(usable, base.MAX_ROWS)
        p = self.probabilities(taken)
        return _Rows(p, self._answer(taken), self._score(taken), usable.height, frame.height - answered.height)

    def to_bytes(self) -> bytes:
        arrays = {f"weights{k}": matching.weights for k, matching in enumerate(self.matchings)}
        for k, ((score, chance), trees) in enumerate(zip(self.curves, self.trees, strict=True)):
            arrays |= {f"curve{k}/score": score, f"curve{k}/chance": chance}
            arrays |= {f"trees{k}/{name}": values for name, values in trees.arrays().items()}
        arrays["ranks"] = self.matchings[0].ranks
        header = {
            "method": "cbpe", "target": self.target, "turned": self.turned, "classes": self.classes,
            "columns": dict(self.columns), "features": self.features.names, "labels": self.labels,
            "levels": dict(self.features.levels), "models": len(self.trees),
            "groups": len(self.matchings),
        }  # fmt: skip
        return base.to_bytes(header, arrays)

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "Cbpe":
        levels = {name: tuple(found) for name, found in header["levels"].items()}
        models = header.get("models", header["groups"])  # earlier releases had as many folds as groups
        return cls(
            header["target"], header["turned"], tuple(header["classes"]), header["columns"],
            Features(tuple(header["features"]), levels),
            tuple((arrays[f"curve{k}/score"], arrays[f"curve{k}/chance"]) for k in range(models)),
            tuple(Trees.from_arrays(base.part(arrays, f"trees{k}/")) for k in range(models)),
            tuple(Matching(arrays["ranks"], arrays[f"weights{k}"]) for k in range(header["groups"])),
            header["labels"],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Rows:
    p: Floats  # (groups, rows), probability of the target
    answer: Flags  # (rows,), whether the prediction is the second class; all True for the target "right"
    score: Floats  # (rows,)
    total: int  # rows with a prediction and a score, before sampling
    unanswered: int  # rows without a prediction

    @cached_property
    def mean(self) -> Floats:
        """The probability of the target over all groups, shape (rows,)."""
        return np.asarray(self.p.mean(axis=0), dtype=np.float64)

    @cached_property
    def simulated(self) -> Floats:
        """Outcomes drawn with these probabilities, the same for every KPI, shape (simulations, rows)."""
        return (np.random.default_rng(0).random((SIMULATIONS, len(self.mean))) < self.mean).astype(np.float64)


def fit_cbpe(spec: ModelSpec, frame: pl.DataFrame) -> Cbpe:
    """Fit on labelled reference rows.

    Args:
        spec: the model.
        frame: events with their outcome, shape (rows,).

    Returns:
        Curves and trees without each fold, and ten blends, each fitted without a tenth of the rows.

    Raises:
        InsufficientDataError: there is no score, there are fewer than 300 labelled rows with a score, or one of the two
            results (positive or not; right or wrong) occurs fewer than 30 times. The message states which.

    Source: NannyML's confidence-based performance estimation; Platt (1999); Zadrozny and Elkan (2002).
    """
    prediction, outcome, score = spec.with_role("prediction")[0], spec.target, next(iter(spec.with_role("score")), None)
    if score is None or spec.columns[score].type != "number":
        raise InsufficientDataError("an estimate without outcomes needs a column with role score and type number")
    assert outcome is not None  # `fit` has looked
    if outcome not in frame.columns:
        raise InsufficientDataError(f"0 labelled reference rows with a score; at least {base.MIN_LABELS} are needed")
    rows = frame.drop_nulls([prediction, outcome, score]).filter(pl.col(score).cast(pl.Float64).is_finite())
    if rows.height < base.MIN_LABELS:
        raise InsufficientDataError(
            f"{rows.height} labelled reference rows with a score; at least {base.MIN_LABELS} are needed"
        )
    rows = base.sample(rows, base.MAX_LABELS)
    values = _numbers(rows[score])
    truth = "boolean" in (spec.columns[prediction].type, spec.columns[outcome].type)
    declared = answer(spec.columns[score].positive or "", truth=truth)
    if declared is None and ((values < 0) | (values > 1)).any():
        raise InsufficientDataError(
            "the scores lie outside 0..1; declare `positive` for a score that is no probability"
        )
    said, right = _text(rows[prediction], truth), _text(rows[outcome], truth)
    target, classes = _target(sorted({*said.tolist(), *right.tolist()}), declared)
    true = right == classes[1] if target == "positive" else said == right
    rare = min(int(true.sum()), int((~true).sum()))
    if rare < base.MIN_PER_CLASS:
        what = f"outcome {classes[1]!r} or another" if target == "positive" else "right or wrong answers"
        raise InsufficientDataError(
            f"only {rare} labelled reference rows of one kind ({what}); at least {base.MIN_PER_CLASS} are needed"
        )
    turned = target == "positive" and declared is None
    chosen = base.features(spec, rows)
    x, group = chosen.matrix(rows), base.groups(rows.height)
    if turned:
        values = np.where(said == classes[1], values, 1.0 - values)
    outside = [group % FOLDS == k for k in range(FOLDS)]
    curves = tuple(calibration_curve(values[~out], true[~out]) for out in outside)
    trees = fit_shares(x, true, group % FOLDS)
    models, ranks = np.zeros((2, rows.height)), quantiles(values)
    for curve, one, out in zip(curves, trees, outside, strict=True):
        models[:, out] = _modelled(curve, one, values[out], x[out])
    second = said == classes[1] if target == "positive" else np.ones(rows.height, bool)
    matchings = tuple(
        fit_matching(models[:, k], values[k], second[k], true[k], ranks)
        for k in (group != without for without in range(base.GROUPS))
    )
    return Cbpe(
        target, turned, classes, {"prediction": prediction, "score": score}, chosen, curves, trees, matchings,
        rows.height,
    )  # fmt: skip


def _modelled(curve: tuple[Floats, Floats], trees: Trees, score: Floats, x: Floats) -> Floats:
    """The probabilities of the curve and of the trees, shape (2, rows)."""
    return np.stack([np.interp(score, *curve), 1.0 / (1.0 + np.exp(-trees.raw(x)))])


def _target(classes: Sequence[str], positive: str | None) -> tuple[str, tuple[str, ...]]:
    if positive is None:
        return ("positive", tuple(classes)) if len(classes) == 2 else ("right", tuple(classes))
    others = [c for c in classes if c != positive]
    if not others:
        raise InsufficientDataError(f"every labelled reference row is of the class {positive!r}")
    if len(others) > 1:
        raise InsufficientDataError(
            f"{len(classes)} classes, and the score is the probability of {positive!r} alone; estimates need two "
            "classes, or the probability of the predicted class"
        )
    return "positive", (*others, positive)


def _estimate(metric: str, rows: _Rows) -> Estimate:
    compute = METRICS[metric]
    if metric in PROBABILITY_ONLY and ((rows.score < 0) | (rows.score > 1)).any():
        return Estimate(metric, None, "the scores lie outside 0..1, so they are no probabilities", rows.total)
    values = compute(rows.p, rows.answer, rows.score)
    realised = compute(rows.simulated, rows.answer, rows.score)
    realised = realised[np.isfinite(realised)]
    if len(realised) < 0.9 * SIMULATIONS:
        return Estimate(metric, None, "likely undefined: too few rows of one class are expected", rows.total)
    sampling = float(np.var(realised, ddof=1))
    # The mean of a ratio is not the ratio of the means. The simulations give the difference.
    values = values + realised.mean() - compute(rows.mean[None, :], rows.answer, rows.score)[0]
    total = rows.total
    if rows.unanswered:  # a row without a prediction is certainly wrong
        share = rows.total / (rows.total + rows.unanswered)
        values, sampling, total = values * share, sampling * share**2, rows.total + rows.unanswered
    highest = 1.0 if metric != "log_loss" else np.inf
    return base.banded(metric, values, sampling, total, lowest=0.0, highest=highest)


def _text(values: pl.Series, truth: bool) -> NDArray[np.str_]:
    return answers(values, truth=truth).to_numpy().astype(str)


def _numbers(values: pl.Series) -> Floats:
    return np.asarray(values.cast(pl.Float64, strict=False).to_numpy(), dtype=np.float64)  # nan where it is null


METHOD: Final = EstimationMethod("cbpe", "classification", fit_cbpe, Cbpe.from_parts)
