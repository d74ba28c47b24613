"""The level of a value, one by one and by columns, and what older homes hold under other spellings."""

from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from monitor.levels import as_levels, level, levels, number_level, number_levels
from monitor.profile.coding import NULL_CODE, distinct_levels, level_codes
from monitor.profile.fit_column import levels_of
from monitor.quality.unseen import flag

TEXTS = (
    st.sampled_from(
        ["1.0", "-1.00", "1.10", "0", "-0", "-0.0", "01.0", "True", "FALSE", "tRue", "nan", "NaN", "", " \t"]
    )
    | st.sampled_from(["1.", ".0", "x1.0", "1.0 ", "é.0", "1e3"])
    | st.text("0123456789.-eTrunaN \n", max_size=6)
)


@given(st.lists(TEXTS | st.none(), max_size=12))
def test_texts_have_the_same_level_by_column_and_by_value(texts: list[str | None]) -> None:
    found = levels(pl.Series("c", texts, dtype=pl.String))
    assert found.to_list() == [None if text is None else level(text) for text in texts]
    assert levels(found).to_list() == found.to_list()


@given(st.lists(st.floats(allow_infinity=False) | st.integers(-(2**70), 2**70).map(float) | st.none(), max_size=12))
def test_floats_have_the_same_level_by_column_and_by_value(numbers: list[float | None]) -> None:
    found = number_levels(pl.Series("c", numbers, dtype=pl.Float64)).to_list()
    assert found == [None if number is None else number_level(number) for number in numbers]
    for number, text in zip(numbers, found, strict=True):
        assert text is None or float(text) == number
    assert levels(pl.Series(found, dtype=pl.String)).to_list() == found


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_keeps_its_digits_in_every_type(number: int) -> None:
    assert as_levels(pl.Series([number])).to_list() == [str(number)] == [number_level(Decimal(number))]
    if float(number) == number:
        assert as_levels(pl.Series([float(number)])).to_list() == [str(int(float(number)))]


def test_rows_of_older_homes_count_as_their_levels() -> None:
    at, names = distinct_levels(pl.Series(["1.0", "1", "NaN", None, "b", "1.0"]))
    assert names == ["1", "b"]
    assert at.tolist() == [0, 0, 2, 2, 1, 0]


def test_a_reference_that_was_fitted_on_older_spellings_knows_the_levels() -> None:
    older = ("0.0", "1.0", "NaN")
    known = levels_of(older, older, np.full((3, 1), 10), most=20)
    codes, new = level_codes(pl.Series(["0", "1.0", "1", None, "NaN", "2"]), known)
    assert codes.tolist() == [0, 1, 1, 2, 2, -1]
    assert list(new) == []
    plain = levels_of(("a",), ("a",), np.full((1, 1), 10), most=20)
    assert level_codes(pl.Series(["a", None]), plain)[0].tolist() == [0, NULL_CODE]
    flagged = flag(pl.DataFrame({"value": ["1", "1.0", "2", None]}), {"levels": list(older)})
    assert flagged.to_list() == [False, False, True, None]
