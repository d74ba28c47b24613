"""Bodies that cannot be read are refused as a whole; marks and line ends of other systems are taken."""

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from tests.server.bad_bodies import broken
from tests.server.bad_bodies.rows import EVERY_CODING, Bad, Rows, as_columns, body_of, check, table
from tests.server.bad_bodies.target import LIMIT_MB, Target

Whole = tuple[Callable[[str, Rows], bytes], int, str, str]  # body, status, code, word
_INVALID: Final = "invalid_body"
_REWRITE = "write the file again"
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
    "lines": (lambda form, rows: body_of("ndjson", rows), 400, _INVALID, "invalid JSON"),
    "text": (lambda form, rows: b'"[]"', 400, _INVALID, "a string; send a JSON array"),
    "null": (lambda form, rows: b"null", 400, _INVALID, "null; send a JSON array"),
    "a number": (lambda form, rows: b"NaN", 400, _INVALID, "a number; send a JSON array"),
    "half": (lambda form, rows: body_of(form, rows)[:-1], 400, _INVALID, "invalid JSON"),
    "half a row": (lambda form, rows: body_of(form, rows)[:-40], 400, _INVALID, "invalid JSON"),
    "more after it": (lambda form, rows: body_of(form, rows) + b"x", 400, _INVALID, "invalid JSON"),
    "twice": (lambda form, rows: body_of(form, rows) * 2, 400, _INVALID, "invalid JSON"),
    "UTF-16": (lambda form, rows: body_of(form, rows).decode().encode("utf-16"), 400, _INVALID, "invalid UTF-8"),
    "UTF-32": (lambda form, rows: body_of(form, rows).decode().encode("utf-32-le"), 400, _INVALID, "invalid JSON"),
    "Arrow": (lambda form, rows: body_of("arrow", rows), 400, _INVALID, "invalid UTF-8"),
    "deep": (lambda form, rows: b"[" * 500_000, 400, _INVALID, "nested too deeply"),
    "deep and closed": (lambda form, rows: b"[" * 500_000 + b"]" * 500_000, 400, _INVALID, "nested too deeply"),
}


def _cut(part: float) -> Callable[[str, Rows], bytes]:
    def made(form: str, rows: Rows) -> bytes:
        body = body_of(form, rows)
        return body[: int(part * len(body)) if part < 1 else int(part)]

    return made


COLUMNAR: Final[Mapping[str, Whole]] = {
    "empty": (lambda form, rows: b"", 400, _INVALID, _REWRITE),
    "white space": (lambda form, rows: b"\r\n\t ", 400, _INVALID, _REWRITE),
    "garbage": (lambda form, rows: bytes(range(7, 256)) * 9, 400, _INVALID, _REWRITE),
    "zeros": (lambda form, rows: bytes(5000), 400, _INVALID, ""),
    "JSON": (lambda form, rows: body_of("json", rows), 400, _INVALID, "it looks like JSON; send it with Content-Type"),
    "NDJSON": (lambda form, rows: body_of("ndjson", rows), 400, _INVALID, "it looks like NDJSON; send it with"),
    "gzip": (lambda form, rows: gzip.compress(body_of(form, rows)), 400, _INVALID, "with Content-Encoding gzip"),
    "no rows": (broken.no_rows, 400, _INVALID, "no row; send at least one"),
    "a column twice": (broken.column_twice, 422, "schema_mismatch", "column event_id appears twice; send it once"),
    "very many columns": (broken.very_wide, 422, "schema_mismatch", "'k0': unknown column"),
    "a bomb": (broken.bomb, 413, "body_too_large", "unpacked body is larger than 2 MiB"),
    **{f"cut at {part}": (_cut(part), 400, _INVALID, _REWRITE) for part in (3, 0.02, 0.3, 0.6, 0.9)},
}  # fmt: skip
STREAMS: Final[Mapping[str, Whole]] = {
    "an Arrow file": (lambda form, rows: broken.arrow_file(rows), 400, _INVALID, "write an IPC stream with pyarrow"),
    "Parquet": (lambda form, rows: body_of("parquet", rows), 400, _INVALID, "a Parquet file; send it with"),
    "a length without end": (
        lambda form, rows: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(50), 400, _INVALID, _REWRITE
    ),
    "a negative length": (lambda form, rows: b"\xff" * 64, 400, _INVALID, _REWRITE),
    "an index of nothing": (lambda form, rows: broken.index_out_of_range(rows), 400, _INVALID, _REWRITE),
    "text that is not UTF-8": (lambda form, rows: broken.text_not_utf8(rows), 400, _INVALID, "UTF8"),
    "the other byte order": (lambda form, rows: broken.big_endian(rows), 400, _INVALID, _REWRITE),
}  # fmt: skip
FILES: Final[Mapping[str, Whole]] = {
    "a stream": (lambda form, rows: body_of("arrow", rows), 400, _INVALID, "an Arrow IPC stream; send it with"),
    "a footer of garbage": (
        lambda form, rows: broken.replaced(body_of(form, rows), -60, b"\xff" * 40), 400, _INVALID, _REWRITE
    ),
    "a footer larger than the file": (
        lambda form, rows: broken.replaced(body_of(form, rows), -8, b"\xff\xff\xff\x7f"), 400, _INVALID, _REWRITE
    ),
    "a footer of nothing": (lambda form, rows: b"PAR1\0\0\0\0PAR1", 400, _INVALID, _REWRITE),
    "pages of garbage": (
        lambda form, rows: broken.replaced(body_of(form, rows), 4, b"\xee" * 60), 400, _INVALID, _REWRITE
    ),
    "an encrypted footer": (lambda form, rows: body_of(form, rows)[:-4] + b"PARE", 400, _INVALID, "encrypted"),
    "a schema without end": (lambda form, rows: broken.deep_schema(20_000), 400, _INVALID, "nested"),
    "a footer that lies": (
        lambda form, rows: broken.lying_footer(rows), 413, "body_too_large", "unpacked body is larger"
    ),
    "an encoding without bound": (
        lambda form, rows: as_columns(
            form, table([rows.good()]), use_dictionary=False, column_encoding={"event_id": "DELTA_BYTE_ARRAY"}
        ),
        400, _INVALID, "column event_id is encoded as DELTA_BYTE_ARRAY, which is not supported; write it as PLAIN",
    ),
}  # fmt: skip
WHOLE: Final = {
    "ndjson": TEXTS, "json": {**TEXTS, **ARRAYS}, "arrow": {**COLUMNAR, **STREAMS}, "parquet": {**COLUMNAR, **FILES},
}  # fmt: skip


@pytest.mark.parametrize("kind", ["events", "outcomes"])
@pytest.mark.parametrize(("form", "name"), [(form, name) for form, cases in WHOLE.items() for name in cases])
@EVERY_CODING
def test_a_body_that_cannot_be_read_is_refused_whole(
    target: Target, kind: str, form: str, name: str, coding: str
) -> None:
    body, status, code, word = WHOLE[form][name]
    check(target, kind, form, lambda rows: Bad(body(form, rows), status, code, word=word), coding)


@pytest.mark.parametrize(
    ("form", "make"), [("parquet", broken.run_of_zeros), ("arrow", broken.very_many_nulls)], ids=["parquet", "arrow"]
)
@EVERY_CODING
def test_a_vector_that_would_fill_the_memory_is_refused(
    target: Target, form: str, make: Callable[[Rows], bytes], coding: str
) -> None:
    check(target, "events", form, lambda rows: Bad(make(rows), 413, "body_too_large", word="larger than 2 MiB"), coding)


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
@EVERY_CODING
def test_marks_and_line_ends_of_other_systems_are_taken(
    target: Target, kind: str, form: str, around: Callable[[bytes], bytes], coding: str
) -> None:
    check(target, kind, form, lambda rows: Bad(around(body_of(form, rows)), 200), coding)
