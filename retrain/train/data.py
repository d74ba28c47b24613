"""Rows of a curated dataset: digest checked first, then read, then turned into tokens."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from retrain.train.config import DatasetFile
from retrain.train.counts import RowCounts, classification_counts, completion_counts
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
) -> tuple[list[dict[str, Any]], RowCounts]:
    """One `{input_ids, label}` per row, label as the index into `labels`.

    A row of whose text no token is left within `max_length` teaches nothing; it is dropped.

    Returns:
        The examples, and how many rows and tokens give a gradient.

    Raises:
        DataError: no row has a token of its text left.
    """
    index = {name: i for i, name in enumerate(labels)}
    tokens, own, counts = _texts(frame["text"].to_list(), tokenizer, max_length)
    if not counts.rows_learned:
        raise DataError(f"no row has a token of its text within max_length={max_length}; raise recipe.max_length")
    rows = zip(tokens, own, frame["label"], strict=True)
    return [{"input_ids": ids, "label": index[name]} for ids, kept, name in rows if kept], counts


def answered_counts(frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> RowCounts:
    """What `max_length` leaves of rows that a model answers to be judged: texts, or prompts with their completions."""
    if "text" in frame.columns:
        return _texts(frame["text"].to_list(), tokenizer, max_length)[2]
    return _scored(frame, tokenizer, max_length)


def _texts(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[list[list[int]], list[int], RowCounts]:
    """Tokens of each text within `max_length`, how many of them are the text's own, and the counts."""
    cut = tokenizer(list(texts), truncation=True, max_length=max_length, return_special_tokens_mask=True)
    whole = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    own = [len(mask) - sum(mask) for mask in cut["special_tokens_mask"]]
    tokens = cut["input_ids"]
    return tokens, own, classification_counts([len(ids) for ids in whole], [len(ids) for ids in tokens], own)


def completion_examples(
    frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[list[dict[str, list[int]]], RowCounts]:
    """One `{input_ids, labels}` per row with labels on the completion (and its end token) only.

    Prompt and completion are tokenised apart, so the boundary never depends on how they merge. A row whose prompt
    alone fills `max_length` would have no label left; it is dropped.

    Returns:
        The examples, and how many rows and tokens give a gradient.

    Raises:
        DataError: no row has room for a label.
    """
    examples, lengths, kept, learned = [], [], [], []
    for head, tail in _parts(frame, tokenizer):
        ids = [*head, *tail][:max_length]
        labels = [-100] * min(len(head), len(ids)) + ids[len(head) :]
        gives = sum(label != -100 for label in labels[1:])  # the first token is predicted from nothing
        if gives:
            examples.append({"input_ids": ids, "labels": labels})
        lengths.append(len(head) + len(tail))
        kept.append(len(ids) if gives else 0)
        learned.append(gives)
    if not examples:
        raise DataError(f"no row has a completion within max_length={max_length} tokens; raise recipe.max_length")
    return examples, completion_counts(lengths, kept, learned)


def pair_examples(
    frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[list[dict[str, Any]], RowCounts]:
    """One `{input_ids, chosen, rejected}` per pair, each answer with labels on itself and its end token only.

    `input_ids` is the longer answer, by which rows are ordered and memory is tried. A pair of which either answer has
    no label left within `max_length` is dropped.

    Returns:
        The examples, and how many pairs and tokens of both their answers give a gradient.

    Raises:
        DataError: no pair is left.
    """
    examples, lengths, kept, learned = [], [], [], []
    sides = [frame.select("prompt", pl.col(side).alias("completion")) for side in ("chosen", "rejected")]
    for pair in zip(*(_parts(side, tokenizer) for side in sides), strict=True):
        answers = []
        for head, tail in pair:
            ids = [*head, *tail][:max_length]
            answers.append({"input_ids": ids, "labels": [-100] * min(len(head), len(ids)) + ids[len(head) :]})
        gives = [sum(label != -100 for label in answer["labels"][1:]) for answer in answers]
        whole = all(gives)
        if whole:
            longest = max((answer["input_ids"] for answer in answers), key=len)
            examples.append({"input_ids": longest, "chosen": answers[0], "rejected": answers[1]})
        lengths.append(sum(len(head) + len(tail) for head, tail in pair))
        kept.append(sum(len(answer["input_ids"]) for answer in answers) if whole else 0)
        learned.append(sum(gives) if whole else 0)
    if not examples:
        raise DataError(f"no pair has room for both answers within max_length={max_length}; raise recipe.max_length")
    return examples, completion_counts(lengths, kept, learned)


def _scored(frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> RowCounts:
    """Counts of completions that are scored: unlike in training, of a long prompt its end is kept."""
    lengths, kept, scored = [], [], []
    for head, tail in _parts(frame, tokenizer):
        prompt = min(len(head), max_length - 1)
        ids = min(prompt + len(tail), max_length)
        lengths.append(len(head) + len(tail))
        scored.append(max(0, ids - max(1, prompt)))
        kept.append(ids if scored[-1] else 0)
    return completion_counts(lengths, kept, scored)


def _parts(frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase") -> Iterator[tuple[list[int], list[int]]]:
    """The tokens of each row's prompt and of its completion, with those that begin and end a row."""
    prompts = tokenizer(frame["prompt"].to_list(), add_special_tokens=False, verbose=False)["input_ids"]
    completions = tokenizer(frame["completion"].to_list(), add_special_tokens=False, verbose=False)["input_ids"]
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    for prompt, completion in zip(prompts, completions, strict=True):
        yield [*start, *prompt], [*completion, *end]
