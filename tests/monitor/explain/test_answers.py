"""Which label an answer is: by what it means, and never another."""

import pytest

from monitor.explain.answers import UnknownAnswerError, label_of


@pytest.mark.parametrize(
    ("answer", "labels", "wanted"),
    [
        ("true", ["false", "true"], "true"), ("True", ["false", "true"], "true"), ("1", ["false", "true"], "true"),
        ("true", ["0", "1"], "1"), ("0", ["false", "true"], "false"), ("1.0", ["0", "1"], "1"),
        ("Approved", ["approved", "refused"], "approved"), (" approved", ["approved", "refused"], "approved"),
        ("Approved", ["Approved", "approved"], "Approved"), ("ＯＫ", ["ok", "no"], "ok"),
        ("cafe\u0301", ["caf\u00e9", "tea"], "caf\u00e9"), ("1", ["1", "2"], "1"),
    ],
)  # fmt: skip
def test_an_answer_is_the_label_that_means_it(answer: str, labels: list[str], wanted: str) -> None:
    assert label_of(answer, labels) == wanted


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("escalated", ["approved", "refused"]),
        ("APPROVED", ["Approved", "approved"]),
        ("", ["a", "b"]),
        ("2", ["0", "1"]),
    ],
)
def test_an_answer_that_the_version_does_not_know_is_no_other_label(answer: str, labels: list[str]) -> None:
    with pytest.raises(UnknownAnswerError, match="cannot be explained with this version"):
        label_of(answer, labels)
