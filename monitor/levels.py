"""One rule of equality for categories: the text that stands for a value, whatever type and file it came from.

A category is compared by its level, a text. The same value arrives as an integer, as a float (pandas writes a column of
integers with gaps as floats), as a decimal, or as the text that a CSV file has in its place; all of them are one level.

- A number is written in decimal digits: all digits of a whole number, no trailing zeros of a fraction.
- True and false are `true` and `false`; so are the words that pandas and R write in text files.
- A text is its own level in Unicode's composed form (NFC), because macOS and some keyboards write `ü` as `u` and two
  dots; but a whole number with a fraction of zeros is that number.
- NaN, and a text that is empty or blank, are no value.
"""

import functools
import math
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_WHOLE: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+", re.ASCII)
_WORDS: Final[Mapping[str, str | None]] = {
    "True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "nan": None, "NaN": None, "-0": "0",
}  # fmt: skip
_TRUTH: Final[Mapping[str, str]] = {"1": "true", "0": "false"}
_LARGE, _SMALL = 1e21, Decimal("1e-6")  # floats beyond these have an exponent, as JSON and JavaScript write them
_SPACES: Final = " \t\r\n"
_FIRST: Final = "-0123456789TFnN" + _SPACES  # how the texts begin that `level` changes, if they are not empty
_LAST: Final = frozenset(["", *"0eEnN", *_SPACES])  # how they end
# Every text that `level` changes matches this; it is a prefilter in the syntax of Rust's regex.
_CHANGED: Final = r"^(?:[ \t\r\n]*|-?[0-9]+\.0+|True|TRUE|False|FALSE|nan|NaN|-0)$"


def level(text: str) -> str | None:
    """The level of a text; None if the text is no value."""
    if not text.isascii():
        return normalize("NFC", text)
    if text[-1:] not in _LAST:  # the usual case
        return text
    if text in _WORDS:
        return _WORDS[text]
    if whole := _WHOLE.fullmatch(text):
        digits = whole[1]
        return "0" if digits == "-0" else digits
    return text if text.strip(_SPACES) else None


def number_level(number: float | Decimal) -> str | None:
    """The level of a number; None for NaN.

    Raises:
        OverflowError: the number is infinite.
    """
    if isinstance(number, int):
        return str(number)
    if isinstance(number, Decimal):
        return None if number.is_nan() else _written(number)
    if math.isnan(number):
        return None
    if abs(number) >= _LARGE or number != math.floor(number):
        return _written(Decimal(repr(number)), large=_LARGE)
    return str(int(number))  # a float with a whole value equals that integer, digit by digit


def bool_level(truth: bool) -> str:
    return "true" if truth else "false"


def _written(number: Decimal, large: float = math.inf) -> str:
    """Digits without trailing zeros and without a sign of zero; with an exponent below 10^-6 and from `large` on."""
    if not number:
        return "0"
    if _SMALL <= abs(number) < large:
        text = format(number, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # the number is finite
    text = "".join(map(str, digits)).rstrip("0")
    power = exponent + len(digits) - 1
    return f"{'-' * sign}{text[0]}{'.' * (len(text) > 1)}{text[1:]}e{power:+d}"


def slice_name(column: str, value: str, most: int) -> str:
    """How the rows with a value of a column are stored: `column=value`, in at most so many characters.

    A longer one is cut, and its digest keeps it apart from others that begin alike.
    """
    whole = f"{column}={value}"
    return whole if len(whole) <= most else f"{whole[: most - 18]}… {sha256(whole.encode()).hexdigest()[:16]}"


def composed(texts: "pl.Series") -> "pl.Series":
    """Each text in Unicode's composed form (NFC), shape (n,)."""
    from core.string_views import surely_composed

    return texts if surely_composed(texts) else texts.str.normalize("NFC")


def levels(texts: "pl.Series") -> "pl.Series":
    """The level of each text, shape (n,); null where there is no value."""
    import polars as pl

    from core.string_views import with_ends

    texts = composed(texts)
    doubtful = with_ends(texts, *_ends())
    if not len(doubtful):  # the usual case
        return texts
    distinct = texts.gather(doubtful).unique()
    distinct = distinct.filter(distinct.str.contains(_CHANGED).fill_null(value=False))
    if not len(distinct):
        return texts
    return texts.replace(distinct, pl.Series([level(text) for text in distinct], dtype=pl.String))


@functools.cache
def _ends() -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
    """By byte: whether a text that begins, or ends, with it may be one that `level` changes; 0 is an empty text."""
    import numpy as np

    masks = np.zeros((2, 256), dtype=np.bool_)
    for mask, texts in zip(masks, ({"", *_FIRST}, _LAST), strict=True):
        mask[[ord(text or "\0") for text in texts]] = True
    return masks[0], masks[1]


def number_levels(numbers: "pl.Series") -> "pl.Series":
    """The level of each number of a column of integers, floats or decimals, shape (n,); null for null and NaN.

    Infinity has no level and must have been taken out before.
    """
    import polars as pl

    if numbers.dtype.is_integer():
        return numbers.cast(pl.String)
    if numbers.dtype.is_float():
        return _float_levels(numbers)
    distinct = numbers.drop_nulls().unique()
    found = [number_level(number) for number in distinct.to_list()]
    named = numbers.cast(pl.String)
    return named.replace_strict(distinct.cast(pl.String), pl.Series(found, dtype=pl.String), default=None)


def as_levels(values: "pl.Series") -> "pl.Series":
    """The level of each value of any column that is compared as a category, shape (n,), as texts."""
    import polars as pl

    if values.dtype.is_numeric():
        return number_levels(values)
    texts = values.cast(pl.String)
    return texts if values.dtype == pl.Boolean else levels(texts)


def answers(values: "pl.Series", *, truth: bool) -> "pl.Series":
    """Predictions or outcomes as levels, whatever type each has, shape (n,).

    Args:
        values: a column of any type.
        truth: whether the other side, or this one, is declared as boolean: 1 and 0 are then true and false.
    """
    found = as_levels(values)
    return found.replace(list(_TRUTH), list(_TRUTH.values())) if truth else found


def answer(text: str, *, truth: bool) -> str | None:
    """The level of one answer that a spec names, as `answers` writes it."""
    found = level(text)
    return _TRUTH.get(found, found) if truth and found is not None else found


def other_truths(known: Collection[str]) -> dict[str, str]:
    """By truth value that these levels lack, the one among them that means the same: 1 for true, or true for 1."""
    pairs = [*_TRUTH.items(), *((name, digit) for digit, name in _TRUTH.items())]
    return {absent: there for there, absent in pairs if there in known and absent not in known}


def _float_levels(numbers: "pl.Series") -> "pl.Series":
    import polars as pl

    numbers = numbers.fill_nan(None)
    whole = numbers.cast(pl.Int64, strict=False)
    exact = whole.cast(pl.String).set((whole.cast(pl.Float64) != numbers.cast(pl.Float64)).fill_null(value=True), None)
    other = exact.is_null() & numbers.is_not_null()
    if not other.any():
        return exact
    rest = numbers.filter(other)
    written = rest.cast(pl.String)  # the shortest digits of the column's own width: 0.1 for a 32-bit 0.1
    found = {text: _of_float(text) for text in written.unique().to_list()}
    return exact.scatter(other.arg_true(), written.replace_strict(found, return_dtype=pl.String))


def _of_float(written: str) -> str | None:
    number = float(written)
    return number_level(number) if number.is_integer() else _written(Decimal(written), large=_LARGE)
