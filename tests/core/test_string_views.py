import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.string_views import surely_composed, surely_printable, with_ends
from core.text import CONTROL

LONG = "a text of more than twelve bytes"
TEXTS = st.lists(st.none() | st.text(st.sampled_from("a0. \x00\t\x1f\x7f\x85\xa0é€")), max_size=6)


@given(TEXTS, TEXTS)
def test_a_text_with_a_control_character_is_never_missed(one: list[str | None], other: list[str | None]) -> None:
    column = pl.concat([pl.Series(one, dtype=pl.String), pl.Series(other, dtype=pl.String)], rechunk=False)
    texts = [text for text in (*one, *other) if text is not None]
    if any(CONTROL.search(text) for text in texts):
        assert not surely_printable(column)
    if any(not text.isascii() for text in texts):
        assert not surely_printable(column, ascii_only=True)


@pytest.mark.parametrize("texts", [["a", "twelve bytes", LONG, "", None], [LONG, LONG], ["é", "€"], [], [None]])
def test_usual_texts_need_no_exact_look(texts: list[str | None]) -> None:
    column = pl.Series(texts, dtype=pl.String)
    assert surely_printable(column)
    assert surely_printable(pl.Series(column.to_arrow()))
    assert surely_printable(column[1:])


@pytest.mark.parametrize("at", [0, 5, 11, 12, 13, 40])
@pytest.mark.parametrize("character", ["\x00", "\x1f", "\x7f", "\x9f"])
def test_a_control_character_is_seen_wherever_it_stands(at: int, character: str) -> None:
    column = pl.Series(["a", "x" * at + character, None])
    assert not surely_printable(column)
    assert not surely_printable(pl.Series(pa.array(column.to_list()))[1:])


@given(TEXTS)
def test_texts_with_the_wanted_ends_are_found(texts: list[str | None]) -> None:
    mask = np.zeros(256, dtype=np.bool_)
    mask[[0, ord("0"), ord(" ")]] = True
    found = set(with_ends(pl.Series(texts, dtype=pl.String), mask, mask).tolist())
    wanted = {i for i, t in enumerate(texts) if t == "" or (t and t[0] in "0 \x00" and t[-1] in "0 \x00")}
    assert wanted <= found
    assert all(t is None or t == "" or t[0] in "0 \x00" for i, t in enumerate(texts) if i in found)


def test_only_what_composing_cannot_change_is_surely_composed() -> None:
    assert all(unicodedata.is_normalized("NFC", chr(code)) for code in range(0x300))
    assert chr(0x300).encode()[0] == 0xCC
    assert surely_composed(pl.Series(["Zürich", "Łódź in der Woiwodschaft", "", None]))
    for text in ("u\u0308", "Zu\u0308rich in the canton", "\u212b", "\u1fbe"):
        assert not surely_composed(pl.Series(["a", text, None])), text
