"""The catalogue of drift statistics of raw rows. They are computed to confirm an alarm, not in every window."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from core.errors import InsufficientDataError
from monitor.drift.rows import domain_classifier, frechet, mmd, pca_reconstruction
from monitor.drift.rows.base import RowMethod, RowScore, features
from monitor.profile.reference_profile import ColumnKind

ROW_METHODS: Final = {
    m.name: m for m in (domain_classifier.METHOD, frechet.METHOD, mmd.METHOD, pca_reconstruction.METHOD)
}


def row_scores(
    reference: pl.DataFrame, window: pl.DataFrame, columns: Mapping[str, ColumnKind], *, seed: int = 0
) -> list[RowScore]:
    """Every statistic over all number, category and vector columns together.

    Args:
        reference: reference rows, with the columns below.
        window: rows of the window, with the same columns.
        columns: kind of each watched column.
        seed: of shuffles and splits.

    Returns:
        One score per statistic; None with a reason if it is undefined.

    Source: the docstring of each statistic.
    """
    before, after = features(reference, window, columns)
    found = []
    for method in ROW_METHODS.values():
        value, reason = None, None
        if not before.shape[1]:
            reason = "no column of numbers, categories or vectors is watched"
        else:
            try:
                value = method.compute(before, after, seed)
            except InsufficientDataError as error:
                reason = error.message
        found.append(
            RowScore(method.name, value, reason, method.unit, method.unchanged, len(before), len(after))
        )  # fmt: skip
    return found


__all__ = ["ROW_METHODS", "RowMethod", "RowScore", "row_scores"]
