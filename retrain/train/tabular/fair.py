"""Fairness in the training of a tabular model: weights or draws of its rows, and the trade-off over their strength."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.fairness.positive import positive_class
from retrain.train.errors import DataError
from retrain.train.mitigation import curve
from retrain.train.mitigation.keys import POSITIVE_KEY, STRENGTHS, Mitigation
from retrain.train.mitigation.weights import drawn_rows, groups_of, independent_weights
from retrain.train.tabular.estimators import Tick
from retrain.train.tabular.model import TableModel
from retrain.train.tabular.recipe import TableRunConfig
from retrain.train.tabular.thresholds import GroupThresholds, choose_thresholds
from retrain.train.tabular.training import fit_table

MIN_ROWS: Final = 20  # of a part in which something is fitted or measured
Prepared = tuple[pl.DataFrame, pl.Series, Floats | None]


def prepared(
    mitigation: Mitigation | None, frame: pl.DataFrame, rows: pl.DataFrame, strength: float, seed: int
) -> Prepared:
    """Typed rows, their labels and their weights, as a mitigation wants them trained on.

    Args:
        frame: typed rows.
        rows: the same rows as curated, with `label` and the protected columns.
        strength: of the mitigation, 0..1.
    """
    if mitigation is None or not mitigation.weighs:
        return frame, rows["label"], None
    weights = independent_weights(groups_of(rows, mitigation.by), rows["label"], strength)
    if mitigation.method == "reweigh":
        return frame, rows["label"], weights
    at = drawn_rows(weights, seed)
    return frame[at], rows["label"][at], None


@dataclass(frozen=True, eq=False)
class FairRows:
    """What a run trains on, the thresholds by which its model decides, and the record of its mitigation."""

    frame: pl.DataFrame
    truth: pl.Series
    weights: Floats | None = None
    thresholds: GroupThresholds | None = None
    record: dict[str, Any] | None = None


def fair_rows(config: TableRunConfig, frame: pl.DataFrame, rows: pl.DataFrame, tick: Tick) -> FairRows:
    """The rows of a run as its recipe's mitigation wants them, with the trade-off measured first.

    Args:
        frame: typed rows.
        rows: the same rows as curated, with `label` and the protected columns.

    Raises:
        DataError: thresholds cannot be chosen.
    """
    mitigation = config.recipe.mitigation
    if mitigation is None:
        return FairRows(frame, rows["label"])
    if mitigation.method == "threshold":
        return _with_thresholds(config, mitigation, frame, rows, tick)
    record = strength_curve(config, mitigation, frame, rows, tick)
    made = prepared(mitigation, frame, rows, mitigation.strength, config.recipe.seed)
    return FairRows(*made, record=record)


def _with_thresholds(
    config: TableRunConfig, mitigation: Mitigation, frame: pl.DataFrame, rows: pl.DataFrame, tick: Tick
) -> FairRows:
    """Part of the rows trains the model, half of the rest chooses thresholds, and the other half shows the curve."""
    if len(config.labels) != 2:
        raise DataError(
            f"recipe.mitigation: threshold decides between two labels, the run has {len(config.labels)}; use reweigh",
            field="recipe.mitigation",
        )  # fmt: skip
    positive = _positive(mitigation, config.labels)
    recipe, group = config.recipe, groups_of(rows, mitigation.by)
    held = curve.held_back(rows, group, mitigation.validation, recipe.seed)
    shown = np.zeros_like(held)
    shown[np.flatnonzero(held)] = curve.held_back(rows.filter(held), group.filter(held), 0.5, recipe.seed)
    chooses = held & ~shown
    kept = FairRows(frame.filter(~held), rows["label"].filter(~held))
    model, _ = fit_table(
        recipe, config.columns, config.labels, kept.frame, kept.truth, threads=config.threads, tick=tick
    )
    scores = model.scores(frame.filter(chooses))[:, config.labels.index(positive)]
    thresholds = choose_thresholds(mitigation, positive, scores, group.filter(chooses), rows["label"].filter(chooses))
    points = []
    for strength in sorted({*STRENGTHS, mitigation.strength}):
        tried = replace(model, thresholds=replace(thresholds, strength=strength))
        points.append(_measured(tried, mitigation, f"strength {strength:g}", frame, rows, group, shown))
    note = (
        f"the model learned {kept.frame.height} rows, its thresholds were chosen on {int(chooses.sum())} others, and "
        f"the curve is measured on {int(shown.sum())} more"
    )
    record = curve.record(mitigation, f"strength {mitigation.strength:g}", points, note)
    record["thresholds"] = thresholds.document
    return replace(kept, thresholds=thresholds, record=record)


def _positive(mitigation: Mitigation, labels: Sequence[str]) -> str:
    """The label that counts as positive, as the trade-off reads it."""
    found = positive_class(mitigation.positive, labels, key=POSITIVE_KEY)
    if found.level is None or found.reason is not None:
        raise DataError(f"recipe.mitigation.positive: {found.reason}", field="recipe.mitigation.positive")
    return found.level


def strength_curve(
    config: TableRunConfig, mitigation: Mitigation, frame: pl.DataFrame, rows: pl.DataFrame, tick: Tick
) -> dict[str, Any]:
    """The trade-off over the strength: each point is a model fitted on part of the training rows, and measured on the
    rest."""
    recipe, group = config.recipe, groups_of(rows, mitigation.by)
    held = curve.held_back(rows, group, mitigation.validation, recipe.seed)
    chosen = f"strength {mitigation.strength:g}"
    if min(int(held.sum()), int((~held).sum())) < MIN_ROWS:
        return curve.record(mitigation, chosen, (), f"{rows.height} training rows are too few to measure a trade-off")
    points = []
    for strength in sorted({*STRENGTHS, mitigation.strength}):
        made = prepared(mitigation, frame.filter(~held), rows.filter(~held), strength, recipe.seed)
        model, _ = fit_table(recipe, config.columns, config.labels, *made, threads=config.threads, tick=tick)
        points.append(_measured(model, mitigation, f"strength {strength:g}", frame, rows, group, held))
    note = (
        f"each point was fitted without the {int(held.sum())} rows it is measured on; the model itself learns all rows"
    )
    return curve.record(mitigation, chosen, points, note)


def _measured(
    model: TableModel, mitigation: Mitigation, setting: str, frame: pl.DataFrame, rows: pl.DataFrame,
    group: pl.Series, held: Any,
) -> dict[str, Any]:  # fmt: skip
    given = frame.filter(held)
    answers = model.decided(given, model.scores(given), group.filter(held))
    return curve.point(mitigation, setting, group.filter(held), rows["label"].filter(held).to_list(), answers)
