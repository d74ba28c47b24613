"""From labelled rows to a training set, the held-out new rows and the old hold-out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from retrain.curate.dedupe import KEY, dedupe, same_row, with_key
from retrain.curate.focus import REHEARSED, Focus
from retrain.curate.rehearse import rehearsal_rows
from retrain.curate.select import Drops, Shape
from retrain.curate.split import (
    HELD_OUT_SHARE,
    MIN_CLASS_ROWS,
    by_time,
    classes,
    held_old,
    keep_apart,
    without_leakage,
)  # fmt: skip
from retrain.envelope import Plan
from retrain.errors import TooFewRowsError

MIN_NEW_ROWS: Final = 20
MAX_HOLDOUT_ROWS: Final = 2000


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to choose from; all frames have the rows of `retrain.curate.select`."""

    new: pl.DataFrame  # events since what the champion was made for, or labelled or corrected since
    old: pl.DataFrame  # labelled events before
    train: Sequence[pl.DataFrame] = ()  # registered datasets of role train
    holdout: Sequence[pl.DataFrame] = ()  # registered datasets of role holdout
    taught: frozenset[str] = frozenset()  # keys of the texts the champion was trained on
    corrected: frozenset[str] = frozenset()  # of `new`, earlier events; those the champion learned are never held out
    focus: Focus | None = None  # the rows that the run is about, where it was started for new classes alone


@dataclass(frozen=True, slots=True)
class Split:
    """One dataset to be written: its rows, what was left out, and how it was chosen."""

    rows: pl.DataFrame
    drops: Drops
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curated:
    train: Split
    eval: Split
    holdout: Split
    labels: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def curate(material: Material, shape: Shape, plan: Plan, known: tuple[str, ...]) -> Curated:
    """Choose the rows of a run; the result depends on the rows and the plan alone.

    Raises:
        TooFewRowsError: fewer than MIN_NEW_ROWS new rows are left, or none to train on.
    """
    train_drops, eval_drops, hold_drops = Drops(), Drops(), Drops()
    new = dedupe(with_key(material.new))
    train_drops.add("repeats a later text", new.repeats)
    if new.rows.height < MIN_NEW_ROWS:
        raise TooFewRowsError(
            f"{new.rows.height} different labelled texts since the champion was made, at least {MIN_NEW_ROWS} needed; "
            "wait for outcomes",
            rows=new.rows.height,
        )
    early, held, about = _split(material, new.rows, plan, train_drops)
    if held.is_empty():
        raise TooFewRowsError(
            f"none of the {new.rows.height} different labelled texts can be held out: all are corrections of what the "
            "champion learned, or of persons who are trained on; wait for outcomes of new events",
            rows=new.rows.height,
        )
    old = dedupe(with_key(material.old))
    train_drops.add("repeats a later text", old.repeats)
    holdout, old_rest = old_holdout(material, old.rows, hold_drops)
    fresh = without_leakage(early, holdout)
    train_drops.add("text is in the old hold-out", fresh.leaked)
    train_drops.add("the person is in the old hold-out", fresh.persons)
    fresh_rows = fresh.train.tail(plan.envelope.max_rows)
    train_drops.add("above envelope.max_rows, oldest first", fresh.train.height - fresh_rows.height)
    pool = _pool(material, old_rest, new.rows, (held, holdout), train_drops)
    size = min(plan.rehearsal.size(pool.height), plan.envelope.max_rows - fresh_rows.height)
    if material.focus is not None:
        size = min(size, REHEARSED * fresh_rows.height)
    again = rehearsal_rows(pool, size, plan.recipe.seed)
    train_drops.add("not sampled for rehearsal", pool.height - again.height)
    train = pl.concat([again, fresh_rows], how="vertical")

    labels: tuple[str, ...] = ()
    facts: dict[str, Any] = {
        "new_rows": fresh_rows.height, "replay_rows": again.height, "conflicting_texts": new.conflicts + old.conflicts,
        "held_out_share": HELD_OUT_SHARE, "seed": plan.recipe.seed,
        **({"focus": material.focus.record} if material.focus else {}),
    }  # fmt: skip
    if shape.classifies:
        found = classes(train, held, known)
        labels = found.labels
        facts |= {
            "labels_left_out": found.too_few, "labels_unseen": found.unseen, "min_class_rows": MIN_CLASS_ROWS,
            "held_out_rows_without_answer": found.unanswerable,
        }  # fmt: skip
        train = _with_labels(train, labels, train_drops)  # held-out rows stay: an answer that cannot be given is wrong
        again = again.filter(pl.col("label").is_in(labels))
    facts["rehearsed"] = again.height  # the first rows of the training set
    if train.height == 0:
        raise TooFewRowsError("no row is left to train on; register a dataset or wait for outcomes", rows=0)
    return Curated(
        Split(train, train_drops, (about, "rehearsal: older rows, stratified by label")),
        Split(held, eval_drops, (f"last {HELD_OUT_SHARE:.0%} of the new rows in time",)),
        Split(holdout, hold_drops, (_hold_filter(material),)),
        labels,
        facts,
    )


def _split(material: Material, new: pl.DataFrame, plan: Plan, drops: Drops) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """(new rows to train on, held-out new rows, what the first are in words).

    A text whose label was corrected after the champion learned it is trained on again: the champion repeats the label
    that it was taught, so it could not be judged by it.
    """
    again = pl.col("row_id").is_in(list(material.corrected)) & pl.col(KEY).is_in(list(material.taught))
    mine, corrected = new.filter(~again), new.filter(again)
    if material.focus is None:
        early, held = by_time(mine)
        about = "first part of the new rows in time"
    else:
        early, held, others = material.focus.split(mine, plan.recipe.seed)
        drops.add("not among the new classes that the run is for", others)
        about = f"first part in time of {material.focus.words}"
    apart = keep_apart(early, held)
    drops.add("the person is on the other side of the split", apart.dropped)
    apart = keep_apart(apart.early, apart.held, by=KEY)
    drops.add("the prompt is on the other side of the split", apart.dropped)
    corrections = without_leakage(corrected, apart.held)
    drops.add("text is held out", corrections.leaked)
    drops.add("the person is on the other side of the split", corrections.persons)
    if corrected.height:
        about += ", and texts that the champion learned and whose label was corrected since"
    return pl.concat([corrections.train, apart.early], how="vertical"), apart.held, about


def _hold_filter(material: Material) -> str:
    if material.holdout:
        return "registered datasets of role holdout"
    return "the fifth of the older labelled persons, else texts, whose digest falls in part 0, never trained on"


def old_holdout(material: Material, old: pl.DataFrame, drops: Drops) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(old hold-out, old rows that may be rehearsed)."""
    if material.holdout:
        found = dedupe(with_key(pl.concat(list(material.holdout), how="vertical")))
        drops.add("repeats a later text", found.repeats)
        chosen, rest = found.rows, old
    else:
        mask = held_old(old)
        untaught = old.filter(mask).filter(~pl.col(KEY).is_in(list(material.taught)))
        drops.add("the champion was trained on it", int(mask.sum()) - untaught.height)
        chosen, rest = untaught, old.filter(~mask)
    kept = rehearsal_rows(chosen, MAX_HOLDOUT_ROWS, seed=0)
    drops.add(f"above {MAX_HOLDOUT_ROWS} rows", chosen.height - kept.height)
    return kept, rest


def _pool(
    material: Material, old: pl.DataFrame, new: pl.DataFrame, held: Sequence[pl.DataFrame], drops: Drops
) -> pl.DataFrame:
    """Older rows that may be trained on again; where a text came back, its newer label counts."""
    older = pl.concat([*map(with_key, material.train), old], how="vertical")
    found = dedupe(older)
    drops.add("repeats a later text", found.repeats)
    clean = without_leakage(found.rows, *held)
    drops.add("text is held out", clean.leaked)
    drops.add("the person is held out", clean.persons)
    same = same_row(new)
    pool = clean.train.join(new.select(same), on=same, how="anti", maintain_order="left")
    drops.add("repeats a later text", clean.train.height - pool.height)
    return pool


def _with_labels(frame: pl.DataFrame, labels: tuple[str, ...], drops: Drops) -> pl.DataFrame:
    kept = frame.filter(pl.col("label").is_in(labels))
    drops.add("label is not among the challenger's", frame.height - kept.height)
    return kept
