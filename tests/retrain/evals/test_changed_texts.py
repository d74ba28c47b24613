"""Changed texts: the same everywhere, and still the same message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.curate.dedupe import normalised
from retrain.evals.changed_texts import CHANGES, changed


@pytest.mark.parametrize("kind", CHANGES)
@given(text=st.text(max_size=60))
def test_a_change_is_repeatable_and_takes_every_text(kind: str, text: str) -> None:
    assert changed(text, kind, 1) == changed(text, kind, 1)
    assert changed("", kind) is not None


@given(st.text(alphabet="abcde ", min_size=1, max_size=60))
def test_case_and_white_space_change_nothing_that_carries_meaning(text: str) -> None:
    assert normalised(changed(text, "case")) == normalised(text)
    assert normalised(changed(text, "spaces")) == normalised(text)


def test_typing_errors_and_phrases_change_little() -> None:
    text = "where is the card that i ordered last week"
    found = changed(text, "typos")
    assert found != text
    assert sum(a != b for a, b in zip(found.split(), text.split(), strict=True)) == 1
    assert text in changed(text, "phrase")
