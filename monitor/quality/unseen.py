"""Categories the reference never had."""

import polars as pl

from monitor.quality.base import MOST_LEVELS, Check, Learned


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """Levels of the reference; None with more than 5,000, which are names rather than categories."""
    levels = frame["value"].cast(pl.String).drop_nulls().unique().sort().to_list()
    return {"levels": levels} if len(levels) <= MOST_LEVELS else None


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Rows of a level that is not among those learned; a missing one does not count."""
    values = frame["value"].cast(pl.String)
    return ~values.is_in(learned["levels"])


CHECK = Check("unseen", "column", learn, flag, types=("category", "boolean"), halved=True)
