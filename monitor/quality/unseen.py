"""Categories that the reference does not contain."""

import polars as pl

from monitor.levels import as_levels, level
from monitor.quality.base import MAX_LEVELS, Learned, QualityCheck


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """The levels of the reference.

    Args:
        frame: column `value` of reference rows, compared as text, shape (rows,).
        _limits: not read.

    Returns:
        `levels` in ascending order. None if there are more than 5,000: these are names rather than categories.
    """
    levels = as_levels(frame["value"]).drop_nulls().unique().sort().to_list()
    return {"levels": levels} if len(levels) <= MAX_LEVELS else None


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Flag rows whose level the reference does not contain.

    Args:
        frame: column `value`, compared as text, shape (rows,).
        learned: `levels`, from `learn`.

    Returns:
        Whether each level is unseen, shape (rows,); null if it is missing.
    """
    known = [level(name) for name in learned["levels"]]  # an older reference was learned from other spellings
    return ~as_levels(frame["value"]).is_in([name for name in known if name is not None])


CHECK = QualityCheck("unseen", "column", learn, flag, types=("category", "boolean"), halved=True, members=flag)
