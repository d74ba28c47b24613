"""A class for each text: the head's rows for new classes start from the texts, and are trained with the adapter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from transformers import DataCollatorWithPadding, PreTrainedModel, Trainer

from retrain.train.adapter import Trained
from retrain.train.counts import RowCounts
from retrain.train.data import answered_counts, check_labels, classification_examples
from retrain.train.head import copy_parent_head, head_of, start_new_rows
from retrain.train.hidden_words import hidden_words
from retrain.train.mitigation.texts import weighed, with_swapped
from retrain.train.model import Classifier
from retrain.train.shape import adapter_part, is_whole
from retrain.train.tasks.base import Attempt, Examples, Setting, Training
from retrain.train.tasks.taught import build_taught_classifier
from retrain.train.teacher import Asked, ClassLessons, class_lessons
from retrain.train.trainers import build_classification_trainer

ONE_TRAINING: Final = "a text model is trained once: its points are the champion and the candidate, on held-out rows"


def check(setting: Setting, rows: pl.DataFrame, field: str) -> None:
    if field == "train":  # a held-out row of another class is one that the model gets wrong
        check_labels(rows, setting.config.labels, field)


def counts(setting: Setting, rows: pl.DataFrame) -> RowCounts:
    return answered_counts(rows, setting.tokenizer, setting.config.recipe.max_length)


def examples(setting: Setting, rows: pl.DataFrame) -> Examples:
    config = setting.config
    mitigation = config.recipe.mitigation
    whole = with_swapped(mitigation, rows)
    made, counted = classification_examples(whole, config.labels, setting.tokenizer, config.recipe.max_length)
    kept, facts = weighed(mitigation, whole, made, config.recipe.seed)
    if mitigation is not None:
        added = {"rows_added": whole.height - rows.height, "note": ONE_TRAINING, "points": []}
        facts = {"mitigation": {**mitigation.model_dump(mode="json"), **facts, **added}}
    return Examples(kept, counted, facts)


def before(setting: Setting, model: PreTrainedModel, made: Examples) -> dict[str, Any]:
    config = setting.config
    head = head_of(model.config, config.base_dir)
    parent = None if config.parent_adapter is None else adapter_part(config.parent_adapter)
    if parent is not None and not is_whole(parent):
        copy_parent_head(model, head, parent, config.labels)
    plain = [{name: row[name] for name in ("input_ids", "label")} for row in made.rows]
    new = start_new_rows(model, head, plain, DataCollatorWithPadding(setting.tokenizer))
    share = config.recipe.hide_words if config.teacher is None else 0.0
    hidden = hidden_words(share, setting.tokenizer)
    word = None if hidden is None else setting.tokenizer.convert_ids_to_tokens(hidden.token)
    facts = {"labels_new": [config.labels[i] for i in new], "hidden_as": word}
    return facts | {"rows_in_turns": _rehearse(setting, made.rows, new)}


def _rehearse(setting: Setting, rows: Sequence[dict[str, Any]], new: Sequence[int]) -> int:
    """Mark the rows that take turns in being left out: rehearsed ones, where training goes on from what knows their
    label. Returns how many."""
    config = setting.config
    first = 0 if config.phase is not None else config.rehearsed or 0  # two starts are compared on equal terms
    for row in rows:
        row["rehearsed"] = row["row"] < first and row["label"] not in new
    return sum(row["rehearsed"] for row in rows)


def teach(setting: Setting, rows: pl.DataFrame, _made: Examples, folder: Path, asked: Asked) -> ClassLessons:
    return class_lessons(setting.config, rows["text"].to_list(), rows["label"].to_list(), folder, asked)


def build(setting: Setting, model: Trained, made: Examples, attempt: Attempt) -> Trainer:
    if isinstance(made.lessons, ClassLessons):
        return build_taught_classifier(setting, model, made, attempt, made.lessons)
    given = (attempt.recipe, made.rows, attempt.checkpoints, setting.device, attempt.callbacks, attempt.optimiser)
    return build_classification_trainer(
        model, setting.tokenizer, *given, watched=made.watched, labels=setting.config.labels
    )


def score(setting: Setting, model: Trained, rows: pl.DataFrame) -> list[dict[str, Any]]:
    config = setting.config
    trained = Classifier(model, setting.tokenizer, config.labels, setting.device, config.recipe.max_length)
    names, _ = trained.predict(rows["text"].to_list())
    right = float(np.mean([a == b for a, b in zip(names, rows["label"], strict=True)]))
    return [{"name": "accuracy", "value": right, "unit": "share", "n": rows.height, "rows": "eval"}]


TRAINING: Final = Training(examples, counts, build, score, check=check, before=before, teach=teach)
