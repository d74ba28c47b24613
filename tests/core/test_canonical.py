"""Canonical JSON against the vectors published in RFC 8785."""

import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.canonical import canonical, digest, timestamp
from core.errors import InvalidError

# RFC 8785, appendix B: IEEE 754 bits and their one spelling.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
# RFC 8785, sections 3.2.2 (input) and 3.2.4 (bytes).
INPUT = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
BYTES = """
7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73
22 3a 5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31
65 2d 32 37 5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c
22 2f 22 7d
"""


@pytest.mark.parametrize("bits", NUMBERS)
def test_numbers_are_spelled_as_the_specification_says(bits: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value).decode() == NUMBERS[bits]


def test_the_published_document_gives_the_published_bytes() -> None:
    assert canonical(json.loads(INPUT)) == bytes.fromhex(BYTES)


def test_keys_are_sorted_by_utf_16_code_units() -> None:  # RFC 8785, section 3.2.3
    document = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical(document)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_times_and_uuids_have_one_spelling() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
    elsewhere = at.astimezone(timezone(timedelta(hours=-8)))
    key = UUID("12345678-1234-5678-1234-567812345678")
    assert canonical([at, elsewhere, key]) == (
        b'["2026-03-01T12:00:00.000005Z","2026-03-01T12:00:00.000005Z","12345678-1234-5678-1234-567812345678"]'
    )


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidError, match="2026-03-01T00:00:00 has no zone"):
        timestamp(datetime(2026, 3, 1))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), b"bytes", bytearray(b"x"), {1, 2}, "\ud800"]
)
def test_a_value_without_a_json_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidError, match="no canonical JSON form"):
        canonical({"deep": [value]})


def test_keys_that_collide_once_spelled_as_strings_are_refused() -> None:
    with pytest.raises(InvalidError, match="not distinct"):
        canonical({1: "a", "1": "b"})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_reading_canonical_bytes_back_gives_the_same_bytes(value: Any) -> None:
    once = canonical(value)
    read = json.loads(once, parse_int=lambda text: int(text) if abs(int(text)) < 2**53 else float(text))
    assert canonical(read) == once


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9), min_size=2))
def test_the_order_of_keys_does_not_change_the_digest(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))
