"""Any bytes in any form: rows, refusals by row or a refused body; never another error, and never for long."""

import gzip
import json
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest.encoding import decoded
from monitor.ingest.json_columns import read_json_columns, read_ndjson_columns
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET
from monitor.ingest.ndjson import MAX_BODY_ROWS, BodyTooLargeError
from tests.examples import examples
from tests.monitor.ingest.bodies import NOW, PACK, ROWS, TARGETS, good, read

GOOD = good()
FORMS = st.sampled_from(sorted(GOOD))
CODINGS = st.sampled_from(sorted(PACK))


@st.composite
def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """A body with a few bytes changed, gone, doubled or put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(body) - 1, 0)))
        length = draw(st.integers(0, 64))
        piece = body[at : at + length]
        body = (
            body[:at]
            + draw(
                st.sampled_from([b"", piece + piece, b"\xff" * len(piece), bytes(len(piece)), b"\n", b'"', b"\x80"])
                | st.binary(max_size=16)
            )
            + body[at + length :]
        )
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 0 else body


def everything(form: str, coding: str, body: bytes) -> None:
    for target in TARGETS:
        read(target, body, form, coding)


@given(FORMS, CODINGS, st.binary(max_size=300))
def test_random_bytes(form: str, coding: str, body: bytes) -> None:
    everything(form, coding, body)
    everything(form, coding, PACK[coding](body))


@settings(max_examples=examples(200))
@given(st.data(), FORMS)
def test_good_bodies_with_a_few_bytes_changed(data: st.DataObject, form: str) -> None:
    everything(form, "identity", data.draw(mutated(GOOD[form])))


@given(st.data(), FORMS, st.sampled_from(["gzip", "zstd"]))
def test_packed_bodies_with_a_few_bytes_changed(data: st.DataObject, form: str, coding: str) -> None:
    everything(form, coding, data.draw(mutated(PACK[coding](GOOD[form]))))


@given(FORMS, FORMS, CODINGS, CODINGS)
def test_bodies_that_are_said_to_be_something_else(form: str, said: str, coding: str, said_coding: str) -> None:
    everything(said, said_coding, PACK[coding](GOOD[form]))


def test_the_good_bodies_are_good() -> None:
    for form, body in GOOD.items():
        for coding, pack in PACK.items():
            checked = read(TARGETS[0], pack(body), form, coding)
            assert checked is not None
            assert (checked.frame.height, checked.rejected) == (len(ROWS), [])


row = json.dumps(ROWS[0])
ODD: dict[str, str] = {
    "deep array": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "deep and open": row[:-1] + ', "text": ' + "[" * 50_000,
    "deep value": row[:-1] + ', "trace_id": ' + "[" * 900 + "]" * 900 + "}",
    "the same key twice": row[:-1] + ', "score": 2, "score": "x"}',
    "many keys": "{" + ",".join(f'"k{i}": {i}' for i in range(20_000)) + "}",
    "a long key": '{"' + "k" * 200_000 + '": 1}',
    "not a number": row.replace('"score": 0.0', '"score": NaN'),
    "infinite": row.replace('"score": 0.0', '"score": -Infinity'),
    "too large": row.replace('"score": 0.0', '"score": 1e999'),
    "an endless integer": row.replace('"score": 0.0', '"score": ' + "9" * 100_000),
    "an integer past doubles": row.replace('"score": 0.0', '"score": ' + "9" * 400),
    "far future": row.replace("2026-05-01", "9999-12-31"),
    "beyond the calendar": row.replace("2026-05-01", "99999-12-31"),
    "long ago": row.replace("2026-05-01", "0001-01-01"),
    "no zone": row.replace("Z", ""),
    "an hour too many": row.replace("00:00:00", "24:00:00"),
    "a leap second": row.replace("00:00:00", "23:59:60"),
    "half a pair": row.replace("Ada", "\\ud83d"),
    "nul": row.replace("Ada", "\\u0000"),
    "quotes": row.replace("Ada", '\\"' * 5000),
    "a backslash at the end": row.replace("Ada", "\\"),
    "cards without end": row.replace("Ada", "4111 1111 " * 5000),
    "digits without end": "1 22 333 " * 5000,
    "accounts without end": row.replace("Ada", "DE89 3704 0044 0532 0130 00 " * 2000),
    "keys without end": "-----BEGIN PRIVATE KEY-----" * 2000,
    "markers": row.replace("Ada", "[email:0123456789ab]" * 2000),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_rows_are_refused_by_themselves(name: str) -> None:
    odd = ODD[name]
    checked = read(TARGETS[0], f"{odd}\n{json.dumps(ROWS[1])}".encode(), NDJSON, "identity")
    assert checked is not None
    assert "e1" in checked.frame["event_id"]
    read(TARGETS[0], f"[{odd}, {json.dumps(ROWS[1])}]".encode(), JSON, "gzip")


values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(list(ODD.values())[7:12]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*ROWS[0], "truth", "x"]), values, max_size=9) | values, min_size=1, max_size=5
    )
)
def test_any_json_is_told_apart_into_rows_and_refusals(rows: list[Any]) -> None:
    for target in TARGETS:
        for form, body in ((NDJSON, "\n".join(map(json.dumps, rows))), (JSON, json.dumps(rows))):
            checked = read(target, body.encode(), form, "identity")
            assert checked is not None
            assert checked.frame.height + len(checked.rejected) == len(rows)
            if target.timed and checked.frame.height:
                assert (checked.frame["ts"] <= NOW + timedelta(days=1)).all()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_line_of_a_gigabyte_is_refused_without_being_unpacked(coding: str) -> None:
    one = b'{"event_id": "' + b"a" * (64 << 20)
    packed = gzip.compress(one, 1) * 16 if coding == "gzip" else PACK["zstd"](one) * 16
    assert len(packed) < 6 << 20
    tracemalloc.start()
    with pytest.raises(BodyTooLargeError):
        decoded(packed, coding, 16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("form", "unit"),
    [(NDJSON, b"1\n"), (NDJSON, b"\n"), (NDJSON, b"{}\n"), (JSON, b"1,"), (JSON, b"{},"), (JSON, b"[],")],
)
def test_millions_of_rows_of_a_few_bytes_are_refused_before_they_are_looked_at(form: str, unit: bytes) -> None:
    body = unit * (MAX_BODY_ROWS + 2)
    if form == JSON:
        body = b"[" + body[:-1] + b"]"
    read = read_ndjson_columns if form == NDJSON else read_json_columns
    with pytest.raises(BodyTooLargeError, match=f"send at most {MAX_BODY_ROWS}"):
        read(TARGETS[0], body, NOW)


def test_a_line_of_megabytes_is_judged_as_a_short_one_is_and_its_quotes_take_no_room() -> None:
    around = [json.dumps(ROWS[i]).encode() for i in (0, 1)]
    for long, ids in (
        (b'{"":' * (2 << 20), ["e0", "e1"]),
        (b'"' * (8 << 20), ["e0", "e1"]),
        (json.dumps(ROWS[2] | {"text": '\\"' * (2 << 20)}).encode(), ["e0", "e2", "e1"]),
    ):
        tracemalloc.start()
        checked = read_ndjson_columns(TARGETS[0], b"\n".join([around[0], long, around[1]]), NOW)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert checked.frame["event_id"].to_list() == ids
        assert [r.line for r in checked.rejected] == [2] * (len(ids) == 2)
        assert peak < 10 * len(long)


def test_a_batch_that_claims_to_be_endless_is_refused() -> None:
    for form in (ARROW, PARQUET):
        for at in range(0, len(GOOD[form]), 23):
            body = bytearray(GOOD[form])
            body[at : at + 8] = b"\xff\xff\xff\x7f\xff\xff\xff\x7f"
            read(TARGETS[0], bytes(body[: len(GOOD[form])]), form, "identity")
