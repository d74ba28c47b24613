"""The quick reading of canonical JSON accepts nothing that RFC 8785 spells otherwise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.canonical import canonical
from governance.verify.entries import _quick, canonical_object

NAMES = st.text(st.characters(codec="utf-8"), max_size=5)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.booleans(), st.booleans())
def test_what_is_read_quickly_is_canonical(value: dict[str, Any], plain: bool, sort: bool) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=plain, sort_keys=sort, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return
    if (quick := _quick(raw)) is not None:
        assert canonical(quick) == raw


@pytest.mark.parametrize(
    "raw",
    [b'{"a":1,"a":1}', b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1.0}', b'{"a":1e2}', b'{"a":-0}', b'{"a":NaN}',
     b'{"a":9007199254740993}', b'{"a":"\\u00e9"}', b'{"a":"\\/"}', b'{"a":1}\n', b"[]", b'{"a":"\\ud800"}',
     '{"\ufb33":1,"\U0001f600":2}'.encode(), b"\xef\xbb\xbf{}", b'{"a":' * 3000],
)  # fmt: skip
def test_what_is_not_canonical_is_not_read_quickly(raw: bytes) -> None:
    assert _quick(raw) is None
    assert canonical_object(raw)[0] is None
