"""Quick looks at all texts of a Polars column at once: which ones deserve an exact look.

Polars keeps a text as a view of 16 bytes: its length, and the text itself if it has at most 12 bytes; of a longer one
the first 4 bytes and the place of the rest (https://arrow.apache.org/docs/format/Columnar.html, "Variable-size Binary
View Layout"). Numpy reads these views where they are, which takes a few nanoseconds a text, where a regular expression
takes 10 to 50. The answers err on one side only, as each function says. Views of nulls may hold anything.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from core.arrays import Ints

_INLINE: Final = 12  # bytes of the longest text that lies within its view
# By the length of an inline text: spaces over the bytes of its length and, as those are zero, behind its end.
_SPACES: Final = np.full((_INLINE + 1, 16), ord(" "), dtype=np.uint8)
for _length in range(_INLINE + 1):
    _SPACES[_length, 4 : 4 + _length] = 0
_FILL: Final = _SPACES.view(np.uint64)


def surely_printable(texts: "pl.Series", *, ascii_only: bool = False) -> bool:
    """Whether no text has a control character (U+0000 to U+001F, U+007F to U+009F); False may be wrong, True is not.

    Args:
        ascii_only: whether True shall also mean that every character is of ASCII.
    """
    return _surely(texts, lambda raw: _printable(raw, ascii_only))


def surely_composed(texts: "pl.Series") -> bool:
    """Whether every text is in Unicode's composed form (NFC); False may be wrong, True is not.

    No character before U+0300 is one that composing changes, and in UTF-8 all later ones begin with the byte CC or more
    (https://www.unicode.org/reports/tr15/, "Detecting Normalization Forms").
    """
    return _surely(texts, lambda raw: bool(raw.max() < 0xCC))


def _surely(texts: "pl.Series", holds: "Callable[[NDArray[np.uint8]], bool]") -> bool:
    """Whether something holds of the bytes of all texts; inline ones are filled up with spaces."""
    if texts.null_count() == len(texts):
        return True
    for views, longer in _chunks(texts):
        lengths = views.view(np.uint32)[:, 0]
        is_long = lengths > _INLINE
        if is_long.any():
            size = sum(map(len, longer))
            if size > 4 * int(lengths.sum(dtype=np.int64)) + 65536:
                return False  # a few rows of a large column: their own texts are read faster
            if not all(holds(part) for part in longer):
                return False
        inline, sizes = (views[~is_long], lengths[~is_long]) if is_long.any() else (views, lengths)
        if len(inline) and not holds((inline | _FILL.take(sizes, axis=0)).view(np.uint8)):
            return False
    return True


def with_ends(texts: "pl.Series", first: "NDArray[np.bool_]", last: "NDArray[np.bool_]") -> "Ints":
    """Positions of the texts that begin and end with a byte of the two sets, masks of shape (256,).

    Of an empty text both are the byte 0. Every text of more than 12 bytes that begins as wanted is among them.
    """
    found, at = [], 0
    for views, _ in _chunks(texts):
        raw = views.view(np.uint8)
        place = np.flatnonzero(first.take(raw[:, 4]))
        if len(place):
            lengths = views.view(np.uint32)[place, 0]
            place = place[last.take(raw[place, 3 + np.minimum(lengths, _INLINE)]) | (lengths > _INLINE)]
        found.append(place + at)
        at += len(views)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _chunks(texts: "pl.Series") -> "Iterator[tuple[NDArray[np.uint64], list[NDArray[np.uint8]]]]":
    """Yield the views of each chunk, shape (rows, 2), and the bytes of the longer texts, with others that lie there."""
    import polars as pl

    for chunk in texts.get_chunks() if texts.n_chunks() > 1 else [texts]:
        if not len(chunk):
            continue
        array = chunk.to_arrow(compat_level=pl.CompatLevel.newest())
        _, views, *longer = (np.frombuffer(memoryview(buffer or b""), dtype=np.uint8) for buffer in array.buffers())
        rows = views.view(np.uint64).reshape(-1, 2)[array.offset : array.offset + len(array)]
        yield rows, [part for part in longer if len(part)]


def _printable(raw: "NDArray[np.uint8]", ascii_only: bool) -> bool:
    """Whether UTF-8 surely has no control character: those beyond ASCII begin with the byte C2, as a few others do."""
    if raw.min() < ord(" "):
        return False
    return bool(raw.max() < 0x7F) or not (ascii_only or ((raw == 0x7F) | (raw == 0xC2)).any())
