"""Rows of a curated dataset: digest checked first, then read, then turned into tokens."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from retrain.train.chat import PLAIN, Fitted, Parts, TextFormat, text_format
from retrain.train.chat_keys import Chat
from retrain.train.config import DatasetFile
from retrain.train.conversation import Dropped
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
    """One `{input_ids, label, row}` per row: label as the index into `labels`, row as its place in the frame.

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
    rows = enumerate(zip(tokens, own, frame["label"], strict=True))
    return [{"input_ids": ids, "label": index[name], "row": i} for i, (ids, kept, name) in rows if kept], counts


def answered_counts(
    frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int, chat: Chat = PLAIN
) -> RowCounts:
    """What `max_length` leaves of rows that a model is judged on: texts, or prompts with one or two answers."""
    if "text" in frame.columns:
        return _texts(frame["text"].to_list(), tokenizer, max_length)[2]
    written = text_format(tokenizer, chat)
    if "rejected" in frame.columns:
        return _counted([_both(*pair) for pair in _pairs(frame, written, "scored", max_length)])
    rows = written.rows(frame["prompt"].to_list(), frame["completion"].to_list())
    return _counted([_fit(parts, written.scored, max_length) for parts in rows])


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
    frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int, chat: Chat = PLAIN
) -> tuple[list[dict[str, list[int]]], RowCounts]:
    """One `{input_ids, labels}` per row with labels on what is learned only: the completion and the token that ends it.

    A row is dropped where nothing of its completion is left, and where it is no conversation that the format takes.

    Returns:
        The examples, and how many rows and tokens give a gradient.

    Raises:
        DataError: no row is left.
    """
    written = text_format(tokenizer, chat)
    rows = written.rows(frame["prompt"].to_list(), frame["completion"].to_list())
    found = [_fit(parts, written.learned, max_length) for parts in rows]
    counts = _counted(found)
    examples = [{"input_ids": row.fitted.ids, "labels": row.fitted.labels} for row in found if row.fitted is not None]
    if not examples:
        raise DataError(
            f"no row has a completion within max_length={max_length} tokens{counts.why}; raise recipe.max_length"
        )
    return examples, counts


def pair_examples(
    frame: pl.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int, chat: Chat = PLAIN
) -> tuple[list[dict[str, Any]], RowCounts]:
    """One `{input_ids, chosen, rejected}` per pair, each answer with labels on itself and its end token only.

    `input_ids` is the longer answer, by which rows are ordered and memory is tried. A pair of which either answer has
    no label left within `max_length` is dropped.

    Returns:
        The examples, and how many pairs and tokens of both their answers give a gradient.

    Raises:
        DataError: no pair is left.
    """
    pairs = _pairs(frame, text_format(tokenizer, chat), "learned", max_length)
    examples = []
    for one, other in pairs:
        if one.fitted is not None and other.fitted is not None:
            answers = [{"input_ids": row.ids, "labels": row.labels} for row in (one.fitted, other.fitted)]
            longest = max((answer["input_ids"] for answer in answers), key=len)
            examples.append({"input_ids": longest, "chosen": answers[0], "rejected": answers[1]})
    counts = _counted([_both(*pair) for pair in pairs])
    if not examples:
        raise DataError(
            f"no pair has room for both answers within max_length={max_length}{counts.why}; raise recipe.max_length"
        )
    return examples, counts


def _pairs(
    frame: pl.DataFrame, written: TextFormat, use: Literal["learned", "scored"], max_length: int
) -> list[tuple["_Row", "_Row"]]:
    """Both answers of each pair within the longest text: the preferred one, and the other."""
    prompts, fit = frame["prompt"].to_list(), getattr(written, use)
    sides = [
        [_fit(parts, fit, max_length) for parts in written.rows(prompts, frame[side].to_list())]
        for side in ("chosen", "rejected")
    ]
    return list(zip(*sides, strict=True))


def _both(one: "_Row", other: "_Row") -> "_Row":
    """A pair as one row: dropped where either answer is, cut where either is cut."""
    whole = one.whole + other.whole
    if one.fitted is None or other.fitted is None:
        return _Row(None, whole, 0, 0, one.reason or other.reason)
    return _Row(one.fitted, whole, one.kept + other.kept, one.gives + other.gives)


def learned_tokens(row: Fitted) -> int:
    """How many labels give a loss: the first token is predicted from nothing."""
    return sum(label != -100 for label in row.labels[1:])


@dataclass(frozen=True, slots=True)
class _Row:
    """A row within the longest text, None where it is dropped; and of all its tokens those read and those learned."""

    fitted: Fitted | None
    whole: int
    kept: int
    gives: int
    reason: str = ""  # why it is dropped, unless for its length


def _fit(parts: Parts | Dropped, fit: Callable[[Parts, int], Fitted | Dropped], max_length: int) -> _Row:
    if isinstance(parts, Dropped):
        return _Row(None, 0, 0, 0, parts.reason)
    whole, row = len(parts.head) + len(parts.tail), fit(parts, max_length)
    if isinstance(row, Dropped):
        return _Row(None, whole, 0, 0, row.reason)
    gives = learned_tokens(row)
    if not gives or len(row.ids) <= row.answer:  # nothing of the answer is left
        return _Row(None, whole, 0, 0)
    return _Row(row, whole, len(row.ids), gives)


def _counted(rows: Sequence[_Row]) -> RowCounts:
    reasons = Counter(row.reason for row in rows if row.reason)
    columns = [row.whole for row in rows], [row.kept for row in rows], [row.gives for row in rows]
    return completion_counts(*columns, dict(reasons.most_common()))
