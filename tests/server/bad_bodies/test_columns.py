"""Bad columns and cells: what does not fit a column refuses the body, what does not fit a row refuses that row."""

import datetime as dt
import decimal
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pytest

from tests.server.bad_bodies.rows import AT, EVERY_CODING, Bad, Rows, as_columns, check, table, three
from tests.server.bad_bodies.target import Target

_ENCODED: Final = pa.array(["x", None, "y"]).dictionary_encode()
_NESTED: Final = pa.array([[{"a": 1}]] * 3)
# name -> (column, values, field of the refusal or none where it is taken, word), of events; of outcomes further below.
_OF_EVENTS: Final[Mapping[str, tuple[str, Any, str]]] = {
    "unknown column": ("colour", three("red"), "unknown column; the declared columns are"),
    "an outcome": ("intent_true", three("x"), "/outcomes"),
    "an empty name": ("", three(1), "unknown column"),
    "booleans for a number": ("confidence", three(True), "declared as number"),
    "bytes for a text": ("text", three(b"x"), "declared as text"),
    "bytes of one length": ("text", three(b"xy", type=pa.binary(2)), "declared as text"),
    "large bytes": ("text", three(b"x", type=pa.large_binary()), "declared as text"),
    "a struct": ("text", three({"a": 1}), "struct"),
    "a map": ("text", pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())), "map"),
    "a list": ("text", three(["x"]), "list"),
    "a list of structs": ("meaning", _NESTED, "lists of numbers"),
    "a list of texts": ("meaning", three(["x", "y", "z"]), "lists of numbers"),
    "a number for a vector": ("meaning", three(1.5), "lists of numbers"),
    "a duration": ("confidence", three(5, type=pa.duration("s")), "duration"),
    "a date for a number": ("confidence", three(dt.date(2026, 1, 1)), "date32"),
    "a time of day for a boolean": ("urgent", three(dt.time(12)), "time64"),
    "bytes for a category": ("intent", three(b"x"), "declared as category: send strings, numbers, booleans, dates"),
    "a timestamp for a number": ("confidence", three(AT), "timestamp"),
    "an identifier of 128 bits": ("text", pa.array([b"a" * 16] * 3, pa.uuid()), "uuid"),
    "a time without zone": ("ts", pa.array([AT.replace(tzinfo=None)] * 3), "without a zone; give it one"),
    "a time as text": ("ts", three("2026-01-01T00:00:00Z"), "send timestamps with a zone"),
    "a time as a number": ("ts", three(1767225600), "send timestamps with a zone"),
    "a time as a date": ("ts", three(dt.date(2026, 1, 1)), "send timestamps with a zone"),
    "no version": ("version", None, "missing; every row needs it"),
    "no time": ("ts", None, "missing; every row needs it"),
}  # fmt: skip
_OF_BOTH: Final[Mapping[str, tuple[str, Any, str]]] = {
    "no id": ("event_id", None, "missing; every row needs it"),
    "ids as bytes": ("event_id", three(b"a"), "declared as string"),
    "a very long name": ("k" * 300_000, three(1), "unknown column"),
}
_OF_OUTCOMES: Final[Mapping[str, tuple[str, Any, str]]] = {
    "a column of the event": ("text", three("x"), "part of the event"),
    "a time": ("ts", three(AT), "when it arrives"),
    "a struct": ("helpful", three({"a": True}), "struct"),
}
COLUMN_CASES: Final = [
    (kind, name, case)
    for kind, own in (("events", _OF_EVENTS), ("outcomes", _OF_OUTCOMES))
    for name, case in {**own, **_OF_BOTH}.items()
]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize(("kind", "name", "case"), COLUMN_CASES, ids=[f"{c[0]}-{c[1]}" for c in COLUMN_CASES])
@EVERY_CODING
def test_a_column_that_does_not_fit_refuses_the_body(
    target: Target, kind: str, name: str, case: tuple[str, Any, str], form: str, coding: str
) -> None:
    column, values, word = case

    def make(rows: Rows) -> Bad:
        body = as_columns(form, table([rows.good() for _ in range(3)], **{column: values}))
        return Bad(body, 422, "schema_mismatch", column[:100], word)

    check(target, kind, form, make, coding)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("text", pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), pa.array(["x"]))),
        ("text", pa.UnionArray.from_sparse(pa.array([0, 0, 0], pa.int8()), [pa.array(["a", "b", "c"])])),
        ("text", pa.array([b"x"] * 3, pa.binary_view())),
        ("meaning", pa.array([[1.0, 2, 3]] * 3, pa.list_view(pa.float32()))),
        ("confidence", pa.array([(1, 2, 3)] * 3, pa.month_day_nano_interval())),
        ("ts", three(AT).dictionary_encode()),
    ],
    ids=["runs", "union", "view of bytes", "view of lists", "interval", "dictionary of times"],
)
@EVERY_CODING
def test_types_that_arrow_alone_has_are_refused(target: Target, name: str, values: Any, coding: str) -> None:
    def make(rows: Rows) -> Bad:
        content = table([rows.good() for _ in range(3)], **{name: values})
        return Bad(as_columns("arrow", content), 422, "schema_mismatch", name, "send ")

    check(target, "events", "arrow", make, coding)


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("text", _ENCODED), ("text", pa.array(["x", None, "y"], pa.large_string())),
        ("text", pa.array(["x", None, "y"], pa.string_view())), ("text", pa.nulls(3)),
        ("intent", pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint8()), pa.array(["a", "b"]))),
        ("confidence", pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("-2")])),
        ("confidence", pa.array([decimal.Decimal("1.5"), None, decimal.Decimal(9**50)], pa.decimal256(76, 2))),
        ("confidence", pa.array([0.5, None, 1], pa.float16())), ("confidence", pa.array([2**64 - 1] * 3, pa.uint64())),
        ("confidence", pa.array([1, None, 1]).dictionary_encode()), ("meaning", three([1, 2, 3])),
        ("meaning", three([1.5, 2, 3], type=pa.list_(pa.float64(), 3))),
        ("meaning", three(None, type=pa.list_(pa.null()))),
        ("ts", three(AT, type=pa.timestamp("ns", "Europe/Berlin"))),
    ],
    ids=["dictionary", "large", "view", "null", "dictionary of bytes", "decimal", "decimal of 256 bits", "half",
         "unsigned", "dictionary of numbers", "list of integers", "list of one size", "list of null", "zone by name"],
)  # fmt: skip
@EVERY_CODING
def test_types_that_fit_are_taken(target: Target, name: str, values: Any, form: str, coding: str) -> None:
    def make(rows: Rows) -> Bad:
        return Bad(as_columns(form, table([rows.good() for _ in range(3)], **{name: values})), 200)

    check(target, "events", form, make, coding)


def _second(values: list[Any], value: Any, kind: pa.DataType | None = None) -> Any:
    return pa.array([values[0], value, values[2]], kind)


_ZONED: Final = pa.timestamp("us", "UTC")
# name -> (column, the second value, its type, word)
CELLS: Final[Mapping[str, tuple[str, Any, Any, str]]] = {
    "no id": ("event_id", None, pa.string(), "missing or empty"),
    "an empty id": ("event_id", "", pa.string(), "missing or empty"),
    "a long id": ("event_id", "x" * 201, pa.string(), "201 characters"),
    "an id with NUL": ("event_id", "a\0", pa.string(), "control character"),
    "no version": ("version", None, pa.string(), "missing or empty"),
    "no time": ("ts", None, _ZONED, "missing"),
    "a far future": ("ts", dt.datetime(2126, 1, 1, tzinfo=dt.UTC), _ZONED, "ahead of now"),
    "long ago": ("ts", dt.datetime(1066, 10, 14, tzinfo=dt.UTC), _ZONED, "20 years before now"),
    "infinity": ("confidence", float("inf"), pa.float32(), "inf is not a finite number"),
    "a short vector": ("meaning", [1.0], pa.list_(pa.float32()), "has 1 numbers; 3 are declared"),
    "a vector with NaN": ("meaning", [1, 2, float("nan")], pa.list_(pa.float32()), "number 3 of the vector"),
    "a vector with a null": ("meaning", [1, None, 3], pa.list_(pa.float32()), "number 2 of the vector is null"),
    "an unknown event": ("event_id", "never-sent", pa.string(), "send the event first"),
    "no outcome of infinity": ("stars", float("inf"), pa.float64(), "inf is not a finite number"),
}
_ONLY_OUTCOMES: Final = {"an unknown event", "no outcome of infinity"}
CELL_CASES: Final = [
    (kind, name)
    for name, (column, *_) in CELLS.items()
    for kind in ("events", "outcomes")
    if (kind == "events" and name not in _ONLY_OUTCOMES) or (kind == "outcomes" and column in ("event_id", "stars"))
]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize(("kind", "name"), CELL_CASES)
@EVERY_CODING
def test_a_bad_row_of_columns_is_named_and_its_neighbours_are_stored(
    target: Target, kind: str, name: str, form: str, coding: str
) -> None:
    column, value, type_, word = CELLS[name]

    def make(rows: Rows) -> Bad:
        good = [rows.good() for _ in range(3)]
        rows.made.pop(1)
        values = [dt.datetime.fromisoformat(row[column]) if column == "ts" else row[column] for row in good]
        content = table(good, **{column: _second(values, value, type_)})
        return Bad(as_columns(form, content), 200, field=column, word=word)

    check(target, kind, form, make, coding)
