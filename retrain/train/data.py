"""Rows of a curated dataset: digest checked first, then read, then turned into tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from retrain.train.config import DatasetFile
from retrain.train.errors import DataDigestError, DataError, WeightsNotFoundError
from retrain.train.weights import file_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def read_rows(file: DatasetFile, field: str, columns: Sequence[str]) -> pl.DataFrame:
    """Read a dataset whose bytes have the declared digest.

    Raises:
        DataDigestError: the file is not the one that was curated.
        DataError: a column is missing or not text, a cell is null, or there is no row.
    """
    if not file.path.is_file():
        raise WeightsNotFoundError(f"{field}.path", file.path, "does not exist; curate the dataset again")
    found = file_digest(file.path)
    if found != file.sha256:
        raise DataDigestError(field, file.path, file.sha256, found)
    frame = pl.read_parquet(file.path)
    for name in columns:
        if name not in frame.columns or frame.schema[name] not in (pl.String, pl.Categorical):
            raise DataError(f"{field}: {file.path} has no text column {name!r}; its columns are {frame.columns}")
        if nulls := frame[name].null_count():
            raise DataError(f"{field}: column {name!r} of {file.path} has {nulls} empty cells; drop those rows")
    if frame.height == 0:
        raise DataError(f"{field}: {file.path} has no rows; widen the selection")
    return frame.with_columns(pl.col(name).cast(pl.String) for name in columns)


def check_labels(frame: pl.DataFrame, labels: Sequence[str], field: str) -> None:
    if unknown := sorted(set(frame["label"].unique()) - set(labels)):
        raise DataError(f"{field}: labels {unknown[:5]} are not in the config's labels; add them there", labels=unknown)


def classification_examples(
    frame: pl.DataFrame, labels: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> list[dict[str, Any]]:
    """One `{input_ids, label}` per row, label as the index into `labels`."""
    index = {name: i for i, name in enumerate(labels)}
    tokens = tokenizer(frame["text"].to_list(), truncation=True, max_length=max_length)["input_ids"]
    return [{"input_ids": ids, "label": index[name]} for ids, name in zip(tokens, frame["label"], strict=True)]


def completion_examples(
    frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[list[dict[str, list[int]]], int]:
    """One `{input_ids, labels}` per row with labels on the completion (and its end token) only.

    Prompt and completion are tokenised apart, so the boundary never depends on how they merge. A row whose prompt
    alone fills `max_length` would have no label left; it is dropped.

    Returns:
        The examples, and how many rows were dropped.

    Raises:
        DataError: no row has room for a label.
    """
    prompts = tokenizer(frame["prompt"].to_list(), add_special_tokens=False)["input_ids"]
    completions = tokenizer(frame["completion"].to_list(), add_special_tokens=False)["input_ids"]
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    examples = []
    for prompt, completion in zip(prompts, completions, strict=True):
        head, tail = [*start, *prompt], [*completion, *end]
        if len(head) < max_length and tail:
            ids = [*head, *tail][:max_length]
            examples.append({"input_ids": ids, "labels": [-100] * len(head) + ids[len(head) :]})
    if not examples:
        raise DataError(f"no row has a completion within max_length={max_length} tokens; raise recipe.max_length")
    return examples, frame.height - len(examples)
