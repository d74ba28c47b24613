"""The reference profile: bins, levels and encoders fitted on reference rows, and the reference's block profiles."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from core.arrays import Ints
from core.errors import IntegrityFailureError
from monitor.profile.block import BlockProfile, merge_all, without_column
from monitor.profile.codec import pack, unpack
from monitor.profile.coding import DERIVED_PARTS, MAX_FOLDS, Coding, NumberBins
from monitor.profile.fit_column import levels_of
from monitor.profile.text_encoder import TextEncoder
from monitor.profile.vector_encoder import VectorEncoder

# `encoded`: a column of texts with the vectors that a model encoded them as; see `monitor.reference.encode`.
ColumnKind = Literal["number", "category", "text", "vector", "encoded"]

FORMAT: Final = "assay-baseline/1"


@dataclass(frozen=True, eq=False)
class ReferenceProfile:
    """What windows are compared with.

    `blocks`: profiles of the reference rows that were not used to fit encoders. `labels`: number of each block as the
    caller counts them, ascending; a label without rows has no block. `design_effects`: by column, how many rows count
    as one under the early rule; empty where it was not asked for. `parts`: profile blocks in one block of the
    decision rule, 4 where days are profiled in quarters, else 1. `rows_for_encoders`: number of rows used for encoders.
    """

    columns: Mapping[str, ColumnKind]
    coding: Coding
    blocks: tuple[BlockProfile, ...]
    labels: tuple[int, ...]
    parts: int
    rows_for_encoders: int
    seed: int
    design_effects: Mapping[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)

    @property
    def fold_of(self) -> Ints:
        """The fold of each block. Folds take complete blocks of the rule in turn, so none consists of nights only."""
        return assign_folds(np.array(self.labels, dtype=np.int64), self.parts)

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
        } | ({"design_effects": dict(self.design_effects)} if self.design_effects else {})
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
                design_effects=header.get("design_effects", {}),
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


def assign_folds(labels: Ints, parts: int) -> Ints:
    """The fold of each block, 0..3 or fewer; complete blocks of the rule take the folds in turn.

    Args:
        labels: number of each profile block, ascending, shape (blocks,).
        parts: profile blocks in one block of the rule.
    """
    whole = np.unique(labels // parts, return_inverse=True)[1].astype(np.int64)
    return whole % min(MAX_FOLDS, int(whole.max(initial=0)) + 1)
