"""Categories that the reference does not contain."""

import polars as pl

from monitor.quality.base import MAX_LEVELS, Learned, QualityCheck


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """The levels of the reference.

    Args:
        frame: column `value` of reference rows, compared as text, shape (rows,).
        _limits: not read.

    Returns:
        `levels` in ascending order. None if there are more than 5,000: these are names rather than categories.
    """
    levels = frame["value"].cast(pl.String).drop_nulls().unique().sort().to_list()
    return {"levels": levels} if len(levels) <= MAX_LEVELS else None


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Flag rows whose level the reference does not contain.

    Args:
        frame: column `value`, compared as text, shape (rows,).
        learned: `levels`, from `learn`.

    Returns:
        Whether each level is unseen, shape (rows,); null if it is missing.
    """
    values = frame["value"].cast(pl.String)
    return ~values.is_in(learned["levels"])


CHECK = QualityCheck("unseen", "column", learn, flag, types=("category", "boolean"), halved=True, members=flag)
