"""Find the NDJSON lines that are flat objects of declared columns with values of the declared kinds, from bytes alone.

Polars reads JSON fast and nearly strictly, but it turns 3 into "3" for a text column, half of a surrogate pair into
NUL, keeps the first of two equal keys and drops undeclared ones. This scan finds the lines where that could happen,
without creating an object per row: quote positions are numpy arrays, and keys are compared as 64-bit words. The scan
does not parse: a line that passes is good only if a strict JSON parser accepts it too. The scan checks only the opening
bracket of a list. A list with a string or an object fails by its quotes, and Polars accepts only numbers and nulls in a
list of numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Flags
from monitor.spec.columns import ColumnType

Positions = NDArray[np.int64]
Words = NDArray[np.uint64]

_TEXT, _NUMBER, _BOOLEAN, _NULL, _LIST = 1, 2, 4, 8, 16
_KINDS: Final[Mapping[ColumnType, int]] = {
    "number": _NUMBER | _NULL, "boolean": _BOOLEAN | _NULL, "category": _TEXT | _NULL, "string": _TEXT | _NULL,
    "text": _TEXT | _NULL, "vector": _LIST | _NULL,
    "texts": _NULL,  # a list of texts goes to the row-by-row reader
}  # fmt: skip
_FIRST_BYTE: Final = np.zeros(256, dtype=np.uint8)
for _kind, _bytes in ((_TEXT, b'"'), (_NUMBER, b"-0123456789"), (_BOOLEAN, b"tf"), (_NULL, b"n"), (_LIST, b"[")):
    _FIRST_BYTE[list(_bytes)] = _kind
_QUOTE, _COLON, _SPACE, _BRACE, _BACKSLASH, _NEWLINE = b'": {\\\n'

BLOCK_BYTES: Final = 1 << 19  # bytes scanned together; the intermediate arrays stay in the CPU cache
MAX_LINE_BYTES: Final = 4 << 20  # a longer line is not scanned: its quote positions may take 24 times its size


class KeySpans:
    """The declared column names as 8-byte words, so that thousands of keys are compared at once."""

    def __init__(self, columns: Mapping[str, ColumnType]) -> None:
        names = [name.encode() for name in columns]
        self.lengths = np.array([len(n) for n in names])
        self.width = -(-max(map(len, names)) // 8) * 8
        self.words = np.frombuffer(b"".join(n.ljust(self.width, b"\0") for n in names), dtype=np.uint64)
        self.words = self.words.reshape(len(names), -1)
        self.allowed = np.array([_KINDS[kind] for kind in columns.values()], dtype=np.uint8)
        lengths = np.arange(self.width + 1)
        in_key = (np.arange(self.width) < lengths[:, None]).astype(np.uint8) * np.uint8(255)
        self.masks = in_key.view(np.uint64)  # by length: the bytes of the window that belong to the key
        hashes = _mixed(self.words)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, window: Words, lengths: Positions) -> tuple[Positions, Flags]:
        """Return the column of each key, and whether the key is a declared column."""
        masked = window & self.masks[np.minimum(lengths, self.width)]
        at = np.minimum(np.searchsorted(self._hashes, _mixed(masked)), len(self._hashes) - 1)
        column = self._order[at]
        return column, (masked == self.words[column]).all(axis=1) & (lengths == self.lengths[column])


def _mixed(words: Words) -> Words:
    """Return a hash per row; it only finds candidates, equality is decided on the words."""
    factors = (np.arange(words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed: Words = (words * factors).sum(axis=1, dtype=np.uint64)
    return mixed


@dataclass(frozen=True, slots=True)
class Lines:
    """Start and end of each line (without its newline), and whether it passed; all of shape (lines,)."""

    starts: Positions
    ends: Positions
    passed: Flags


def scan(body: bytes, keys: KeySpans, *, block: int = BLOCK_BYTES) -> Lines:
    """Scan each line of `body`; the last may lack its newline."""
    at, parts = 0, []
    while at < len(body):
        block_end = body.find(b"\n", at + block) + 1 or len(body)
        last_line = body.rfind(b"\n", at, at + block) + 1 or at  # where the last line of the block begins
        scan_end = block_end if block_end - last_line <= MAX_LINE_BYTES else last_line
        if scan_end > at:
            part = _scan(body[at:scan_end], keys)
            parts.append(Lines(part.starts + at, part.ends + at, part.passed))
        if scan_end < block_end:
            end = block_end - (body[block_end - 1 : block_end] == b"\n")
            parts.append(Lines(np.array([scan_end]), np.array([end]), np.array([False])))
        at = block_end
    if not parts:
        return _scan(body, keys)
    return Lines(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("starts", "ends", "passed")))


def _scan(body: bytes, keys: KeySpans) -> Lines:
    size = len(body)
    # Escapes are blanked out, so that every remaining quote opens or closes a string. Quotes are paired from the left.
    # That is correct inside strings; a line with a backslash elsewhere is not JSON, and the parser refuses it.
    escaped = b"\\" in body
    unpaired = body.replace(b"\\\\", b"__") if escaped else body
    marks = np.frombuffer(unpaired.replace(b'\\"', b"__") if escaped else body, dtype=np.uint8)
    raw = np.frombuffer(body + bytes(keys.width + 8), dtype=np.uint8)

    newlines = np.flatnonzero(marks == _NEWLINE)
    starts = np.concatenate(([0], newlines + 1))
    ends = np.concatenate((newlines, [size]))
    if starts[-1] == size:
        starts, ends = starts[:-1], ends[:-1]
    edges = np.append(starts, size)
    passed = raw[starts] == _BRACE

    quotes = np.flatnonzero(marks == _QUOTE)
    counts = np.diff(np.searchsorted(quotes, edges))
    if (odd := counts % 2 == 1).any():
        passed &= ~odd
        quotes = quotes[np.repeat(~odd, counts)]
    opening, closing = quotes[0::2], quotes[1::2]
    strings = opening
    is_key = raw[closing + 1] == _COLON
    opening, closing = opening[is_key], closing[is_key]
    per_line = np.diff(np.searchsorted(opening, edges))
    passed &= per_line > 0

    first = raw[closing + 2]
    spaced = first == _SPACE
    kind = _FIRST_BYTE[np.where(spaced, raw[closing + 3], first) if spaced.any() else first]
    # Each string is a key or the direct value of a key. Other layouts, such as a space before a colon, do not pass.
    text = kind == _TEXT
    if len(strings) != len(opening) + np.count_nonzero(text):
        values = np.diff(np.searchsorted(opening[text], edges))
        passed &= np.diff(np.searchsorted(strings, edges)) == per_line + values

    _judge(passed, keys, _window(raw, opening + 1, keys.width), closing - opening - 1, kind, per_line)
    if b"\\ud" in unpaired or b"\\uD" in unpaired:
        passed[np.searchsorted(starts, _half_pairs(unpaired), side="right") - 1] = False
    return Lines(starts, ends, passed)


def _window(raw: NDArray[np.uint8], at: Positions, width: int) -> Words:
    """Return the `width` bytes from each position on, as words of shape (positions, width / 8)."""
    windows = np.ndarray((len(raw) - width + 1,), dtype=f"V{width}", buffer=raw, strides=(1,))
    return windows[at].view(np.uint64).reshape(len(at), width // 8)


def _judge(
    passed: Flags, keys: KeySpans, window: Words, lengths: Positions, kind: NDArray[np.uint8], per_line: Positions
) -> None:
    """Clear `passed` for lines with an undeclared key, a value of another kind, or a duplicate key."""
    count = int(per_line[0]) if len(per_line) else 0
    if count and (per_line == count).all():  # the usual case: the same keys in the same order on every line
        order, known = keys.find(window[:count], lengths[:count])
        if known.all() and len(np.unique(order)) == count:
            here = window.reshape(-1, count, window.shape[1]) & keys.masks[keys.lengths[order]]
            same = (here == keys.words[order]).all() and (lengths.reshape(-1, count) == keys.lengths[order]).all()
            if same:
                passed &= ((keys.allowed[order] & kind.reshape(-1, count)) != 0).all(axis=1)
                return
    column, known = keys.find(window, lengths)
    line = np.repeat(np.arange(len(passed)), per_line)
    passed[line[~known | ((keys.allowed[column] & kind) == 0)]] = False
    cells = np.bincount(line * len(keys.words) + column)
    passed[np.flatnonzero(cells > 1) // len(keys.words)] = False


def _half_pairs(unpaired: bytes) -> Positions:
    r"""Positions of a \uD800-\uDFFF escape without its other half next to it."""
    raw = np.frombuffer(unpaired + bytes(8), dtype=np.uint8)
    at = np.flatnonzero(raw == _BACKSLASH)
    at = at[(raw[at + 1] == ord("u")) & ((raw[at + 2] | 0x20) == ord("d"))]
    digit = raw[at + 3] | 0x20
    low = (digit >= ord("c")) & (digit <= ord("f"))
    high = np.isin(digit, np.frombuffer(b"89ab", dtype=np.uint8))
    highs, lows = at[high], at[low]
    return np.concatenate((highs[~np.isin(highs + 6, lows)], lows[~np.isin(lows - 6, highs)]))
