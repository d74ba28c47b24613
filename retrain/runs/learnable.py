"""Whether the labels that have arrived can teach a classifier anything, looked at before a run is queued."""

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl
from sqlalchemy.orm import Session

from core.errors import AppError
from monitor.levels import level
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.problems import nearest
from monitor.tables import Dataset
from retrain import store
from retrain.curate.select import Shape
from retrain.curate.service import old_end
from retrain.curate.split import MIN_CLASS_ROWS
from retrain.envelope import Plan
from retrain.gates.labels import none_shared
from retrain.learned import learned_inputs
from retrain.tables import ModelVersion
from retrain.teaching import base_of, made_under
from retrain.train.tabular.model import declared_columns


def _unknown_names(
    db: Session, current: CurrentSpec, plan: Plan, rows: pl.DataFrame, champion: ModelVersion
) -> str | None:
    """What of a recipe names nothing that exists by now, so that a run would end in vain; None where all exists.

    Args:
        rows: labelled events, with a column `label`.
    """
    weights, policy = plan.recipe.class_weights, current.spec.retrain
    if isinstance(weights, Mapping):
        known = {*champion.answers, *rows["label"].unique()}
        for role in ("train", "holdout"):
            for dataset in store.registered_datasets(db, current.model.id, role):
                known |= set(_rows_by_label(dataset))
        if unknown := sorted(set(weights) - known):
            shown = ", ".join(sorted(known)[:20])
            return (
                f"retrain.recipe.class_weights names {unknown[0]!r}, which no outcome, no registered dataset and no "
                f"class of the champion is{nearest(unknown[0], sorted(known))}; choose from {shown}"
            )
    golden = policy is not None and "golden" in policy.gates
    if golden and not store.registered_datasets(db, current.model.id, "golden"):
        return (
            "retrain.gates has golden, and no dataset of role golden is registered, so every run would end unjudged; "
            "register one, or leave golden out"
        )
    return None


def _rows_by_label(dataset: Dataset) -> Counter[str]:
    """Rows of a registered dataset by label, as levels: an older one was counted by other spellings."""
    found = Counter[str]()
    for name, rows in dataset.provenance["labels"].items():
        found[level(str(name)) or str(name)] += int(rows)
    return found


def _weightless(plan: Plan, names: Sequence[str]) -> str | None:
    """Why weights of 0 leave nothing to tell apart; a label that is not listed has weight 1."""
    weights = plan.recipe.class_weights
    counts = [name for name in names if not isinstance(weights, Mapping) or weights.get(name, 1.0) > 0]
    if len(counts) > 1:
        return None
    return (
        f"retrain.recipe.class_weights gives a weight above 0 to {counts[0] if counts else 'none'} of the classes with "
        f"rows, {', '.join(sorted(names)[:20])}, so that no two could be told apart; raise the weight of another"
    )


def unlearnable(site: Site, db: Session, current: CurrentSpec) -> str | None:
    """Why a run would learn nothing or could not be judged; None where it may, or another blocker says what is wrong.

    A classifier that is trained on rows of one class answers that class to everything, and held-out rows of the same
    class call it perfect. One whose champion shares no label with the outcomes ends at its gates, whatever it learned.
    """
    try:
        plan = Plan.of(current.spec)
        shape = Shape.of(current.spec, plan.recipe.task)
    except AppError:  # the envelope's blocker says it
        return None
    champion = store.champion(db, current.model.id)
    if champion is not None and shape.table and (words := _reads_more(site, champion, plan, shape)) is not None:
        return words
    if champion is not None and not shape.table and (words := _reads_others(db, champion, shape)) is not None:
        return words
    shape = shape.spelled(champion.answers if champion is not None else ())
    if not shape.classifies or champion is None:
        return None
    frame = site.events.labelled(current.model.name, columns=["seq"])
    if shape.label not in frame.columns:
        return None
    rows = frame.select("seq", shape.labels(frame, shape.label)).drop_nulls("label")
    if rows.is_empty():
        return None
    if (words := _unknown_names(db, current, plan, rows, champion)) is not None:
        return words
    held = set(rows["label"].unique())  # what gates compare: held-out rows are of these, or of registered datasets
    held |= {name for d in store.registered_datasets(db, current.model.id, "holdout") for name in _rows_by_label(d)}
    if (words := none_shared(held, set(champion.answers))) is not None:
        return words
    again = plan.rehearsal.size(1_000_000) > 0  # older rows are trained on too
    read = rows if again else rows.filter(pl.col("seq") >= old_end(db, current.model, champion))
    counts: Counter[str] = Counter(dict(read.group_by("label").len().iter_rows()))
    for dataset in store.registered_datasets(db, current.model.id, "train") if again else ():
        counts.update(_rows_by_label(dataset))
    fresh = MIN_CLASS_ROWS  # rows without which a class that the champion does not know is left out
    usable = [name for name, n in counts.items() if n >= fresh or name in champion.answers]
    if len(usable) > 1:
        return _weightless(plan, usable)
    known = ", ".join(champion.answers) or "none by name"
    shown = ", ".join(f"{name} ({n})" for name, n in counts.most_common(5))
    return (
        f"of {shape.label}, fewer than two classes have rows to learn from: {shown}; the champion's classes: {known}. "
        f"A new class needs {fresh} rows. Wait for outcomes of other classes, or register a dataset of role train"
    )


def _reads_others(db: Session, champion: ModelVersion, shape: Shape) -> str | None:
    """Why a champion of texts could not be compared: it was made for other inputs than those a text is made of now."""
    made = made_under(db, champion)
    then = set(shape.inputs) if made is None else set(learned_inputs(made))
    if then == set(shape.inputs):
        return None
    return (
        f"champion {champion.version} was made to read {', '.join(sorted(then))}, and the spec now declares the inputs "
        f"{', '.join(shape.inputs)}, so both could not be compared on the same texts; declare its inputs again, or "
        "declare the model with the new ones under another name"
    )


def _reads_more(site: Site, champion: ModelVersion, plan: Plan, shape: Shape) -> str | None:
    """Why a champion of tables could not be compared: it reads a column that rows of this spec do not have."""
    try:
        own = site.artifacts.path(champion.adapter) if champion.adapter is not None else None
        gone = [n for n in declared_columns(own or base_of(site, champion, plan.recipe)) if n not in shape.inputs]
    except (AppError, OSError):  # a file of the champion is not there; the run says which
        return None
    if not gone:
        return None
    return (
        f"champion {champion.version} reads {', '.join(gone)}, which the spec no longer declares as input, so it could "
        "not be compared on rows without it; declare it again, or declare the model without it under another name"
    )
