"""Every bad body, on every route, in every form and coding: refused in words, whole or by row, and never in part.

One service takes them all. After each case it must be alive, take a good body and count as many rows as it accepted; in
the end its tables must hold the rows that were accepted and no other.
"""

import datetime as dt
import decimal
import gzip
import io
import itertools
import json
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET, PROTOBUF
from monitor.ingest.otlp.wire import message_class
from tests.monitor.ingest.otlp.requests import as_json, span
from tests.monitor.ingest.otlp.requests import request as request_of
from tests.monitor.ingest.otlp.test_decode import HOSTILE_JSON, HOSTILE_PROTOBUF
from tests.server.conftest import SPEC, event
from tests.server.test_otlp import SPEC as SHOP
from tests.service import Service

LIMIT_MB: Final = 2
CODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": lambda body: body, "gzip": gzip.compress, "zstd": lambda body: pa.compress(body, "zstd", asbytes=True),
}  # fmt: skip
FORMS: Final = {"ndjson": NDJSON, "json": JSON, "arrow": ARROW, "parquet": PARQUET}
COLUMNS: Final = SPEC["columns"] | {
    "meaning": {"role": "input", "type": "vector", "dimensions": 3},
    "stars": {"role": "outcome", "type": "number"}, "helpful": {"role": "outcome", "type": "boolean"},
}  # fmt: skip
SEEDS: Final = 2000  # events of each model whose outcomes are sent
SOON: Final = 20  # seconds; a request that takes longer hangs
_Status = message_class("StatusOfBadBody", code="int32", message="string")


# The service, and what it has taken.


@dataclass
class Ground:
    service: Service
    http: httpx2.Client
    taken: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))  # ids by model and kind
    numbers: dict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(itertools.count))

    @contextmanager
    def nothing_else_stored(self, route: str) -> Iterator[set[str]]:
        """Afterwards the service counts as many rows more as ids were put into the set; and it is alive."""
        before, taken = self.counted(route), set[str]()
        yield taken
        assert self.counted(route) - before == len(taken)
        assert self.http.get("/healthz").json() == {"status": "ok"}
        self.taken[_table(route)] |= taken

    def counted(self, route: str) -> int:
        model, kind = _table(route)
        metrics = self.http.get("/metrics").text
        return sum(int(found) for found in re.findall(rf'^assay_{kind}{{model="{model}"}} (\d+)$', metrics, re.M))

    def send(self, path: str, body: bytes, form: str, coding: str = "identity") -> httpx2.Response:
        headers = {"Content-Type": form, "Content-Encoding": coding}
        return self.http.post(path, content=body, headers=headers)

    def stored(self, model: str, kind: str) -> set[str]:
        answer = self.http.get(f"/api/v1/models/{model}/events", params={"kind": kind, "format": "arrow"})
        assert answer.status_code == 200, answer.text
        table = pa.ipc.open_stream(answer.content).read_all()
        found = [str(value) for value in table["event_id"].to_pylist()] if table.num_rows else []
        assert len(set(found)) == len(found)
        return set(found)


def _table(route: str) -> tuple[str, str]:
    """The model and kind of rows behind a route."""
    kind = route.partition("-")[0]
    return ("shop", "events") if kind == "traces" else (route, kind)


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    limits = {"ASSAY_SERVER__MAX_BODY_MB": str(LIMIT_MB), "ASSAY_SERVER__STALLED_BODY_S": "5"}
    service = Service(tmp_path_factory.mktemp("bad") / "home", environ=limits)
    service.start()
    with httpx2.Client(base_url=service.url, headers=service.headers(), timeout=SOON) as http:
        ground = Ground(service, http)
        names = [f"{kind}-{form}" for kind in ("events", "outcomes") for form in FORMS]
        for document in [SPEC | {"model": name, "columns": COLUMNS} for name in names] + [SHOP]:
            answer = http.put(f"/api/v1/models/{document['model']}", json=document)
            assert answer.status_code == 201, answer.text
        seeds = "\n".join(json.dumps(event(f"o{i}")) for i in range(SEEDS)).encode()
        for form in FORMS:
            answer = ground.send(f"/api/v1/models/outcomes-{form}/events", seeds, NDJSON)
            assert answer.json()["accepted"] == SEEDS, answer.text
        yield ground
        if not request.session.testsfailed:
            for (model, kind), taken in ground.taken.items():
                assert ground.stored(model, kind) == taken
    service.stop()
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "unhandled" not in log


# One kind of rows: where it is sent, its good rows, and how rows are written in each form.


@dataclass
class Rows:
    """Good rows of a kind, each with an id that no other has."""

    route: str
    ground: Ground
    made: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.route.partition("-")[0]

    def good(self, **more: Any) -> dict[str, Any]:
        number = next(self.ground.numbers[self.route])
        self.made.append(f"o{number}" if self.kind == "outcomes" else f"e{number}")
        if self.kind == "outcomes":
            return {"event_id": self.made[-1], "intent_true": "top_up", "stars": 4, "helpful": True, **more}
        return event(self.made[-1], meaning=[0.25, 0.5, 1], **more)


@dataclass(frozen=True)
class Bad:
    """What a body is refused with: as a whole where `status` is not 200, else the second of its three rows."""

    body: bytes
    status: int
    code: str = ""
    field: str | None = None
    word: str = ""


Make = Callable[[Rows], Bad]


def check(ground: Ground, kind: str, form: str, make: Make) -> None:
    route = f"{kind}-{form}"
    path = f"/api/v1/models/{route}/{kind}"
    with ground.nothing_else_stored(route) as taken:
        for coding, pack in CODINGS.items():
            rows = Rows(route, ground)
            bad = make(rows)
            answer = ground.send(path, pack(bad.body), FORMS[form], coding)
            assert answer.status_code == bad.status, (coding, answer.text[:500])
            if bad.status == 200:
                by_row(answer, bad, accepted=len(rows.made))
                taken |= set(rows.made)
            else:
                refused(answer, bad)
        rows = Rows(route, ground)
        answer = ground.send(path, written(form, [rows.good()]), FORMS[form])
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
        taken |= set(rows.made)


def by_row(answer: httpx2.Response, bad: Bad, *, accepted: int) -> None:
    receipt = answer.json()
    assert (receipt["accepted"], receipt["duplicates"]) == (accepted, 0), answer.text[:500]
    assert receipt["rejected_total"] == len(receipt["rejected"]) == (1 if bad.word else 0)
    for rejected in receipt["rejected"]:
        assert (rejected["line"], rejected["field"]) == (2, bad.field)
        assert bad.word in rejected["reason"]
        assert len(rejected["reason"]) < 1000


def refused(answer: httpx2.Response, bad: Bad) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (bad.code, bad.status)
    assert bad.word in problem["detail"]
    assert len(answer.content) < 4000
    if bad.field is not None:
        assert problem["field"] == bad.field
        assert bad.field in problem["detail"]


def written(form: str, rows: list[dict[str, Any]]) -> bytes:
    match form:
        case "ndjson":
            return "\n".join(map(json.dumps, rows)).encode()
        case "json":
            return json.dumps(rows).encode()
    return as_columns(form, table(rows))


def table(rows: list[dict[str, Any]], **columns: Any) -> pa.Table:
    """The rows as other programs would write them; `columns` replaces some, None leaves one out."""
    found = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    if "ts" in found:
        times = [dt.datetime.fromisoformat(row["ts"]) for row in rows]
        found["ts"] = pa.array(times, pa.timestamp("us", "UTC"))
    found |= columns
    return pa.table({name: values for name, values in found.items() if values is not None})


def as_columns(form: str, content: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    if form == "arrow":
        with pa.ipc.new_stream(out, content.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(content)
    else:
        pq.write_table(content, out, **options)
    return out.getvalue()


# Rows of JSON: one that does not fit is refused by itself, one that is no JSON too where it has a line of its own.


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
    "an id as a number": ids("17", "17 is not a string"),
    "an id as a boolean": ids("true", "True is not a string"),
    "an id as a list": ids('["a"]', "is not a string"),
    "an id as an object": ids('{"a": 1}', "is not a string"),
    "an unknown key": Row(after('"colour": "red"'), "colour", "unknown column; declared are"),
    "an empty key": Row(after('"": 1'), "", "unknown column"),
    "a key of half of a pair": Row(after('"\\ud800": 1'), "?", "unknown column"),
    "a key with NUL": Row(after('"a\\u0000": 1'), "a\\x00", "unknown column"),
    "a very long key": Row(after(f'"{"k" * 500_000}": 1'), "k" * 60 + "...", "unknown column"),
    "very many keys": Row(after(", ".join(f'"k{i}": {i}' for i in range(20_000))), "k0", "unknown column"),
    "a key twice": Row(after('"event_id": "other"'), "event_id", "is there twice"),
    "a key twice with its value": Row(lambda row: after(f'"event_id": "{row["event_id"]}"')(row), "event_id", "twice"),
    "an unknown key twice": Row(after('"a": 1, "a": 2'), "a", "is there twice"),
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
    "a long version": only_events("version", f'"{"v" * 65}"', "65 characters; at most 64"),
    "a version as a number": only_events("version", "1.5", "1.5 is not a string"),
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
    "a far future": only_events("ts", '"2126-01-01T00:00:00Z"', "ahead of now; check the unit"),
    "the last day of the calendar": only_events("ts", '"9999-12-31T23:59:59-12:00"', "ahead of now"),
    "beyond the calendar": only_events("ts", '"99999-01-01T00:00:00Z"', "'99999-01-01T00:00:00Z'"),
    "long ago": only_events("ts", '"1066-10-14T09:00:00Z"', "before 1970"),
    "the first day of the calendar": only_events("ts", '"0001-01-01T00:00:00+14:00"', "before 1970"),
    "text for a number": only_events("confidence", '"0.9"', "'0.9' is not a number"),
    "a boolean for a number": only_events("confidence", "true", "is not a number"),
    "a list for a number": only_events("confidence", "[0.9]", "is not a number"),
    "NaN": only_events("confidence", "NaN", "nan is not a finite number; leave the column out"),
    "Infinity": only_events("confidence", "Infinity", "inf is not a finite number"),
    "-Infinity": only_events("confidence", "-Infinity", "-inf is not a finite number"),
    "past the doubles": only_events("confidence", "1e999", "inf is not a finite number"),
    "an integer past the doubles": only_events("confidence", "9" * 400, "too large for a double"),
    "a number for a category": only_events("intent", "3", "3 is not a string"),
    "a number for a text": only_events("text", "3.5", "3.5 is not a string"),
    "an object for a text": only_events("text", '{"a": {"b": []}}', "is not a string"),
    "half of a pair in a text": only_events("text", '"a\\udfff"', "surrogate"),
    "a number for a boolean": only_events("urgent", "1", "1 is not true or false"),
    "text for a boolean": only_events("urgent", '"true"', "'true' is not true or false"),
    "a number for a subject": only_events("customer", "17", "17 is not a string"),
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
    "a number as an outcome's category": only_outcomes("intent_true", "3", "3 is not a string"),
    "text as an outcome's number": only_outcomes("stars", '"four"', "'four' is not a number"),
    "an outcome of NaN": only_outcomes("stars", "NaN", "not a finite number"),
    "a number as an outcome's boolean": only_outcomes("helpful", "0", "0 is not true or false"),
}  # fmt: skip


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize(
    ("kind", "form", "name"),
    [(kind, form, name) for name, row in ROWS.items() for kind in row.kinds for form in ("ndjson", "json")],
)
def test_a_bad_row_of_json_is_named_and_its_neighbours_are_stored(
    ground: Ground, kind: str, form: str, name: str
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

    check(ground, kind, form, make)


# Columns: what does not fit a column refuses the body, what does not fit a row refuses that row.


def three(value: Any, **more: Any) -> Any:
    return pa.array([value] * 3, **more)


AT: Final = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
_ENCODED: Final = pa.array(["x", None, "y"]).dictionary_encode()
_NESTED: Final = pa.array([[{"a": 1}]] * 3)
# name -> (column, values, field of the refusal or none where it is taken, word), of events; of outcomes further below.
_OF_EVENTS: Final[Mapping[str, tuple[str, Any, str]]] = {
    "unknown column": ("colour", three("red"), "unknown column; declared are"),
    "an outcome": ("intent_true", three("x"), "/outcomes"),
    "an empty name": ("", three(1), "unknown column"),
    "integers for a text": ("text", three(1), "declared as text: send strings"),
    "texts for a number": ("confidence", three("0.9"), "send integers, floats or decimals"),
    "booleans for a number": ("confidence", three(True), "declared as number"),
    "numbers for a boolean": ("urgent", three(1), "declared as boolean: send booleans"),
    "bytes for a text": ("text", three(b"x"), "declared as text"),
    "bytes of one length": ("text", three(b"xy", type=pa.binary(2)), "declared as text"),
    "large bytes": ("text", three(b"x", type=pa.large_binary()), "declared as text"),
    "a decimal for a text": ("text", three(decimal.Decimal("1.5")), "decimal128"),
    "a struct": ("text", three({"a": 1}), "struct"),
    "a map": ("text", pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())), "map"),
    "a list": ("text", three(["x"]), "list"),
    "a list of structs": ("meaning", _NESTED, "lists of numbers"),
    "a list of texts": ("meaning", three(["x", "y", "z"]), "lists of numbers"),
    "a number for a vector": ("meaning", three(1.5), "lists of numbers"),
    "a duration": ("confidence", three(5, type=pa.duration("s")), "duration"),
    "a date": ("text", three(dt.date(2026, 1, 1)), "date32"),
    "a time of day": ("text", three(dt.time(12)), "time64"),
    "a timestamp for a number": ("confidence", three(AT), "timestamp"),
    "a dictionary of integers": ("text", pa.array([1, 2, 1]).dictionary_encode(), "int64"),
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
    "ids as numbers": ("event_id", three(1), "declared as string: send strings"),
    "ids as bytes": ("event_id", three(b"a"), "declared as string"),
    "a very long name": ("k" * 300_000, three(1), "unknown column"),
}
_OF_OUTCOMES: Final[Mapping[str, tuple[str, Any, str]]] = {
    "a column of the event": ("text", three("x"), "part of the event"),
    "a time": ("ts", three(AT), "when it arrives"),
    "numbers as a category": ("intent_true", three(1), "declared as category"),
    "texts as a number": ("stars", three("four"), "declared as number"),
    "a struct": ("helpful", three({"a": True}), "struct"),
}
COLUMN_CASES: Final = [
    (kind, name, case)
    for kind, own in (("events", _OF_EVENTS), ("outcomes", _OF_OUTCOMES))
    for name, case in {**own, **_OF_BOTH}.items()
]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize(("kind", "name", "case"), COLUMN_CASES, ids=[f"{c[0]}-{c[1]}" for c in COLUMN_CASES])
def test_a_column_that_does_not_fit_refuses_the_body(
    ground: Ground, kind: str, name: str, case: tuple[str, Any, str], form: str
) -> None:
    column, values, word = case

    def make(rows: Rows) -> Bad:
        body = as_columns(form, table([rows.good() for _ in range(3)], **{column: values}))
        return Bad(body, 422, "schema_mismatch", column[:100], word)

    check(ground, kind, form, make)


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
def test_types_that_arrow_alone_has_are_refused(ground: Ground, name: str, values: Any) -> None:
    def make(rows: Rows) -> Bad:
        content = table([rows.good() for _ in range(3)], **{name: values})
        return Bad(as_columns("arrow", content), 422, "schema_mismatch", name, "send ")

    check(ground, "events", "arrow", make)


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
def test_types_that_fit_are_taken(ground: Ground, name: str, values: Any, form: str) -> None:
    def make(rows: Rows) -> Bad:
        return Bad(as_columns(form, table([rows.good() for _ in range(3)], **{name: values})), 200)

    check(ground, "events", form, make)


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
    "long ago": ("ts", dt.datetime(1066, 10, 14, tzinfo=dt.UTC), _ZONED, "before 1970"),
    "NaN": ("confidence", float("nan"), pa.float64(), "nan is not a finite number"),
    "infinity": ("confidence", float("inf"), pa.float32(), "inf is not a finite number"),
    "a short vector": ("meaning", [1.0], pa.list_(pa.float32()), "has 1 numbers; 3 are declared"),
    "a vector with NaN": ("meaning", [1, 2, float("nan")], pa.list_(pa.float32()), "number 3 of the vector"),
    "a vector with a null": ("meaning", [1, None, 3], pa.list_(pa.float32()), "number 2 of the vector is null"),
    "an unknown event": ("event_id", "never-sent", pa.string(), "send the event first"),
    "no outcome of NaN": ("stars", float("nan"), pa.float64(), "not a finite number"),
}
_ONLY_OUTCOMES: Final = {"an unknown event", "no outcome of NaN"}
CELL_CASES: Final = [
    (kind, name)
    for name, (column, *_) in CELLS.items()
    for kind in ("events", "outcomes")
    if (kind == "events" and name not in _ONLY_OUTCOMES) or (kind == "outcomes" and column in ("event_id", "stars"))
]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize(("kind", "name"), CELL_CASES)
def test_a_bad_row_of_columns_is_named_and_its_neighbours_are_stored(
    ground: Ground, kind: str, name: str, form: str
) -> None:
    column, value, type_, word = CELLS[name]

    def make(rows: Rows) -> Bad:
        good = [rows.good() for _ in range(3)]
        rows.made.pop(1)
        values = [dt.datetime.fromisoformat(row[column]) if column == "ts" else row[column] for row in good]
        content = table(good, **{column: _second(values, value, type_)})
        return Bad(as_columns(form, content), 200, field=column, word=word)

    check(ground, kind, form, make)


# Bodies that are refused as a whole.


def _bytes_of(form: str, rows: Rows, count: int = 3) -> bytes:
    return written(form, [rows.good() for _ in range(count)])


def _replaced(body: bytes, at: int, piece: bytes) -> bytes:
    at %= len(body)
    return body[:at] + piece + body[at + len(piece) :]


def _twice(form: str, rows: Rows) -> bytes:
    """A column that is there twice; the format itself does not mind."""
    content = table([rows.good() for _ in range(3)])
    return as_columns(form, content.append_column("event_id", content["event_id"]))


def _wide(form: str, rows: Rows) -> bytes:
    return as_columns(form, table([rows.good()], **{f"k{i}": pa.array([1]) for i in range(1000)}))


def _no_rows(form: str, rows: Rows) -> bytes:
    return as_columns(form, table([rows.good()]).slice(0, 0))


def _bomb(form: str, rows: Rows) -> bytes:
    """Small as it is sent, and larger than the limit once its own packing is undone."""
    row = rows.good()
    name = "text" if "text" in row else "intent_true"
    content = table([row], **{name: pa.array(["x" * (6 << 20)])})
    return as_columns(form, content, compression="zstd")


def _lying(rows: Rows) -> bytes:
    """A Parquet file whose footer says that its large page is a small one."""
    row = rows.good()
    name = "text" if "text" in row else "intent_true"
    content = table([row], **{name: pa.array(["x" * (16 << 20)])})
    body = as_columns("parquet", content, compression="zstd", use_dictionary=False, write_statistics=False)
    group = pq.read_metadata(io.BytesIO(body)).row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    size = next(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)
    start = len(body) - 8 - struct.unpack("<i", body[-8:-4])[0]
    footer = body[start:]
    for said in (size, group.total_byte_size):
        long = _varint(2 * said)
        assert footer.count(long) == 1
        footer = footer.replace(long, _varint(200, len(long)))
    return body[:start] + footer


def _varint(value: int, length: int = 0) -> bytes:
    out = bytearray()
    while value > 127 or len(out) + 1 < length:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _run(rows: Rows) -> bytes:
    """One vector of very many equal numbers: as a run it takes a few bytes."""
    count = 3_000_000
    zeros = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int8()), pa.array([0.0])).dictionary_decode()
    vector = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), zeros)
    return as_columns("parquet", table([rows.good()], meaning=vector), compression="zstd")


def _nothings(rows: Rows) -> bytes:
    """One vector of very many nulls, which have no buffer at all."""
    nulls = pa.FixedSizeListArray.from_arrays(pa.nulls(1 << 30), 1 << 30)
    return as_columns("arrow", table([rows.good()], meaning=nulls))


def _compact_schema(depth: int) -> bytes:
    """A Parquet file without rows whose schema is a group within a group, and so on."""
    group, leaf = b"\x35\x00\x18\x01a\x15\x02\x00", b"\x15\x02\x25\x00\x18\x01a\x00"
    footer = b"\x15\x02\x19\xfc" + _varint(depth + 1) + group * depth + leaf + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + struct.pack("<i", len(footer)) + b"PAR1"


def _other_index(rows: Rows) -> bytes:
    """A dictionary of two texts, and an index of a third."""
    kind = "intent" if rows.kind == "events" else "intent_true"
    indices = pa.array([0, 7, 1], pa.int8())
    odd = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
    return as_columns("arrow", table([rows.good() for _ in range(3)], **{kind: odd}))


def _not_text(rows: Rows) -> bytes:
    """A column of strings whose bytes are not UTF-8."""
    kind = "intent" if rows.kind == "events" else "intent_true"
    return as_columns("arrow", table([rows.good() for _ in range(3)], **{kind: three("zqzqz")})).replace(
        b"zqzqz", b"zq\xffqz", 2
    )


def _big_endian(rows: Rows) -> bytes:
    """A stream that says its numbers are big-endian; they are not."""
    body = bytearray(_bytes_of("arrow", rows))
    metadata = 8
    root = metadata + struct.unpack_from("<I", body, metadata)[0]
    vtable = root - struct.unpack_from("<i", body, root)[0]
    header = root + struct.unpack_from("<H", body, vtable + 8)[0]
    schema = header + struct.unpack_from("<I", body, header)[0]
    own = schema - struct.unpack_from("<i", body, schema)[0]
    one = next(at for at in range(schema, len(body), 2) if body[at : at + 2] == b"\1\0" and at - schema >= 8)
    struct.pack_into("<H", body, own + 4, one - schema)
    return bytes(body)


Whole = tuple[Callable[[str, Rows], bytes], int, str, str]  # body, status, code, word
_INVALID: Final = "invalid_body"
TEXTS: Final[Mapping[str, Whole]] = {
    "empty": (lambda form, rows: b"", 400, _INVALID, ""),
    "white space": (lambda form, rows: b" \r\n\t\n  ", 400, _INVALID, ""),
    "a mark and nothing": (lambda form, rows: b"\xef\xbb\xbf", 400, _INVALID, ""),
    "larger than the limit": (lambda form, rows: b" " * ((LIMIT_MB << 20) + 1), 413, "body_too_large", "2 MiB"),
    "more rows than are taken": (
        lambda form, rows: b"\n" * 1_000_001 if form == "ndjson" else b"[" + b"1," * 1_000_000 + b"1]",
        413, "body_too_large", "at most 1000000",
    ),
}  # fmt: skip
ARRAYS: Final[Mapping[str, Whole]] = {
    "no row": (lambda form, rows: b"[]", 400, _INVALID, "no row; send at least one"),
    "one object": (lambda form, rows: json.dumps(rows.good()).encode(), 400, _INVALID, "send a JSON array of objects"),
    "lines": (lambda form, rows: _bytes_of("ndjson", rows), 400, _INVALID, "invalid JSON"),
    "text": (lambda form, rows: b'"[]"', 400, _INVALID, "a string; send a JSON array"),
    "null": (lambda form, rows: b"null", 400, _INVALID, "null; send a JSON array"),
    "a number": (lambda form, rows: b"NaN", 400, _INVALID, "a number; send a JSON array"),
    "half": (lambda form, rows: _bytes_of(form, rows)[:-1], 400, _INVALID, "invalid JSON"),
    "half a row": (lambda form, rows: _bytes_of(form, rows)[:-40], 400, _INVALID, "invalid JSON"),
    "more after it": (lambda form, rows: _bytes_of(form, rows) + b"x", 400, _INVALID, "invalid JSON"),
    "twice": (lambda form, rows: _bytes_of(form, rows) * 2, 400, _INVALID, "invalid JSON"),
    "UTF-16": (lambda form, rows: _bytes_of(form, rows).decode().encode("utf-16"), 400, _INVALID, "invalid UTF-8"),
    "UTF-32": (lambda form, rows: _bytes_of(form, rows).decode().encode("utf-32-le"), 400, _INVALID, "invalid JSON"),
    "Arrow": (lambda form, rows: _bytes_of("arrow", rows), 400, _INVALID, "invalid UTF-8"),
    "deep": (lambda form, rows: b"[" * 500_000, 400, _INVALID, "nested too deeply"),
    "deep and closed": (lambda form, rows: b"[" * 500_000 + b"]" * 500_000, 400, _INVALID, "nested too deeply"),
}


def _cut(part: float) -> Callable[[str, Rows], bytes]:
    def made(form: str, rows: Rows) -> bytes:
        body = _bytes_of(form, rows)
        return body[: int(part * len(body)) if part < 1 else int(part)]

    return made


COLUMNAR: Final[Mapping[str, Whole]] = {
    "empty": (lambda form, rows: b"", 400, _INVALID, "write it anew"),
    "white space": (lambda form, rows: b"\r\n\t ", 400, _INVALID, "write it anew"),
    "garbage": (lambda form, rows: bytes(range(7, 256)) * 9, 400, _INVALID, "write it anew"),
    "zeros": (lambda form, rows: bytes(5000), 400, _INVALID, ""),
    "JSON": (lambda form, rows: _bytes_of("json", rows), 400, _INVALID, "it looks like JSON; say so: Content-Type"),
    "NDJSON": (lambda form, rows: _bytes_of("ndjson", rows), 400, _INVALID, "it looks like NDJSON; say so"),
    "gzip": (lambda form, rows: gzip.compress(_bytes_of(form, rows)), 400, _INVALID, "say so: Content-Encoding gzip"),
    "no rows": (_no_rows, 400, _INVALID, "no row; send at least one"),
    "a column twice": (_twice, 422, "schema_mismatch", "column event_id is there twice; send it once"),
    "very many columns": (_wide, 422, "schema_mismatch", "'k0': unknown column"),
    "a bomb": (_bomb, 413, "body_too_large", "unpacked body is larger than 2 MiB"),
    **{f"cut at {part}": (_cut(part), 400, _INVALID, "write it anew") for part in (3, 0.02, 0.3, 0.6, 0.9)},
}  # fmt: skip
STREAMS: Final[Mapping[str, Whole]] = {
    "an Arrow file": (lambda form, rows: _file(rows), 400, _INVALID, "write an IPC stream, with pyarrow"),
    "Parquet": (lambda form, rows: _bytes_of("parquet", rows), 400, _INVALID, "a Parquet file; say so"),
    "a length without end": (lambda form, rows: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(50), 400, _INVALID, "anew"),
    "a negative length": (lambda form, rows: b"\xff" * 64, 400, _INVALID, "anew"),
    "an index of nothing": (lambda form, rows: _other_index(rows), 400, _INVALID, "anew"),
    "text that is not UTF-8": (lambda form, rows: _not_text(rows), 400, _INVALID, "UTF8"),
    "the other byte order": (lambda form, rows: _big_endian(rows), 400, _INVALID, "anew"),
}  # fmt: skip
FILES: Final[Mapping[str, Whole]] = {
    "a stream": (lambda form, rows: _bytes_of("arrow", rows), 400, _INVALID, "an Arrow IPC stream; say so"),
    "a footer of garbage": (
        lambda form, rows: _replaced(_bytes_of(form, rows), -60, b"\xff" * 40), 400, _INVALID, "write it anew"
    ),
    "a footer larger than the file": (
        lambda form, rows: _replaced(_bytes_of(form, rows), -8, b"\xff\xff\xff\x7f"), 400, _INVALID, "write it anew"
    ),
    "a footer of nothing": (lambda form, rows: b"PAR1\0\0\0\0PAR1", 400, _INVALID, "write it anew"),
    "pages of garbage": (lambda form, rows: _replaced(_bytes_of(form, rows), 4, b"\xee" * 60), 400, _INVALID, "anew"),
    "an encrypted footer": (lambda form, rows: _bytes_of(form, rows)[:-4] + b"PARE", 400, _INVALID, "encrypted"),
    "a schema without end": (lambda form, rows: _compact_schema(20_000), 400, _INVALID, "nested"),
    "a footer that lies": (lambda form, rows: _lying(rows), 413, "body_too_large", "unpacked body is larger"),
    "an encoding without bound": (
        lambda form, rows: as_columns(
            form, table([rows.good()]), use_dictionary=False, column_encoding={"event_id": "DELTA_BYTE_ARRAY"}
        ),
        400, _INVALID, "column event_id is encoded as DELTA_BYTE_ARRAY, which is not taken; write it as PLAIN",
    ),
}  # fmt: skip
WHOLE: Final = {
    "ndjson": TEXTS, "json": {**TEXTS, **ARRAYS}, "arrow": {**COLUMNAR, **STREAMS}, "parquet": {**COLUMNAR, **FILES},
}  # fmt: skip


def _file(rows: Rows) -> bytes:
    content = table([rows.good()])
    out = io.BytesIO()
    with pa.ipc.new_file(out, content.schema) as writer:
        writer.write_table(content)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["events", "outcomes"])
@pytest.mark.parametrize(("form", "name"), [(form, name) for form, cases in WHOLE.items() for name in cases])
def test_a_body_that_cannot_be_read_is_refused_whole(ground: Ground, kind: str, form: str, name: str) -> None:
    body, status, code, word = WHOLE[form][name]
    check(ground, kind, form, lambda rows: Bad(body(form, rows), status, code, word=word))


@pytest.mark.parametrize(("form", "make"), [("parquet", _run), ("arrow", _nothings)], ids=["parquet", "arrow"])
def test_a_vector_that_would_fill_the_memory_is_refused(
    ground: Ground, form: str, make: Callable[[Rows], bytes]
) -> None:
    check(ground, "events", form, lambda rows: Bad(make(rows), 413, "body_too_large", word="larger than 2 MiB"))


@pytest.mark.parametrize("kind", ["events", "outcomes"])
@pytest.mark.parametrize("form", ["ndjson", "json"])
@pytest.mark.parametrize(
    "around",
    [
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.replace(b"}\n", b"}\r\n").replace(b"}, ", b"}\r\n,\r\n") + b"\r\n",
        lambda body: b"  \n\t" + body + b"\n \n\n",
        lambda body: b"\xef\xbb\xbf\r\n" + body + b"\r\n\r\n",
    ],
    ids=["mark", "CRLF", "white space", "all of it"],
)
def test_marks_and_line_ends_of_other_systems_are_taken(
    ground: Ground, kind: str, form: str, around: Callable[[bytes], bytes]
) -> None:
    check(ground, kind, form, lambda rows: Bad(around(_bytes_of(form, rows)), 200))


# Codings and headers, on every route.


ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    **{f"{kind}-{form}": (f"/api/v1/models/{kind}-{form}/{kind}", media) for kind in ("events", "outcomes")
       for form, media in FORMS.items()},
    "traces-protobuf": ("/v1/traces", PROTOBUF),
    "traces-json": ("/v1/traces", JSON),
}  # fmt: skip


def _good(ground: Ground, route: str) -> tuple[bytes, set[str]]:
    """A good body for a route, and the ids of its rows."""
    kind, _, form = route.partition("-")
    if kind == "traces":
        spans = _spans(ground)
        return _encoded(form, spans), {f"{one['trace']}-{one['id']}" for one in spans}
    rows = Rows(route, ground)
    return written(form, [rows.good() for _ in range(3)]), set(rows.made)


def _said(answer: httpx2.Response, route: str) -> str:
    """The words of a refusal, in whatever form the route has for them."""
    if route == "traces-protobuf" or answer.headers["content-type"] == PROTOBUF:
        assert answer.headers["content-type"] == PROTOBUF
        return str(_Status.FromString(answer.content).message)
    if route == "traces-json":
        return str(answer.json()["message"])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"]
    return str(answer.json()["detail"])


_zstd = CODINGS["zstd"]
PACKED: Final[Mapping[str, tuple[str, Callable[[bytes], bytes], int, str]]] = {
    "gzip cut short": ("gzip", lambda body: gzip.compress(body)[:-9], 400, "ends early"),
    "gzip cut at its head": ("gzip", lambda body: gzip.compress(body)[:5], 400, "ends early"),
    "gzip of nothing": ("gzip", lambda _: b"", 400, "ends early"),
    "garbage as gzip": ("gzip", lambda _: b"garbage" * 50, 400, "not gzip"),
    "plain as gzip": ("gzip", lambda body: body, 400, "not gzip"),
    "zstd as gzip": ("gzip", _zstd, 400, "not gzip"),
    "gzip of another sum": ("gzip", lambda body: gzip.compress(body)[:-8] + b"\1\2\3\4\5\6\7\x08", 400, "not gzip"),
    "gzip and garbage": ("gzip", lambda body: gzip.compress(body) + b"garbage", 400, "not gzip"),
    "a bomb in gzip": ("gzip", lambda _: gzip.compress(bytes(64 << 20), 1), 413, "unpacked body is larger than 2 MiB"),
    "gzip in gzip": ("gzip", lambda body: gzip.compress(gzip.compress(body)), 400, ""),
    "zstd cut short": ("zstd", lambda body: _zstd(body)[:-9], 400, "ends early"),
    "zstd cut at its head": ("zstd", lambda body: _zstd(body)[:5], 400, "ends early"),
    "zstd of nothing": ("zstd", lambda _: b"", 400, "ends early"),
    "garbage as zstd": ("zstd", lambda _: b"garbage" * 50, 400, "not zstd"),
    "plain as zstd": ("zstd", lambda body: body, 400, "not zstd"),
    "gzip as zstd": ("zstd", gzip.compress, 400, "not zstd"),
    "zstd and garbage": ("zstd", lambda body: _zstd(body) + b"garbage", 400, "zstd"),
    "a bomb in zstd": ("zstd", lambda _: _zstd(bytes(64 << 20)), 413, "unpacked body is larger than 2 MiB"),
    "a bomb of many frames": ("zstd", lambda _: _zstd(bytes(1 << 20)) * 500, 413, "unpacked body is larger"),
    "brotli": ("br", lambda body: body, 415, "gzip"),
    "two codings": ("gzip, zstd", lambda body: body, 415, "gzip"),
    "a coding of no name": (",", lambda body: body, 415, "gzip"),
}  # fmt: skip
_NOT_BY_CODING: Final = {"gzip in gzip": {"events-ndjson", "outcomes-ndjson"}}  # their lines are refused one by one


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", PACKED)
def test_a_body_that_cannot_be_unpacked_is_refused_whole(ground: Ground, route: str, name: str) -> None:
    if route in _NOT_BY_CODING.get(name, ()):
        return
    coding, pack, status, word = PACKED[name]
    path, form = ROUTES[route]
    with ground.nothing_else_stored(route):
        answer = ground.send(path, pack(_good(ground, route)[0]), form, coding)
        assert answer.status_code == status, answer.text[:500]
        assert word in _said(answer, route)


TYPES: Final = (
    "", "text/plain", "text/csv", "application/octet-stream", "application/json, application/json", "json", "*/*",
    "application/vnd.apache.arrow.file", "multipart/form-data; boundary=x", ";charset=utf-8",
)  # fmt: skip


@pytest.mark.parametrize("route", ["events-ndjson", "outcomes-json", "traces-protobuf"])
@pytest.mark.parametrize("form", TYPES)
def test_another_type_is_refused_with_those_that_are_taken(ground: Ground, route: str, form: str) -> None:
    with ground.nothing_else_stored(route):
        answer = ground.send(ROUTES[route][0], _good(ground, route)[0], form)
        assert answer.status_code == 415, answer.text
        assert f"send {PROTOBUF if 'traces' in route else NDJSON} or" in _said(answer, route)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("written_as", ["{}; charset=utf-8", '{} ;a=b; c="d;e"', "{};"])
def test_a_type_may_have_parameters_and_capitals(ground: Ground, route: str, written_as: str) -> None:
    path, form = ROUTES[route]
    body, ids = _good(ground, route)
    with ground.nothing_else_stored(route) as taken:
        answer = ground.send(path, body, written_as.format(form.upper()))
        assert answer.status_code == 200, answer.text
        taken.update(ids)


# Spans: what is no request is refused whole, a span that does not fit is told of and the others are stored.


def _spans(ground: Ground, count: int = 3) -> list[dict[str, Any]]:
    at = int(AT.timestamp()) * 10**9
    return [span(next(ground.numbers["traces"]) + 1, start=at, end=at + 10**9) for _ in range(count)]


def _encoded(form: str, spans: list[dict[str, Any]]) -> bytes:
    made = request_of(*spans)
    return made.SerializeToString() if form == "protobuf" else as_json(made)


SPANS: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "text for a number": (
        {"attributes": {"gen_ai.usage.total_tokens": "many"}},
        "total_tokens: is a string; the column",
    ),
    "a list for a number": ({"attributes": {"gen_ai.usage.total_tokens": [1]}}, "total_tokens: is a list"),
    "NaN": ({"attributes": {"gen_ai.usage.total_tokens": float("nan")}}, "total_tokens: nan is not a finite number"),
    "infinity": ({"attributes": {"gen_ai.usage.total_tokens": float("-inf")}}, "-inf is not a finite number"),
    "a boolean for a number": ({"attributes": {"gen_ai.usage.total_tokens": True}}, "total_tokens: is a boolean"),
    "a number for a category": ({"attributes": {"gen_ai.agent.name": 5}}, "part: is a whole number"),
    "a number for a subject": ({"attributes": {"user.id": 1.5}}, "customer: is a number"),
    "no version": ({"attributes": {"gen_ai.request.model": ""}}, "version: missing or empty"),
    "a version as a number": ({"attributes": {"gen_ai.request.model": 4}}, "version: is a whole number"),
    "a long version": ({"attributes": {"gen_ai.request.model": "v" * 65}}, "version: has 65 characters; at most 64"),
    "no trace": ({"trace": ""}, "trace_id: has 0 bytes; 16 that are not all zero"),
    "a trace of zeros": ({"trace": "0" * 32}, "trace_id: has 16 bytes; 16 that are not all zero"),
    "a long trace": ({"trace": "ab" * 17}, "trace_id: has 17 bytes"),
    "no id": ({"id": ""}, "span_id: has 0 bytes; 8 that are not all zero"),
    "an id of zeros": ({"id": "0" * 16}, "span_id: has 8 bytes"),
    "no time": ({"start": 0, "end": 0}, "ts: missing"),
    "a far future": ({"end": 4_923_000_000 * 10**9}, "ahead of now; check the unit"),
    "the last time of all": ({"end": 2**64 - 1}, "ahead of now; check the unit"),
}


@pytest.mark.parametrize("form", ["protobuf", "json"])
@pytest.mark.parametrize("name", SPANS)
def test_a_bad_span_is_told_of_and_its_neighbours_are_stored(ground: Ground, name: str, form: str) -> None:
    change, word = SPANS[name]
    route = f"traces-{form}"
    with ground.nothing_else_stored(route) as taken:
        for coding, pack in CODINGS.items():
            first, odd, last = _spans(ground)
            odd = odd | change | {"attributes": odd["attributes"] | change.get("attributes", {})}
            answer = ground.send("/v1/traces", pack(_encoded(form, [first, odd, last])), ROUTES[route][1], coding)
            rejected, message = _partial(answer, form)
            assert rejected == 1, (coding, message)
            assert message.startswith("span 2: model shop: ")
            assert word in message
            taken |= {f"{one['trace']}-{one['id']}" for one in (first, last)}


def _partial(answer: httpx2.Response, form: str) -> tuple[int, str]:
    assert answer.status_code == 200, answer.content
    if form == "json":
        found = answer.json().get("partialSuccess", {})
        return int(found.get("rejectedSpans", 0)), found.get("errorMessage", "")
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    return partial.rejected_spans, partial.error_message


HOSTILE: Final = {("protobuf", name): body for name, body in HOSTILE_PROTOBUF.items()} | {
    ("json", name): body for name, body in HOSTILE_JSON.items()
}


@pytest.mark.parametrize(("form", "name"), HOSTILE)
def test_what_is_no_request_of_spans_is_refused_whole(ground: Ground, form: str, name: str) -> None:
    route = f"traces-{form}"
    with ground.nothing_else_stored(route):
        for coding, pack in CODINGS.items():
            answer = ground.send("/v1/traces", pack(HOSTILE[form, name]), ROUTES[route][1], coding)
            assert answer.status_code == 400, (coding, answer.content)
            assert 0 < len(_said(answer, route)) < 500


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_fields_that_nobody_knows_are_skipped_and_a_body_of_nothing_has_no_span(ground: Ground, form: str) -> None:
    (one,) = _spans(ground, 1)
    route, body = f"traces-{form}", _encoded(form, [one])
    if form == "protobuf":
        sent = [b"\xfa\x3f\x03abc\xf0\x3f\x05" + body, b""]
    else:
        sent = [b'{"a": [{}], ' + body[1:], b"{}", b"\xef\xbb\xbf{}\r\n"]
    with ground.nothing_else_stored(route) as taken:
        for each in sent:
            assert _partial(ground.send("/v1/traces", each, ROUTES[route][1]), form) == (0, "")
        taken.add(f"{one['trace']}-{one['id']}")
