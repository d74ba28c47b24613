"""Bad rows of JSON: each is refused by itself and named, and its neighbours are stored."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.server.bad_bodies.rows import EVERY_CODING, Bad, Rows, check
from tests.server.bad_bodies.target import Target


def with_value(name: str, value: str) -> Callable[[dict[str, Any]], str]:
    """The row with a value as it stands in JSON."""

    def made(row: dict[str, Any]) -> str:
        marked = json.dumps(row | {name: "\0here"})
        return marked.replace(json.dumps("\0here"), value)

    return made


def without(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: json.dumps({key: value for key, value in row.items() if key != name})


def after(text: str) -> Callable[[dict[str, Any]], str]:
    """The row with more text before its closing brace."""
    return lambda row: f"{json.dumps(row)[:-1]}, {text}}}"


@dataclass(frozen=True)
class Row:
    text: Callable[[dict[str, Any]], str | bytes]
    field: str | None
    word: str
    whole: str = ""  # a word of the refusal of an array that holds it; empty where the row is refused alone
    kinds: tuple[str, ...] = ("events", "outcomes")


def only_events(name: str, value: str, word: str) -> Row:
    return Row(with_value(name, value), name, word, kinds=("events",))


def only_outcomes(name: str, value: str, word: str) -> Row:
    return Row(with_value(name, value), name, word, kinds=("outcomes",))


def ids(value: str, word: str = "missing or empty") -> Row:
    return Row(with_value("event_id", value), "event_id", word)


def just(text: str | bytes, word: str, whole: str = "") -> Row:
    return Row(lambda _: text, None, word, whole)


ROWS: Final[Mapping[str, Row]] = {
    "no id": Row(without("event_id"), "event_id", "missing or empty"),
    "an id of null": ids("null"),
    "an empty id": ids('""'),
    "a long id": ids(f'"{"x" * 201}"', "201 characters; at most 200"),
    "a very long id": ids(f'"{"x" * 500_000}"', "500000 characters; at most 200"),
    "an id with NUL": ids('"a\\u0000b"', "control character"),
    "an id with a line break": ids('"a\\nb"', "control character"),
    "an id with a control character of Unicode": ids('"a\\u0085b"', "control character"),
    "an id that turns its reader": ids('"a\\u202eb"', "control character"),
    "an id with half of a pair": ids('"a\\ud800b"', "surrogate"),
    "an id with the halves the wrong way": ids('"\\udc00\\ud800"', "surrogate"),
    "an id as a list": ids('["a"]', "is not a string"),
    "an id as an object": ids('{"a": 1}', "is not a string"),
    "an unknown key": Row(after('"colour": "red"'), "colour", "unknown column; the declared columns are"),
    "an empty key": Row(after('"": 1'), "", "unknown column"),
    "a key of half of a pair": Row(after('"\\ud800": 1'), "?", "unknown column"),
    "a key with NUL": Row(after('"a\\u0000": 1'), "a\\x00", "unknown column"),
    "a very long key": Row(after(f'"{"k" * 500_000}": 1'), "k" * 60 + "...", "unknown column"),
    "very many keys": Row(after(", ".join(f'"k{i}": {i}' for i in range(20_000))), "k0", "unknown column"),
    "a key twice": Row(after('"event_id": "other"'), "event_id", "appears twice"),
    "a key twice with its value": Row(lambda row: after(f'"event_id": "{row["event_id"]}"')(row), "event_id", "twice"),
    "an unknown key twice": Row(after('"a": 1, "a": 2'), "a", "appears twice"),
    "null": just("null", "the row is null"),
    "a number": just("3", "the row is a number"),
    "text": just('"text"', "the row is a string"),
    "true": just("true", "the row is a boolean"),
    "an array": just('[{"event_id": "a"}]', "the row is an array"),
    "an empty object": Row(lambda _: "{}", "event_id", "missing or empty"),
    "half a row": just('{"event_id": "a", ', "invalid JSON", "invalid JSON"),
    "no quotes": just("{event_id: 1}", "invalid JSON", "invalid JSON"),
    "single quotes": just("{'event_id': 'a'}", "invalid JSON", "invalid JSON"),
    "a comma too many": just('{"event_id": "a",}', "invalid JSON", "invalid JSON"),
    "a control character in a text": just('{"event_id": "a\tb"}', "invalid JSON", "invalid JSON"),
    "two rows in one": just('{"event_id": "a"} {"event_id": "b"}', "invalid JSON", "invalid JSON"),
    "a comment": just('{"event_id": "a"} // b', "invalid JSON", "invalid JSON"),
    "a mark in the middle": just(b'\xef\xbb\xbf{"event_id": "a"}', "invalid JSON", "invalid JSON"),
    "not UTF-8": just(b'{"event_id": "\xff"}', "invalid UTF-8", "invalid UTF-8"),
    "a surrogate in UTF-8": just(b'{"event_id": "\xed\xa0\x80"}', "invalid UTF-8", "invalid UTF-8"),
    "an overlong slash in UTF-8": just(b'{"event_id": "\xc0\xaf"}', "invalid UTF-8", "invalid UTF-8"),
    "half a character": just(b'{"event_id": "\xf0\x9f\x98"}', "invalid UTF-8", "invalid UTF-8"),
    "nested too deeply": just("[" * 200_000, "nested too deeply", "nested too deeply"),
    "nested too deeply and closed": just("[" * 200_000 + "]" * 200_000, "nested too deeply", "nested too deeply"),
    "objects nested too deeply": just('{"a":' * 100_000 + "1" + "}" * 100_000, "deeply", "deeply"),
    "a number of 5,000 digits": Row(
        with_value("event_id", "9" * 5000), None, "more than 4300 digits", "more than 4300 digits"
    ),
    "a line of megabytes": just('{"event_id": "' + "a" * (1 << 20), "invalid JSON", "invalid JSON"),
    "an outcome as an event": Row(after('"intent_true": "x"'), "intent_true", "/outcomes", kinds=("events",)),
    "no version": Row(without("version"), "version", "missing or empty", kinds=("events",)),
    "a long version": only_events("version", f'"{"v" * 257}"', "257 characters; at most 256"),
    "no time": Row(without("ts"), "ts", "missing", kinds=("events",)),
    "a time of null": only_events("ts", "null", "missing"),
    "a time as a number": only_events("ts", "1767225600000", "1767225600000 is not a time"),
    "a time as a list": only_events("ts", "[2026, 1, 1]", "is not a time"),
    "a time in words": only_events("ts", '"yesterday"', "'yesterday' is not a time"),
    "an empty time": only_events("ts", '""', "is not a time"),
    "a time without zone": only_events("ts", '"2026-01-01T00:00:00"', "no zone; add Z"),
    "a day": only_events("ts", '"2026-01-01"', "no zone; add Z"),
    "a time in a zone by name": only_events("ts", '"2026-01-01T00:00:00 Europe/Berlin"', "is not a time"),
    "a zone past a day": only_events("ts", '"2026-01-01T00:00:00+99:00"', "is not a time"),
    "a day that is none": only_events("ts", '"2026-02-30T00:00:00Z"', "is not a time"),
    "an hour too many": only_events("ts", '"2026-01-01T25:00:00Z"', "is not a time"),
    "digits of another script": only_events("ts", '"٢٠٢٦-01-01T00:00:00Z"', "is not a time"),
    "a far future": only_events("ts", '"2126-01-01T00:00:00Z"', "check the unit and the clock"),
    "the last day of the calendar": only_events("ts", '"9999-12-31T23:59:59-12:00"', "ahead of now"),
    "beyond the calendar": only_events("ts", '"99999-01-01T00:00:00Z"', "'99999-01-01T00:00:00Z'"),
    "long ago": only_events("ts", '"1066-10-14T09:00:00Z"', "20 years before now"),
    "the first day of the calendar": only_events("ts", '"0001-01-01T00:00:00+14:00"', "20 years before now"),
    "text for a number": only_events("confidence", '"0.9"', "'0.9' is not a number"),
    "a boolean for a number": only_events("confidence", "true", "is not a number"),
    "a list for a number": only_events("confidence", "[0.9]", "is not a number"),
    "Infinity": only_events("confidence", "Infinity", "inf is not a finite number"),
    "-Infinity": only_events("confidence", "-Infinity", "-inf is not a finite number"),
    "past the doubles": only_events("confidence", "1e999", "inf is not a finite number"),
    "an integer past the doubles": only_events("confidence", "9" * 400, "too large for a 64-bit float"),
    "a list for a category": only_events("intent", "[3]", "[3] is not a string, number or boolean"),
    "infinity for a category": only_events("intent", "1e999", "inf is not a finite number"),
    "an id of infinity": ids("-Infinity", "-inf is not a finite number"),
    "an object for a text": only_events("text", '{"a": {"b": []}}', "is not a string"),
    "half of a pair in a text": only_events("text", '"a\\udfff"', "surrogate"),
    "a number for a boolean": only_events("urgent", "2", "2 is not true or false"),
    "text for a boolean": only_events("urgent", '"true"', "'true' is not true or false"),
    "a short vector": only_events("meaning", "[1, 2]", "has 2 numbers; 3 are declared"),
    "an empty vector": only_events("meaning", "[]", "has 0 numbers; 3 are declared"),
    "a vector of texts": only_events("meaning", '["1", 2, 3]', "number 1 of the vector is a string"),
    "a vector with a null": only_events("meaning", "[1, null, 3]", "number 2 of the vector is null"),
    "a vector with NaN": only_events("meaning", "[1, 2, NaN]", "number 3 of the vector is not finite"),
    "a vector past 32 bits": only_events("meaning", "[1e39, 2, 3]", "number 1 of the vector is not finite"),
    "a vector of vectors": only_events("meaning", "[[1], 2, 3]", "number 1 of the vector is a list"),
    "a number for a vector": only_events("meaning", "1", "is a number; the column is declared as vector"),
    "a vector nested too deeply": Row(
        with_value("meaning", "[" * 100_000 + "]" * 100_000), None, "nested too deeply", "too deeply", ("events",)
    ),
    "an unknown event": only_outcomes("event_id", '"never-sent"', "send the event first, or check the id"),
    "no outcome": Row(lambda row: json.dumps({"event_id": row["event_id"]}), None, "no outcome; give at least one",
                      kinds=("outcomes",)),
    "outcomes of null": Row(lambda row: json.dumps(dict.fromkeys(row) | {"event_id": row["event_id"]}), None,
                            "no outcome", kinds=("outcomes",)),
    "a column of the event": Row(after('"text": "x"'), "text", "part of the event", kinds=("outcomes",)),
    "a time of an outcome": Row(after('"ts": "2026-01-01T00:00:00Z"'), "ts", "when it arrives", kinds=("outcomes",)),
    "a list as an outcome's category": only_outcomes("intent_true", "[3]", "[3] is not a string"),
    "text as an outcome's number": only_outcomes("stars", '"four"', "'four' is not a number"),
    "an outcome of NaN": Row(lambda row: f'{{"event_id": "{row["event_id"]}", "stars": NaN}}', None, "no outcome",
                             kinds=("outcomes",)),
    "a number as an outcome's boolean": only_outcomes("helpful", "2", "2 is not true or false"),
}  # fmt: skip


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize(
    ("kind", "form", "name"),
    [(kind, form, name) for name, row in ROWS.items() for kind in row.kinds for form in ("ndjson", "json")],
)
@EVERY_CODING
def test_a_bad_row_of_json_is_named_and_its_neighbours_are_stored(
    target: Target, kind: str, form: str, name: str, coding: str
) -> None:
    row = ROWS[name]

    def make(rows: Rows) -> Bad:
        first, last = (json.dumps(rows.good()).encode() for _ in range(2))
        odd = _bytes(row.text(rows.good()))
        rows.made.pop()
        if form == "ndjson":
            return Bad(b"\n".join([first, odd, last]), 200, field=row.field, word=row.word)
        whole = b"[" + b", ".join([first, odd, last]) + b"]"
        if row.whole:
            return Bad(whole, 400, "invalid_body", word=row.whole)
        return Bad(whole, 200, field=row.field, word=row.word)

    check(target, kind, form, make, coding)
