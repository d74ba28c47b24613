"""The held-out rows on which a version that exists is judged again; nothing is trained on. Pure."""

import polars as pl

from retrain.curate.curation import MAX_HOLDOUT_ROWS, Curated, Material, Split, old_holdout
from retrain.curate.dedupe import KEY, dedupe, with_key
from retrain.curate.select import Drops


def judged_again(material: Material, labels: tuple[str, ...]) -> Curated:
    """All new rows that no version was taught, the newest of them, and the old hold-out without such rows.

    `material.taught` has the texts of every training set that either version may have learned from. With few new
    rows since, few are left, and a gate that needs more says so.
    """
    drops, old_drops = Drops(), Drops()
    new = dedupe(with_key(material.new))
    drops.add("repeats a later text", new.repeats)
    untaught = new.rows.filter(~pl.col(KEY).is_in(list(material.taught)))
    drops.add("a version was trained on it", new.rows.height - untaught.height)
    held = untaught.sort("ts", "seq").tail(MAX_HOLDOUT_ROWS)
    drops.add(f"above {MAX_HOLDOUT_ROWS} rows, oldest first", untaught.height - held.height)
    old = dedupe(with_key(material.old))
    holdout, _ = old_holdout(material, old.rows, old_drops)
    unseen = holdout.filter(~pl.col(KEY).is_in(list(material.taught)))
    old_drops.add("a version was trained on it", holdout.height - unseen.height)
    return Curated(
        Split(held.clear(), Drops(), ("nothing is trained on",)),
        Split(held, drops, ("new rows that no version was trained on",)),
        Split(unseen, old_drops, ("the old hold-out, without rows that a version was trained on",)),
        labels,
        {"judged_again": True, "conflicting_texts": new.conflicts + old.conflicts},
    )
