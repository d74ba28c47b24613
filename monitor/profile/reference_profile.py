"""The reference profile: bins, levels and encoders fitted on reference rows, and the reference's block profiles."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Ints
from core.errors import IntegrityFailureError, InvalidError
from monitor.profile.block import BlockProfile, ColumnCounts, assemble_profiles, merge_all, without_column
from monitor.profile.by_column import Rows, column_names, each_column, row_count
from monitor.profile.clusters import cluster_words
from monitor.profile.codec import pack, unpack
from monitor.profile.coding import (
    DERIVED_PARTS,
    MAX_FOLDS,
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
from monitor.profile.fitting import (
    MAX_CLUSTER_LEVELS,
    MAX_LEVELS,
    category_levels,
    derived_bins,
    levels_of,
    number_bins,
)
from monitor.profile.text_encoder import TextEncoder, fit_text
from monitor.profile.vector_encoder import VectorEncoder, fit_vectors

# `encoded`: a column of texts beside the vectors that a model encoded them as; see `monitor.reference.encode`.
ColumnKind = Literal["number", "category", "text", "vector", "encoded"]

FORMAT: Final = "assay-baseline/1"
DEFAULT_ENCODER_SHARE: Final = 0.6
_ENCODED_KINDS: Final = ("text", "vector", "encoded")


@dataclass(frozen=True, eq=False)
class ReferenceProfile:
    """What windows are compared with.

    `blocks`: profiles of the reference rows that were not used to fit encoders. `labels`: number of each block as the
    caller counts them, ascending; a label without rows has no block. `parts`: profile blocks in one block of the
    decision rule, 4 where days are profiled in quarters, else 1. `rows_for_encoders`: number of rows used for encoders.
    """

    columns: Mapping[str, ColumnKind]
    coding: Coding
    blocks: tuple[BlockProfile, ...]
    labels: tuple[int, ...]
    parts: int
    rows_for_encoders: int
    seed: int

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)

    @property
    def fold_of(self) -> Ints:
        """The fold of each block. Folds take complete blocks of the rule in turn, so none consists of nights only."""
        return _assign_folds(np.array(self.labels, dtype=np.int64), self.parts)

    @cached_property
    def total(self) -> BlockProfile:
        return merge_all(self.blocks)

    def without(self, column: str) -> "ReferenceProfile":
        """The same reference without one column and without the columns derived from it."""
        own = (column, *(f"{column}.{part}" for part in DERIVED_PARTS))
        coding = Coding(
            {n: bins for n, bins in self.coding.numbers.items() if n not in own},
            {n: levels for n, levels in self.coding.categories.items() if n not in own},
            {n: encoder for n, encoder in self.coding.texts.items() if n != column},
            {n: encoder for n, encoder in self.coding.vectors.items() if n != column},
            self.coding.words,
        )
        return replace(
            self, columns={n: kind for n, kind in self.columns.items() if n != column}, coding=coding,
            blocks=tuple(without_column(block, column) for block in self.blocks),
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """A zip of plain arrays and one JSON header; equal profiles give equal bytes."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, bins in self.coding.numbers.items():
            arrays[f"number/{name}"] = bins.edges
        for name, levels in self.coding.categories.items():
            arrays[f"category/{name}"] = levels.counts
        for name, encoder in self.coding.texts.items():
            arrays |= {f"text/{name}/{part}": values for part, values in encoder.arrays().items()}
        for name, of_vectors in self.coding.vectors.items():
            arrays |= {f"vector/{name}/{part}": values for part, values in of_vectors.arrays().items()}
        packed = [pack(block) for block in self.blocks]
        arrays["blocks/counts"] = np.stack([ints for ints, _, _ in packed])
        arrays["blocks/moments"] = np.stack([floats for _, floats, _ in packed])
        # Members are numbered, so that a column name never becomes a path inside the archive.
        names = sorted(arrays)
        header = {
            "format": FORMAT,
            "arrays": names,
            "columns": list(self.columns.items()),
            "numbers": [[n, b.grid, b.tests] for n, b in self.coding.numbers.items()],
            "categories": [[n, c.most, c.kept, c.levels] for n, c in self.coding.categories.items()],
            "texts": list(self.coding.texts),
            "vectors": list(self.coding.vectors),
            "words": self.coding.words,
            "hitters": [hitters for _, _, hitters in packed],
            "labels": self.labels,
            "parts": self.parts,
            "rows_for_encoders": self.rows_for_encoders,
            "seed": self.seed,
        }
        text = json.dumps(header, separators=(",", ":"), sort_keys=True, allow_nan=False)
        members = {"header": np.frombuffer(text.encode(), dtype=np.uint8)}
        members |= {f"a{i}": arrays[name] for i, name in enumerate(names)}
        out = io.BytesIO()
        np.savez_compressed(out, allow_pickle=False, **cast("dict[str, Any]", members))
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ReferenceProfile":
        """The reference profile that `to_bytes` wrote.

        Raises:
            IntegrityFailureError: the bytes are not a reference profile of this format.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as members:
                header = json.loads(members["header"].tobytes())
                if header["format"] != FORMAT:
                    raise ValueError(f"its format is {header['format']!r}, not {FORMAT!r}")
                arrays = {name: members[f"a{i}"] for i, name in enumerate(header["arrays"])}
            coding = _coding(header, arrays)
            parts = zip(arrays["blocks/counts"], arrays["blocks/moments"], header["hitters"], strict=True)
            return cls(
                columns=dict(header["columns"]),
                coding=coding,
                blocks=tuple(unpack(ints, floats, hitters, coding) for ints, floats, hitters in parts),
                labels=tuple(header["labels"]),
                parts=header["parts"],
                rows_for_encoders=header["rows_for_encoders"],
                seed=header["seed"],
            )
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            message = f"these {len(data)} bytes are not a reference profile: {error}"
            raise IntegrityFailureError(message, bytes=len(data)) from error


def _coding(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Coding:
    def parts(mine: str) -> dict[str, NDArray[Any]]:
        return {k.rsplit("/", 1)[1]: v for k, v in arrays.items() if k.rsplit("/", 1)[0] == mine}

    return Coding(
        numbers={
            n: NumberBins(arrays[f"number/{n}"], tuple(grid), tuple(tests)) for n, grid, tests in header["numbers"]
        },
        categories={
            n: levels_of(tuple(kept), tuple(levels), arrays[f"category/{n}"], most)
            for n, most, kept, levels in header["categories"]
        },
        texts={n: TextEncoder.from_arrays(parts(f"text/{n}")) for n in header["texts"]},
        vectors={n: VectorEncoder.from_arrays(parts(f"vector/{n}")) for n in header["vectors"]},
        words={n: tuple(tuple(words) for words in clusters) for n, clusters in header["words"].items()},
    )


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
    folds, index = _assign_folds(kept, parts)[at], index_blocks(at, total - spent)

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

    found = each_column(rows, list(columns), fitted)
    coding = Coding(
        {name: bins for one in found.values() for name, bins in one.numbers.items()},
        {name: levels for one in found.values() for name, levels in one.categories.items()},
        {name: one.encoders.text for name, one in found.items() if one.encoders.text is not None},
        {name: one.encoders.vector for name, one in found.items() if one.encoders.vector is not None},
        {name: one.encoders.words for name, one in found.items() if one.encoders.text is not None},
    )
    return ReferenceProfile(
        columns=dict(columns),
        coding=coding,
        blocks=assemble_profiles([one.counted for one in found.values()], coding, index),
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


def _assign_folds(labels: Ints, parts: int) -> Ints:
    whole = np.unique(labels // parts, return_inverse=True)[1].astype(np.int64)
    return whole % min(MAX_FOLDS, int(whole.max(initial=0)) + 1)
