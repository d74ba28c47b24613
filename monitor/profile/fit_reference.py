"""Fit a reference profile on reference rows: bins, levels and encoders, then the profiles of its blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Ints
from core.errors import InvalidError
from monitor.profile.block import ColumnCounts, assemble_profiles
from monitor.profile.by_column import Rows, column_names, each_column, row_count
from monitor.profile.clusters import cluster_words
from monitor.profile.coding import (
    CategoryLevels,
    Coding,
    NumberBins,
    as_numbers,
    as_strings,
    as_vectors,
    derived_columns,
    dimensions_of,
)
from monitor.profile.counting import BlockIndex, count_levels, count_numbers, index_blocks
from monitor.profile.fit_column import MAX_CLUSTER_LEVELS, MAX_LEVELS, category_levels, derived_bins, number_bins
from monitor.profile.reference_profile import ColumnKind, ReferenceProfile, assign_folds
from monitor.profile.text_encoder import TextEncoder, fit_text
from monitor.profile.vector_encoder import VectorEncoder, fit_vectors

DEFAULT_ENCODER_SHARE: Final = 0.6
_ENCODED_KINDS: Final = ("text", "vector", "encoded")


def fit_reference(
    rows: Rows,
    columns: Mapping[str, ColumnKind],
    *,
    blocks: int | NDArray[np.int64],
    parts: int = 1,
    seed: int = 0,
    encoder_share: float = DEFAULT_ENCODER_SHARE,
    encoder_texts: Mapping[str, Sequence[str | None]] | None = None,
    person: str | None = None,
) -> ReferenceProfile:
    """Fit a reference profile on reference rows in time order.

    Args:
        rows: the reference rows; of a query, a few columns are in memory at a time.
        columns: kind of each column to watch.
        blocks: number of equal blocks, or the block number of each row, shape (rows,). Later windows must be divided
            into blocks of the same length (days, hours, or rows).
        parts: how many consecutive block numbers make up one block of the decision rule: 4 for quarters of a day, where
            each day begins at a multiple of 4.
        seed: of the encoders and of the samples that bins are fitted on.
        encoder_share: share of the blocks, 0..1, from the earliest on, that encoders are fitted on; used with texts and
            vectors only. These rows are not profiled for any column, so all columns are judged on the same blocks.
        encoder_texts: by column, other texts to fit the encoder on, such as the model's training set. Every reference
            block is then profiled, so smaller changes can be detected. They must not contain reference rows or later
            rows.
        person: column that names the person a row belongs to; words of clusters are kept only where several people use
            them.

    Returns:
        The profile; the same rows and seed give the same bytes.

    Raises:
        InvalidError: there are no rows, no columns or too few blocks; or a column is absent or has the wrong type.
        InsufficientDataError: there are too few texts or vectors for an encoder.
    """
    names, labels = _number_blocks(row_count(rows), blocks)
    if not columns:
        raise InvalidError("columns is empty; name at least one column to watch", columns=[])
    given = {name: texts for name, texts in (encoder_texts or {}).items() if columns.get(name) == "text"}
    unfitted = [name for name, kind in columns.items() if kind in _ENCODED_KINDS and name not in given]
    total = len(names)
    if unfitted and total < 2:
        raise InvalidError(
            "a text or vector column needs two blocks, one for the encoder and one to compare windows with",
            blocks=total,
        )
    spent = min(total - 1, max(1, round(encoder_share * total))) if unfitted else 0
    rest = labels >= spent
    kept, at = names[spent:], labels[rest] - spent
    folds, index = assign_folds(kept, parts)[at], index_blocks(at, total - spent)

    people = _people(rows, person, ~rest) if set(_ENCODED_KINDS) & set(columns.values()) else None

    def fitted(series: pl.Series) -> _FittedColumn:
        name = series.name
        profiled = series.filter(pl.Series(rest)) if spent else series
        match columns[name]:
            case "number":
                return _fit_number(profiled, index, seed)
            case "category":
                return _fit_category(as_strings(profiled), folds, MAX_LEVELS, index)
        spared = series.filter(pl.Series(~rest))
        encoders = _encoders(spared, columns[name], given.get(name), people, seed)
        return _fit_encoded(profiled, encoders, folds, index, seed)

    by_column = each_column(rows, list(columns), fitted)
    coding = _coding_of(by_column)
    return ReferenceProfile(
        columns=dict(columns),
        coding=coding,
        blocks=assemble_profiles([one.counted for one in by_column.values()], coding, index),
        labels=tuple(kept.tolist()),
        parts=parts,
        rows_for_encoders=len(labels) - len(at),
        seed=seed,
    )


@dataclass(frozen=True, eq=False)
class _Encoders:
    """The encoders of one column. `words`: for a text, the words that distinguish each cluster."""

    text: TextEncoder | None = None
    vector: VectorEncoder | None = None
    words: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class _FittedColumn:
    """What one column adds to the coding, and its counts in every block."""

    numbers: Mapping[str, NumberBins]
    categories: Mapping[str, CategoryLevels]
    counted: ColumnCounts
    encoders: _Encoders = _Encoders()


def _coding_of(by_column: Mapping[str, _FittedColumn]) -> Coding:
    return Coding(
        {name: bins for one in by_column.values() for name, bins in one.numbers.items()},
        {name: levels for one in by_column.values() for name, levels in one.categories.items()},
        {name: one.encoders.text for name, one in by_column.items() if one.encoders.text is not None},
        {name: one.encoders.vector for name, one in by_column.items() if one.encoders.vector is not None},
        {name: one.encoders.words for name, one in by_column.items() if one.encoders.text is not None},
    )


def _fit_number(series: pl.Series, index: BlockIndex, seed: int) -> _FittedColumn:
    values = as_numbers(series)
    bins = number_bins(values, seed)
    return _FittedColumn({series.name: bins}, {}, ColumnCounts({series.name: count_numbers(values, bins, index)}, {}))


def _fit_category(values: pl.Series, folds: Ints, most: int, index: BlockIndex) -> _FittedColumn:
    levels, codes, new = category_levels(values, folds, most)
    return _FittedColumn(
        {}, {values.name: levels}, ColumnCounts({}, {values.name: count_levels(codes, new, levels, index)})
    )


def _people(rows: Rows, person: str | None, chosen: NDArray[np.bool_]) -> list[str | None] | None:
    """The person that each chosen row belongs to; None where no column names one."""
    if person is None or person not in column_names(rows):
        return None
    return as_strings(rows.lazy().select(person).collect()[person].filter(pl.Series(chosen))).to_list()


def _encoders(
    series: pl.Series,
    kind: ColumnKind,
    given: Sequence[str | None] | None,
    people: Sequence[str | None] | None,
    seed: int,
) -> _Encoders:
    """The encoders of one column, fitted on rows that are not profiled, or on the texts given for it."""
    vector = None
    if kind in ("vector", "encoded"):
        matrix = as_vectors(series, dimensions_of(series))
        vector = fit_vectors(matrix, seed=seed, column=series.name)
        if kind == "vector":
            return _Encoders(vector=vector)
    texts = given or as_strings(series).to_list()
    text = fit_text(texts, seed=seed, column=series.name)
    clusters = text.nearest(texts) if vector is None else vector.encode(matrix).cluster
    return _Encoders(text, vector, cluster_words(texts, clusters, None if given else people))


def _fit_encoded(series: pl.Series, encoders: _Encoders, folds: Ints, index: BlockIndex, seed: int) -> _FittedColumn:
    derived, cluster = derived_columns(series, encoders.text, encoders.vector)
    of_text = encoders.text is not None
    bins = {
        name: derived_bins(values, name.removeprefix(f"{series.name}."), seed, of_text=of_text)
        for name, values in derived.items()
    }
    mix = _fit_category(cluster, folds, MAX_CLUSTER_LEVELS, index)
    counted = ColumnCounts(
        {name: count_numbers(values, bins[name], index) for name, values in derived.items()}, mix.counted.categories
    )
    return _FittedColumn(bins, mix.categories, counted, encoders)


def _number_blocks(rows: int, blocks: int | NDArray[np.int64]) -> tuple[Ints, Ints]:
    """The numbers of the blocks that have rows, ascending, and the index of each row's block among them."""
    if not rows:
        raise InvalidError("the reference has no rows; wait for events, or change `baseline`", rows=0)
    if isinstance(blocks, int | np.integer):
        if not 1 <= blocks <= rows:
            raise InvalidError(f"blocks is {blocks} for {rows} rows; give 1 to {rows}", blocks=int(blocks), rows=rows)
        return np.arange(blocks, dtype=np.int64), (np.arange(rows, dtype=np.int64) * int(blocks)) // rows
    labels = np.asarray(blocks)
    if len(labels) != rows:
        raise InvalidError(f"blocks has {len(labels)} entries for {rows} rows; give one per row", blocks=len(labels))
    names, at = np.unique(labels, return_inverse=True)
    return names.astype(np.int64), at.astype(np.int64)
