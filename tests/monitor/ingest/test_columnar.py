"""The columnar reader against the row-by-row reader: the same rows, the same refusals, whatever the bytes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.ingest.json_columns import read_json_columns, read_ndjson_columns
from monitor.ingest.json_scan import scan
from monitor.ingest.ndjson import BodyError, Rejection, Rows, read_json, read_ndjson
from monitor.ingest.row_schema import Target, events_of, outcomes_of
from monitor.ingest.validate import CheckedRows
from monitor.spec.parse import parse_spec
from tests.examples import examples

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SPEC = parse_spec({
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "text": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "category"},
        "score": {"role": "score", "type": "number"}, "vip": {"role": "segment", "type": "boolean"},
        "a_name.longer-than eight": {"role": "input", "type": "number"},
        "a_name.longer-than night": {"role": "input", "type": "number"},
        "vec": {"role": "input", "type": "vector", "dimensions": 2},
        "truth": {"role": "outcome", "type": "category"},
    },
})  # fmt: skip
TARGETS = [events_of(SPEC), outcomes_of(SPEC)]
EVENT = {
    "event_id": "e", "ts": "2026-05-01T00:00:00Z", "version": "v1", "text": "t", "answer": "a", "score": 1,
    "vip": True,
}  # fmt: skip
OUTCOME = {"event_id": "e", "truth": "a"}

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
texts = st.text(max_size=8) | st.sampled_from(
    ['"', '\\"', "\\", "\\\\", '{"a": 1}', '": "', "a\nb", "😀", "\x00", "[", "é"]
)
times = st.sampled_from(
    ["2026-05-01T00:00:00Z", "2026-05-01T02:00:00.5+02:00", "2026-05-01 00:00:00Z", "2026-05-01T00:00:00",
     "2126-05-01T00:00:00Z", "2026-05-01T00:00:00\u221201:00", "20260501T000000Z", "x", "1969-01-01T00:00:00Z"]
)  # fmt: skip
usual: dict[str, st.SearchStrategy[Any]] = {
    "event_id": st.text(max_size=5) | st.just("e"),
    "ts": times,
    "version": st.sampled_from(["v1", "", "v" * 257]),
    "trace_id": texts | st.none(),
    "text": texts | st.none(),
    "answer": texts,
    "score": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    "vip": st.none() | st.booleans(),
    "a_name.longer-than eight": st.integers(-5, 5),
    "a_name.longer-than night": st.floats(0, 1),
    "vec": st.none()
    | st.lists(st.floats(-1, 1) | st.integers(-2, 2), min_size=2, max_size=2)
    | st.lists(st.none() | st.booleans() | st.floats() | texts | st.lists(st.integers(), max_size=2), max_size=3),
    "truth": texts | st.none(),
}


@st.composite
def row(draw: st.DrawFn) -> Any:
    """Mostly a good row; sometimes with a foreign value, an undeclared or repeated key, or no row at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(anything)
    names = draw(st.lists(st.sampled_from(sorted(usual)), unique=True, max_size=5))
    base: dict[str, Any] = dict(draw(st.sampled_from([EVENT, OUTCOME])))
    base |= {name: draw(usual[name]) for name in names}
    if draw(st.integers(0, 7)) == 0:
        base[draw(st.sampled_from([*usual, "other", "a_name.longer-than", "truth\x00"]))] = draw(anything)
    return base


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\t", ":\r")]))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)
    match draw(st.integers(0, 24)):
        case 0:  # a key or value repeated
            text = text.replace("{", draw(st.sampled_from(['{"score":2,', '{"vip": true, ', '{"event_id":"z",'])), 1)
        case 1:  # a byte less or more
            at = draw(st.integers(0, len(text)))
            text = (
                text[:at] + draw(st.sampled_from(["", '"', "\\", "{", "}", ",", "\n", "\\ud83d", " "])) + text[at + 1 :]
            )
        case 2:
            text = text.replace(
                '"a"', draw(st.sampled_from(['"\\ud83d"', '"\\uDE00"', '"\\ud83d\\ude00"', '"\\\\ud83d"']))
            )
        case 3:
            text = text.replace("score", "\\u0073core")
        case 4:
            text = draw(st.sampled_from([" ", "\u00a0", "\t"])) + text + draw(st.sampled_from([" ", "\u00a0", "\r"]))
    return text


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    parts = [draw(written(value)) for value in draw(st.lists(row(), max_size=6))]
    repeated = parts * draw(st.sampled_from([1, 1, 1, 12]))
    body = "\n".join(repeated).encode(errors=draw(st.sampled_from(["surrogatepass", "replace"])))
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + body + draw(st.sampled_from([b"", b"\n", b"\n\n"]))


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    parts = [draw(written(value)) for value in draw(st.lists(row(), max_size=6))]
    between = draw(st.sampled_from([",", ", ", ",\n", " ,\n  ", "", ",,"]))
    around = draw(st.sampled_from([("[", "]"), ("[\n", "\n]"), (" [ ", " ] \n"), ("", "]"), ("[", ""), ("[", ",]")]))
    return (around[0] + between.join(parts) + around[1]).encode(errors="surrogatepass")


Found = tuple[list[dict[str, Any]], list[int], list[Rejection]] | str


def outcome_of(checked: CheckedRows) -> Found:
    return checked.frame.to_dicts(), list(checked.lines), checked.rejected


def fast(target: Target, body: bytes, *, array: bool) -> Found:
    try:
        return outcome_of((read_json_columns if array else read_ndjson_columns)(target, body, NOW))
    except BodyError as error:
        return error.message


def slow(target: Target, body: bytes, *, array: bool) -> Found:
    try:
        rows: Rows = (read_json if array else read_ndjson)(body)
    except BodyError as error:
        return error.message
    return outcome_of(target.examine(rows, NOW))


good = json.dumps(EVENT)


@settings(max_examples=examples(250), deadline=None)
@given(lines())
@example(b"")
@example(b"\n\n")
@example(b"{}\n" + good.encode())
@example(good.encode() + b'\n{"event_id": "\xff"}\n\xc2\xa0' + good.encode())
@example(good.replace('"a"', '"\\ud83d"').encode())
@example((good + "\n" + good.replace("}", ', "score": 2}')).encode())
@example((good + "\n" + good.replace('"a"', "3")).encode())
@example((good + '\n{"a":1,' + "[" * 20000 + "\n" + good).encode())
@example((good + "\n" + "[" * 20000 + "\n" + good).encode())
@example((good + good).encode())
@example((good + "\r\n" + good + "\r\n").encode())
def test_lines_come_out_as_if_read_one_by_one(body: bytes) -> None:
    for target in TARGETS:
        assert fast(target, body, array=False) == slow(target, body, array=False)


@settings(max_examples=examples(250), deadline=None)
@given(arrays())
@example(b"[]")
@example(b"[{}, {}]")
@example(f"[{good}, {good}]".encode())
@example(f"[{good},\n{good}]\n".encode())
@example(f"[{good},\u00a0{good}]".encode())
@example(f"[{good}\u00a0, {good}]".encode())
@example(f"[{good}\x0b]".encode())
@example(("[" + good.replace('"t"', '"a\nb"') + "]").encode())
@example(f'[{good}, {{"text":[1, {{"score":1}}]}}]'.encode())
@example(f"[{good}, 3, {good}]".encode())
def test_an_array_comes_out_as_if_read_element_by_element(body: bytes) -> None:
    for target in TARGETS:
        assert fast(target, body, array=True) == slow(target, body, array=True)


@given(st.binary(max_size=60) | st.text('{}[]",:\\ \n\ru0d83ae1.-+tfn', max_size=60).map(str.encode))
def test_bytes_without_sense_are_refused_in_the_same_words(body: bytes) -> None:
    for array in (False, True):
        assert fast(TARGETS[0], body, array=array) == slow(TARGETS[0], body, array=array)


written_numbers = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.integers().map(str)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)


@given(st.lists(written_numbers, min_size=1))
def test_numbers_are_read_to_the_last_bit(numbers: list[str]) -> None:
    body = "\n".join(good.replace('"score": 1', f'"score": {n}') for n in numbers).encode()
    assert fast(TARGETS[0], body, array=False) == slow(TARGETS[0], body, array=False)


@given(lines(), st.integers(1, 200))
def test_the_size_of_a_block_makes_no_difference(body: bytes, block: int) -> None:
    whole, cut = (scan(body, TARGETS[0].keys, block=size) for size in (1 << 30, block))
    assert (whole.starts.tolist(), whole.ends.tolist()) == (cut.starts.tolist(), cut.ends.tolist())
    assert whole.passed.tolist() == cut.passed.tolist()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_ordinary_lines_pass_the_scan(separators: tuple[str, str]) -> None:
    rows = [EVENT, EVENT | {"text": 'say "\\" 😀 {": [', "score": None}, dict(reversed(EVENT.items())), {"ts": "x"}]
    for ascii_only in (True, False):
        body = "\n".join(json.dumps(r, separators=separators, ensure_ascii=ascii_only) for r in rows).encode()
        assert scan(body, TARGETS[0].keys).passed.all()
