"""The baseline: bins, levels and text encoders taken from reference rows, and the reference's block profiles."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import IntegrityFailureError, InvalidError
from monitor.coding import (
    FOLDS,
    NULL,
    CategoryLevels,
    CodedColumns,
    Coding,
    Floats,
    Ints,
    NumberBins,
    category_values,
    number_values,
    text_columns,
)
from monitor.profile import BlockProfile, merge_all, profile_coded
from monitor.profile_bytes import pack, unpack
from monitor.text import TextEncoder, fit_text

ColumnKind = Literal["number", "category", "text"]

FORMAT: Final = "assay-baseline/1"
BINS: Final = 256
TEXT_BINS: Final = 64
EDGES_TESTED: Final = 31
KEPT_LEVELS: Final = 30
KEPT_CLUSTERS: Final = 48
SAMPLED_ROWS: Final = 50_000
MINIMUM_LEVEL_ROWS: Final = 10
DICTIONARY: Final = 65_536
ENCODER_SHARE: Final = 0.6

_ALL_TESTS: Final = ("location", "spread", "below", "missing")
# Text is watched by few functionals: each more raises the bar for all others. The upper quantiles of unknown words and
# of distance are where a new kind of request shows first; nulls are counted once, on the length.
_TEXT_GRID: Final[Mapping[str, tuple[float, ...]]] = {"oov": (0.5, 0.75, 0.9), "distance": (0.5, 0.75, 0.9)}
_TEXT_TESTS: Final[Mapping[str, tuple[str, ...]]] = {
    "oov": ("location", "below"),
    "distance": ("location", "below"),
    "length": ("location", "spread", "missing"),
}


@dataclass(frozen=True, eq=False)
class Baseline:
    """What windows are compared with. `blocks` are the reference rows not spent on fitting text encoders.

    `labels`: number of each block as the caller counts them, ascending; a label without rows has no block. `parts`: how
    many numbers one block of the decision rule spans (4 where days are kept by quarters), else 1.
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
        """The fold of each block: whole blocks of the rule are dealt in turn, so no fold holds the nights alone."""
        return _folds(np.array(self.labels, dtype=np.int64), self.parts)

    @cached_property
    def total(self) -> BlockProfile:
        return merge_all(self.blocks)

    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """A zip of plain arrays and one JSON header; equal baselines give equal bytes."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, bins in self.coding.numbers.items():
            arrays[f"number/{name}"] = bins.edges
        for name, levels in self.coding.categories.items():
            arrays[f"category/{name}"] = levels.counts
        for name, encoder in self.coding.texts.items():
            arrays |= {f"text/{name}/{part}": values for part, values in encoder.arrays().items()}
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
    def from_bytes(cls, data: bytes) -> "Baseline":
        """Raises IntegrityFailureError when the bytes are not a baseline of this format."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as members:
                header = json.loads(members["header"].tobytes())
                if header["format"] != FORMAT:
                    raise ValueError(f"format {header['format']!r}, {FORMAT!r} expected")
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
            raise IntegrityFailureError(f"these {len(data)} bytes are no baseline: {error}", bytes=len(data)) from error


def _coding(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Coding:
    def encoder(name: str) -> TextEncoder:
        mine = f"text/{name}"
        return TextEncoder.from_arrays(
            {k.rsplit("/", 1)[1]: v for k, v in arrays.items() if k.rsplit("/", 1)[0] == mine}
        )

    return Coding(
        numbers={
            n: NumberBins(arrays[f"number/{n}"], tuple(grid), tuple(tests)) for n, grid, tests in header["numbers"]
        },
        categories={
            n: _levels(tuple(kept), tuple(levels), arrays[f"category/{n}"], most)
            for n, most, kept, levels in header["categories"]
        },
        texts={n: encoder(n) for n in header["texts"]},
    )


def fit_baseline(
    frame: pl.DataFrame,
    columns: Mapping[str, ColumnKind],
    *,
    blocks: int | NDArray[np.int64],
    parts: int = 1,
    seed: int = 0,
    encoder_share: float = ENCODER_SHARE,
    encoder_texts: Mapping[str, Sequence[str | None]] | None = None,
) -> Baseline:
    """Fit a baseline on reference rows in time order.

    Args:
        frame: the reference rows.
        columns: kind of each column to watch.
        blocks: number of equal blocks, or the block number of each row, shape (rows,). Later windows have to be cut in
            blocks of the same length (days, hours, or rows).
        parts: consecutive numbers that make one block of the decision rule: 4 for quarters of a day, numbered so that
            a multiple of 4 begins a day.
        seed: of the text encoders.
        encoder_share: share of the blocks, the earliest, spent on fitting text encoders; 0..1, used with text columns
            only. These rows are not profiled, for no column: all columns are judged on the same blocks.
        encoder_texts: other texts to fit the encoders on, by column, such as the model's training set; every reference
            block is then profiled, which shows smaller changes. They must not contain reference rows or later ones.

    Raises:
        InvalidError: no rows, no columns, an absent column, a wrong type, or too few blocks.
        InsufficientDataError: too few texts for an encoder.
    """
    names, labels = _labels(frame.height, blocks)
    if not columns:
        raise InvalidError("columns is empty; name at least one column to watch", columns=[])
    texts = [name for name, kind in columns.items() if kind == "text"]
    total = int(labels.max()) + 1
    given = encoder_texts or {}
    spent = min(total - 1, max(1, round(encoder_share * total))) if set(texts) - set(given) else 0
    if set(texts) - set(given) and total < 2:
        raise InvalidError("a text column needs two blocks: one for the encoder, one to compare with", blocks=total)
    for_encoders = frame.filter(pl.Series(labels < spent))
    rest = frame.filter(pl.Series(labels >= spent))
    at = labels[labels >= spent] - spent
    encoders = {
        name: fit_text(given.get(name) or category_values(for_encoders, name).to_list(), seed=seed, column=name)
        for name in texts
    }
    kept = names[spent:]
    folds = _folds(kept, parts)[at]
    numbers: dict[str, NumberBins] = {}
    categories: dict[str, CategoryLevels] = {}
    values: dict[str, Floats] = {}
    codes: dict[str, Ints] = {}
    new: dict[str, Sequence[str]] = {}  # of levels beyond a full dictionary
    for name, kind in columns.items():
        if kind == "number":
            values[name] = number_values(rest, name)
            numbers[name] = _number_bins(values[name], BINS, EDGES_TESTED, seed)
        elif kind == "category":
            coded = _category_levels(category_values(rest, name), folds, KEPT_LEVELS)
            categories[name], codes[name], new[name] = coded
        else:
            derived, cluster = text_columns(rest, name, encoders[name])
            for derived_name, derived_values in derived.items():
                values[derived_name] = derived_values
                numbers[derived_name] = _text_bins(derived_values, derived_name.removeprefix(f"{name}."), seed)
            coded = _category_levels(cluster, folds, KEPT_CLUSTERS)
            categories[f"{name}.cluster"], codes[f"{name}.cluster"], new[f"{name}.cluster"] = coded
    coding = Coding(numbers, categories, encoders)
    return Baseline(
        columns=dict(columns),
        coding=coding,
        blocks=profile_coded(CodedColumns(values, codes, new), coding, at, total - spent),
        labels=tuple(kept.tolist()),
        parts=parts,
        rows_for_encoders=for_encoders.height,
        seed=seed,
    )


def _labels(rows: int, blocks: int | NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Numbers of the blocks that have rows, ascending, and the place of each row's block among them."""
    if not rows:
        raise InvalidError("the reference has no rows; wait for events or name another baseline", rows=0)
    if isinstance(blocks, int | np.integer):
        if not 1 <= blocks <= rows:
            raise InvalidError(f"blocks is {blocks} for {rows} rows; give 1 to {rows}", blocks=int(blocks), rows=rows)
        return np.arange(blocks, dtype=np.int64), (np.arange(rows, dtype=np.int64) * int(blocks)) // rows
    labels = np.asarray(blocks)
    if len(labels) != rows:
        raise InvalidError(f"blocks has {len(labels)} entries for {rows} rows; give one per row", blocks=len(labels))
    names, at = np.unique(labels, return_inverse=True)
    return names.astype(np.int64), at.astype(np.int64)


def _folds(labels: Ints, parts: int) -> Ints:
    whole = np.unique(labels // parts, return_inverse=True)[1].astype(np.int64)
    return whole % min(FOLDS, int(whole.max(initial=0)) + 1)


def _number_bins(values: Floats, most: int, tested: int, seed: int) -> NumberBins:
    x, smallest = _sorted(values, seed)
    edges = _edges(x, most)
    quantiles = np.arange(1, tested + 1) / (tested + 1)
    return NumberBins(edges, _grid(x, edges, quantiles, smallest), _ALL_TESTS)


def _text_bins(values: Floats, derived: str, seed: int) -> NumberBins:
    x, smallest = _sorted(values, seed)
    edges = _edges(x, TEXT_BINS)
    grid = _grid(x, edges, np.array(_TEXT_GRID.get(derived, ())), smallest)
    return NumberBins(edges, grid, _TEXT_TESTS.get(derived, ("location",)))


def _sorted(values: Floats, seed: int) -> tuple[Floats, float]:
    """Values in order, and the share of the smallest one among all.

    Of many rows a sample: edges need not lie at the quantiles exactly, for shares are counted on all rows. The
    smallest and the largest value are kept, and every value where there are few.
    """
    if len(values) > SAMPLED_ROWS:
        chosen = values[np.random.default_rng(seed).integers(0, len(values), SAMPLED_ROWS)]
        x = np.sort(chosen[np.isfinite(chosen)])
        if 2 * np.count_nonzero(np.diff(x)) + 3 > BINS:
            low, high = np.fmin.reduce(values), np.fmax.reduce(values)
            return np.concatenate([[low], x, [high]]), float(np.mean(values == low))
    x = np.sort(values[np.isfinite(values)])
    return x, float(np.mean(x == x[0])) if len(x) else 0.0


def _edges(x: Floats, most: int) -> Floats:
    """Quantile edges. With few distinct values each value gets a bin of its own and each gap between two another."""
    if not len(x):
        return np.zeros(0)
    distinct = x[np.diff(x, prepend=-np.inf) > 0]
    if 2 * len(distinct) + 1 <= most:
        return np.unique(np.concatenate([np.nextafter(distinct, -np.inf), distinct]))
    # Fewer than 256 bins, for the two open bins and the bin of the minimum come on top.
    cuts = _quantiles(x, np.linspace(0.0, 1.0, most - 2))
    return np.unique(np.concatenate([[np.nextafter(x[0], -np.inf)], cuts]))


def _quantiles(x: Floats, shares: Floats) -> Floats:
    """Smallest values that as large a share of the sorted values does not exceed (`inverted_cdf` of numpy)."""
    at = np.clip(np.ceil(shares * len(x) - 1e-9).astype(np.int64) - 1, 0, len(x) - 1)
    return x[at]


def _grid(x: Floats, edges: Floats, quantiles: Floats, smallest: float) -> tuple[int, ...]:
    """Indices of the edges at the quantiles.

    Where the smallest value is common, the edge below it is tested too: at it shows a value smaller than a constant.
    Where it is rare, no row of the reference lies below its own minimum by construction, but rows of any window do.
    """
    if not len(x) or not len(quantiles):
        return ()
    at = {int(i) for i in np.searchsorted(edges, _quantiles(x, quantiles), side="left")}
    if smallest >= 1 / (EDGES_TESTED + 1):
        at.add(0)
    return tuple(sorted(at))


def _category_levels(values: pl.Series, folds: Ints, most: int) -> tuple[CategoryLevels, Ints, Sequence[str]]:
    """The levels of the reference, and its own values coded by them; see `CodedColumns`."""
    number = int(folds.max()) + 1
    every = values.unique().drop_nulls().sort()
    at = values.replace_strict(every, pl.int_range(len(every), eager=True), default=NULL, return_dtype=pl.Int64)
    codes = at.to_numpy().astype(np.int64)
    present = codes >= 0
    counts = np.bincount(codes[present] * number + folds[present], minlength=len(every) * number)
    counts = counts.reshape(len(every), number).astype(np.int64)
    levels, new = every.to_list(), []
    if len(levels) > DICTIONARY:
        # Which levels stay is decided by their hash, not by their counts: a choice by count would fit the reference.
        order = sorted(range(len(levels)), key=lambda i: hashlib.blake2b(levels[i].encode(), digest_size=8).digest())
        place = np.concatenate([sorted(order[:DICTIONARY]), sorted(order[DICTIONARY:])])
        moved = np.empty(len(levels), dtype=np.int64)
        moved[place] = np.arange(len(levels))
        codes[present] = moved[codes[present]]
        named = [levels[i] for i in place]
        levels, new, counts = named[:DICTIONARY], named[DICTIONARY:], counts[place[:DICTIONARY]]
    kept = tuple(levels[i] for i in _most_frequent(counts.sum(axis=1), most, MINIMUM_LEVEL_ROWS))
    return _levels(kept, tuple(levels), counts, most), codes, new


def _most_frequent(counts: Ints, most: int, minimum: float) -> list[int]:
    order = np.argsort(-counts, kind="stable")[:most]
    return [int(i) for i in order if counts[i] > minimum]


def _levels(kept: tuple[str, ...], levels: tuple[str, ...], counts: Ints, most: int) -> CategoryLevels:
    folds = counts.shape[1]
    listed = np.zeros(counts.shape, dtype=bool)
    known = np.zeros(counts.shape, dtype=bool)
    for fold in range(folds):
        without = counts.sum(axis=1) - counts[:, fold]
        known[:, fold] = without > 0
        listed[_most_frequent(without, most, MINIMUM_LEVEL_ROWS * (1 - 1 / folds)), fold] = True
    return CategoryLevels(kept, levels, counts, most, listed, known)
