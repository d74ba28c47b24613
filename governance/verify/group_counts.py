"""Counts of groups as a window stored them, read with the standard library alone: a bundle carries them as bytes.

The form is that of `monitor.fairness.counts_codec`: `AGC1`, the length of the head (4 bytes, little endian), the head
(JSON: columns, measures, the texts of each key, lines, length of the next part); then, deflated, of each key the place
of its text (-1: none) as 32-bit and the rows as 64-bit integers; then, of each measure, the number of rows that have
it, their sum and their sum of squares, as 64-bit floats.
"""

import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MAGIC: Final = b"AGC1"
MISSING: Final = "(missing)"
MOST: Final = 1 << 28  # bytes of one window's counts, unpacked
Sums = dict[str, tuple[float, float, float]]  # by measure: rows that have it, their sum and sum of squares
Line = tuple[tuple[str, ...], str | None, str | None, int, Sums]  # levels, outcome, prediction, rows, sums


@dataclass
class Tally:
    """Rows of one group by (outcome, prediction) against one class: 0 not it, 1 it, outcome 2 not known yet."""

    cells: Counter[tuple[int, int]] = field(default_factory=Counter)
    sums: Sums = field(default_factory=dict)

    def add(self, sums: Sums) -> None:
        for name, parts in sums.items():
            n, total, square = self.sums.get(name, (0.0, 0.0, 0.0))
            self.sums[name] = (n + parts[0], total + parts[1], square + parts[2])

    def having(self, *measures: str) -> int:
        """Rows that have the first of these measures that is counted."""
        return round(next((self.sums[name][0] for name in measures if name in self.sums), 0.0))

    def of(self, outcomes: Iterable[int], predictions: Iterable[int] = (0, 1)) -> int:
        answers = tuple(predictions)
        return sum(self.cells[o, p] for o in outcomes for p in answers)


@dataclass
class WindowCounts:
    """The lines of one or several windows; a protected column that a window lacks is `(missing)` in its rows."""

    columns: tuple[str, ...] = ()
    lines: list[Line] = field(default_factory=list)

    def add(self, data: bytes) -> None:
        """Take in the counts of one more window.

        Raises:
            ValueError: the bytes are no such counts.
        """
        columns, lines = read_counts(data)
        merged = tuple(dict.fromkeys((*self.columns, *columns)))
        if merged != self.columns:  # of many windows that count the same columns, each line is placed once
            self.lines = [(_placed(line[0], self.columns, merged), *line[1:]) for line in self.lines]
        self.lines += [(_placed(line[0], columns, merged), *line[1:]) for line in lines]
        self.columns = merged

    def groups(self, by: Sequence[str], positive: str | None) -> dict[str, Tally]:
        """The groups that some columns form, by name, with their rows that have a prediction.

        Args:
            positive: the class that counts; None: a prediction counts if it is right, and every outcome does.
        """
        places = [self.columns.index(name) for name in by]
        found: dict[str, Tally] = {}
        for levels, outcome, prediction, rows, sums in self.lines:
            named = [levels[place] for place in places]
            tally = found.setdefault(group_name(by, named), Tally())
            tally.add(sums)
            if prediction is None:
                continue
            if positive is None:
                key = (2 if outcome is None else 1, int(outcome is not None and prediction == outcome))
            else:
                key = (2 if outcome is None else int(outcome == positive), int(prediction == positive))
            tally.cells[key] += rows
        return found

    def columns_of(self, named: str) -> tuple[str, ...]:
        """The columns of an intersection by the name that a report gives it; none if one of them was not counted."""
        found = tuple(named.split(" & "))  # no name of a column has this sign
        return found if set(found) <= set(self.columns) else ()


def group_name(by: Sequence[str], levels: Sequence[str]) -> str:
    """As a report names a group: the level of one column; `sex=F & race=Black` for an intersection."""
    return levels[0] if len(by) == 1 else " & ".join(f"{c}={v}" for c, v in zip(by, levels, strict=True))


def read_counts(data: bytes) -> tuple[tuple[str, ...], list[Line]]:
    """Columns and lines of one window.

    Raises:
        ValueError: the bytes are no such counts.
    """
    try:
        if data[:4] != MAGIC:
            raise ValueError(f"they begin with {data[:4]!r}")
        (length,) = struct.unpack_from("<I", data, 4)
        head: dict[str, Any] = json.loads(data[8 : 8 + length])
        columns, texts, lines = tuple(map(str, head["columns"])), head["texts"], int(head["lines"])
        whole = zlib.decompressobj().decompress(data[8 + length : 8 + length + int(head["packed"])], MOST)
        keys = len(columns) + 2
        codes = [struct.unpack_from(f"<{lines}i", whole, at * lines * 4) for at in range(keys)]
        rows = struct.unpack_from(f"<{lines}q", whole, (keys + 1) * lines * 4)  # after the bins of the score
        floats, measures = 8 + length + int(head["packed"]), tuple(map(str, head["measures"]))
        parts = [struct.unpack_from(f"<{lines}d", data, floats + at * lines * 8) for at in range(3 * len(measures))]
        told = [[None if code < 0 else str(texts[at][code]) for code in codes[at]] for at in range(keys)]
    except (KeyError, TypeError, IndexError, struct.error, zlib.error) as error:
        raise ValueError(f"these bytes are no counts of groups: {error}") from error
    levels = [tuple(text or MISSING for text in line) for line in zip(*told[:-2], strict=True)] or [()] * lines
    sums = [
        {name: (parts[3 * at][i], parts[3 * at + 1][i], parts[3 * at + 2][i]) for at, name in enumerate(measures)}
        for i in range(lines)
    ]
    return columns, list(zip(levels, told[-2], told[-1], rows, sums, strict=True))


def _placed(levels: tuple[str, ...], own: tuple[str, ...], merged: tuple[str, ...]) -> tuple[str, ...]:
    if own == merged:
        return levels
    known = dict(zip(own, levels, strict=True))
    return tuple(known.get(name, MISSING) for name in merged)
