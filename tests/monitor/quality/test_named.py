"""Faulty rows named by their values, and what is not shown of them."""

import polars as pl
import pytest

from monitor.quality import QUALITY
from monitor.quality.named import MAX_CHARACTERS, MAX_NAMED, PERSON, NamedRows, named, written
from monitor.spec.model import ModelSpec
from monitor.windows.faulty_rows import document, faulty_rows, in_words
from tests.monitor import traffic


def spec(**roles: str) -> ModelSpec:
    columns = {
        "hall": {"role": "segment", "type": "category"}, "age": {"role": "input", "type": "number"},
        "note": {"role": "input", "type": "text"}, "code": {"role": "input", "type": "string"},
        "who": {"role": "subject", "type": "string"}, "answer": {"role": "prediction", "type": "category"},
        "truth": {"role": "outcome", "type": "category"},
    }  # fmt: skip
    columns = {name: c | ({"role": roles[name]} if name in roles else {}) for name, c in columns.items()}
    monitors = {"windows": {"rows": 250}, "false_alarms": {"alpha": 0.01}}
    return traffic.spec(columns=columns, monitors=monitors, redact={"note": ["email"]})


def window(people: int) -> pl.DataFrame:
    """Ten times the same row, each time of another of some people, and 190 rows that are all different."""
    every = range(200)
    return pl.DataFrame({
        "event_id": [str(i) for i in every], "hall": ["B" if i < 10 else f"h{i}" for i in every],
        "age": [19.0 if i < 10 else i + 0.5 for i in every], "note": ["me@x.org"] * 200, "code": ["c"] * 200,
        "who": [f"p{i % people}" if i < 10 else f"q{i}" for i in every], "answer": ["yes"] * 200,
    })  # fmt: skip


def test_equal_rows_are_named_by_what_tells_them_from_the_others() -> None:
    rows = window(5).drop("who")
    found = faulty_rows(spec(), QUALITY["duplicates"], "", rows, {})
    assert found == [NamedRows(10, None, (("hall", "B"), ("answer", "yes"), ("age", "19")))]
    assert in_words(found, by_column=False) == " Most often: `hall` 'B', `answer` 'yes', `age` '19' (10 rows)."
    assert document(found)[0]["values"][0] == {"column": "hall", "detail": "B"}


def test_declared_personal_columns_are_not_shown() -> None:
    rows = window(5).drop("who")
    (found,) = faulty_rows(spec(hall="protected"), QUALITY["duplicates"], "", rows, {})
    assert [column for column, _ in found.values] == ["answer", "age"]
    assert faulty_rows(spec(hall="protected"), QUALITY["unseen"], "hall", rows, {"levels": ["h10"]}) == []
    assert faulty_rows(spec(), QUALITY["missing"], "hall", rows, {}) == []


@pytest.mark.parametrize("people", [4, 5])
def test_values_are_shown_where_at_least_five_people_share_them(people: int) -> None:
    (most, *_) = faulty_rows(spec(), QUALITY["unseen"], "hall", window(people), {"levels": []})
    assert (most.rows, most.people, most.values) == (10, people, (("hall", "B"),) if people == 5 else ())
    words = in_words([most], by_column=True)
    assert words == (
        " Most often: 'B' (10 rows of 5 people)."
        if people == 5
        else " No value of theirs is shared by enough people to be named."
    )


def test_the_most_frequent_come_first_and_no_more_than_a_few() -> None:
    levels = [level for i in range(9) for level in [f"l{i}"] * (9 - i)]
    frame = pl.DataFrame({"value": levels})
    found = named(frame, pl.Series([True] * len(levels)), ["value"])
    assert [(one.rows, one.values[0][1]) for one in found] == [(9 - i, f"l{i}") for i in range(MAX_NAMED)]
    assert named(frame, pl.Series([None, *[False] * (len(levels) - 1)], dtype=pl.Boolean), ["value"]) == []
    few = named(frame[-4:], pl.Series([True] * 4), ["value"], texts=["value"])
    assert not any(one.values for one in few)
    assert (
        named(frame.with_columns(pl.lit("p").alias(PERSON)), pl.Series([True] * len(levels)), ["value"])[0].values == ()
    )


def test_a_value_is_written_short_and_in_one_line() -> None:
    assert [written(v) for v in (None, True, 19.0, 0.1, -999.0, 1e300, "a\n b")] == [
        None, "true", "19", "0.1", "-999", "1e+300", "a b",
    ]  # fmt: skip
    assert written("x" * 99) == "x" * MAX_CHARACTERS + "…"
