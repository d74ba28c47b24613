"""Answers decided by a threshold for each group: chosen by fairlearn, kept as numbers, the same for equal rows.

fairlearn draws at random between two thresholds, and answers 0 to every row of a group that it has not met. Here the
draw is made from the row itself, so that a row always gets the same answer; and a group that is not known, or had too
few rows, is decided as without thresholds.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.levels import as_levels, level
from retrain.train.errors import DataError
from retrain.train.mitigation.keys import Mitigation
from retrain.train.mitigation.weights import PROTECTED, groups_of

MIN_ROWS: Final = 30  # of a group, from which on it has thresholds of its own
CONSTRAINTS: Final[Mapping[str, str]] = {
    "demographic_parity": "demographic_parity", "equalized_odds": "equalized_odds",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GroupRule:
    """The probability of the positive answer: `ignore` times `constant`, and else one of two thresholds by `shares`."""

    thresholds: tuple[float, float]
    above: tuple[bool, bool]
    shares: tuple[float, float]
    ignore: float = 0.0
    constant: float = 0.0

    def share(self, scores: Floats) -> Floats:
        """Probability of the positive answer by score, shape (rows,)."""
        parts = [
            share * ((scores > at) if above else (scores < at))
            for at, above, share in zip(self.thresholds, self.above, self.shares, strict=True)
        ]
        return self.ignore * self.constant + (1.0 - self.ignore) * np.asarray(sum(parts), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class GroupThresholds:
    """`strength`: how far answers move from those without thresholds, 0..1; `groups`: by the level of the group."""

    by: tuple[str, ...]
    positive: str
    strength: float
    groups: Mapping[str, GroupRule]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        groups = {
            name: GroupRule(
                tuple(rule["thresholds"]), tuple(rule["above"]), tuple(rule["shares"]), rule["ignore"], rule["constant"]
            )
            for name, rule in document["groups"].items()
        }
        return cls(tuple(document["by"]), document["positive"], document["strength"], groups)

    @property
    def document(self) -> dict[str, Any]:
        return asdict(self)

    def positives(self, plain: Floats, scores: Floats, group: pl.Series, texts: Sequence[str]) -> Floats:
        """Whether each row gets the positive answer, 0 or 1, shape (rows,).

        Args:
            plain: 1 where the most probable label is the positive one.
            scores: probability of the positive label.
            texts: the rows as texts, from which the draws are made.
        """
        shares = plain.astype(np.float64)
        for name, rule in self.groups.items():
            at = (group == name).to_numpy()
            shares[at] = (1.0 - self.strength) * shares[at] + self.strength * rule.share(scores[at])
        return (shares > _drawn(texts)).astype(np.float64)


def _drawn(texts: Sequence[str]) -> Floats:
    """A number of each text, 0 up to 1, shape (rows,): equal texts have equal ones."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], dtype=np.float64)


def group_values(rows: Any, by: Sequence[str]) -> pl.Series:
    """The group of each row that a caller has: a frame of polars or pandas, or mappings by column name.

    Raises:
        DataError: a column is missing.
    """
    if hasattr(rows, "to_dict") and hasattr(rows, "columns") and not isinstance(rows, pl.DataFrame):
        rows = rows.to_dict("records")
    columns = {}
    for name in by:
        there = rows.columns if isinstance(rows, pl.DataFrame) else None
        if (there is not None and name not in there) or (there is None and any(name not in row for row in rows)):
            raise DataError(
                f"column {name!r} is missing; this model decides by group and needs it with each row (null where it is "
                "not known)", field=name,
            )  # fmt: skip
        if isinstance(rows, pl.DataFrame):
            columns[PROTECTED + name] = as_levels(rows[name])
        else:
            given = [None if row[name] is None else level(str(row[name])) for row in rows]
            columns[PROTECTED + name] = pl.Series(given, dtype=pl.String)
    return groups_of(pl.DataFrame(columns), by)


def choose_thresholds(
    mitigation: Mitigation, positive: str, scores: Floats, group: pl.Series, truth: pl.Series
) -> GroupThresholds:
    """Thresholds by which the groups have equal rates, at the least cost in accuracy on these rows.

    Args:
        scores: probability of the positive label, shape (rows,); of rows that the model was not trained on.
        group, truth: of the same rows.

    Raises:
        DataError: fewer than two groups have at least 30 rows, of both outcomes.

    Source: Hardt, Price and Srebro (2016); fairlearn's ThresholdOptimizer.
    """
    from fairlearn.postprocessing import ThresholdOptimizer

    hit = (truth == positive).to_numpy().astype(np.int64)
    names = group.to_numpy().astype(str)
    kept = [
        n
        for n in sorted(set(names))
        if (names == n).sum() >= MIN_ROWS and 0 < hit[names == n].sum() < (names == n).sum()
    ]
    if len(kept) < 2:
        raise DataError(
            f"recipe.mitigation: fewer than two groups of {', '.join(mitigation.by)} have {MIN_ROWS} validation rows "
            "of both outcomes, so no thresholds can be chosen; wait for more rows or use reweigh",
            field="recipe.mitigation",
        )  # fmt: skip
    at = np.isin(names, kept)
    constraint = next(c for name, c in CONSTRAINTS.items() if mitigation.metric.startswith(name))
    optimiser: Any = ThresholdOptimizer(
        estimator=given_scores(),
        constraints=constraint,
        objective="accuracy_score",
        prefit=True,
        predict_method="predict",
    )
    optimiser.fit(scores[at].reshape(-1, 1), hit[at], sensitive_features=names[at])
    found = optimiser.interpolated_thresholder_.interpolation_dict
    return GroupThresholds(mitigation.by, positive, mitigation.strength, {str(n): _rule(b) for n, b in found.items()})


def _rule(found: Any) -> GroupRule:
    both = (found.operation0, found.operation1)
    bound = float(np.finfo(np.float32).max)  # a threshold that nothing reaches is infinite, which JSON has not
    return GroupRule(
        (float(np.clip(both[0].threshold, -bound, bound)), float(np.clip(both[1].threshold, -bound, bound))),
        (both[0].operator == ">", both[1].operator == ">"),
        (float(found.p0), float(found.p1)), float(getattr(found, "p_ignore", 0.0)),
        float(getattr(found, "prediction_constant", 0.0)),
    )  # fmt: skip


def given_scores() -> Any:
    """What fairlearn asks for scores: they are the rows themselves."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Scores(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no stubs
        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, *_: Any) -> Any:
            return self

        def predict(self, x: Any) -> Any:
            return np.asarray(x)[:, 0]

    return Scores()
