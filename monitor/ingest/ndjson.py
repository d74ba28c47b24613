"""Parse request bytes into JSON objects, one per row; a bad row is rejected alone, not with its request."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import InvalidError
from monitor.ingest.media import NDJSON

BOM: Final = b"\xef\xbb\xbf"
MAX_BODY_ROWS: Final = 1_000_000  # in one body


class BodyError(InvalidError):
    """The body as a whole cannot be read; nothing of it was stored."""

    code = "invalid_body"


class BodyTooLargeError(InvalidError):
    code = "body_too_large"


def check_count(rows: int) -> None:
    """Bound the rows that a body holds or declares: rows of a few bytes each soon become millions of objects.

    Raises:
        BodyTooLargeError: there are more than one request may have.
    """
    if rows > MAX_BODY_ROWS:
        raise BodyTooLargeError(
            f"the body has {rows} rows; send at most {MAX_BODY_ROWS} at once", limit_rows=MAX_BODY_ROWS
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not stored. `line` counts from 1: the line of an NDJSON body, the element of a JSON array."""

    line: int
    field: str | None
    reason: str
    # The row as it was read, or the unparsed line. It holds personal data: quarantine redacts it before it is shown.
    raw: Mapping[str, Any] | str | bytes | None = dataclasses.field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rows:
    """Objects in the order they arrived, the line of each, and rejections for the lines without an object."""

    objects: list[dict[str, Any]]
    lines: list[int]
    rejected: list[Rejection]
    unit: str = ""  # in which the sender counted times: s, ms, us or ns; empty for texts


def read_ndjson(body: bytes) -> Rows:
    """Read one JSON object per line; blank lines are skipped.

    Raises:
        BodyError: the body has no line.
        BodyTooLargeError: the body has more lines than one request may have.
    """
    check_count(body.count(b"\n"))
    return _not_empty(read_lines(_lines(body.removeprefix(BOM))))


def read_lines(lines: Iterable[tuple[int, str | bytes]]) -> Rows:
    """Read numbered lines that have no whitespace around them; empty lines are skipped."""
    rows = Rows([], [], [])
    for line, text in lines:
        if not text:
            continue
        try:
            value = _DECODER.decode(text if isinstance(text, str) else text.decode())
        except (ValueError, RecursionError) as error:
            rows.rejected.append(Rejection(line, None, _decode_reason(error), text))
            continue
        _take(rows, line, value)
    return rows


def read_json(body: bytes) -> Rows:
    """Read a JSON array of objects.

    Raises:
        BodyError: the body is not UTF-8, not JSON, not an array, or empty.
        BodyTooLargeError: the body has more rows than one request may have.
    """
    try:
        value = _DECODER.decode(body.removeprefix(BOM).decode())
    except (ValueError, RecursionError) as error:
        raise BodyError(f"the body is not a JSON array: {_decode_reason(error)}") from error
    if not isinstance(value, list):
        raise BodyError(
            f"the body is {_kind_name(value)}; send a JSON array of objects, or one object per line as {NDJSON}"
        )
    check_count(len(value))
    rows = Rows([], [], [])
    for line, item in enumerate(value, start=1):
        _take(rows, line, item)
    return _not_empty(rows)


def _lines(body: bytes) -> Iterator[tuple[int, str | bytes]]:
    try:
        text = body.decode()
    except UnicodeDecodeError:  # then only the lines that are not UTF-8 are rejected
        yield from ((number, line.strip()) for number, line in enumerate(body.split(b"\n"), start=1))
    else:
        yield from ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))


class _DuplicateKeys(dict[str, Any]):
    """An object with a duplicate key, which keeps its last value."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _DuplicateKeys(pairs)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object)


def read_object(line: str | bytes) -> dict[str, Any] | None:
    """The object on a line; None where `read_lines` would reject the line, whatever the spec declares."""
    try:
        value = _DECODER.decode(line if isinstance(line, str) else line.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not isinstance(value, _DuplicateKeys) else None


def _take(rows: Rows, line: int, value: Any) -> None:
    if isinstance(value, _DuplicateKeys):
        name = value.name.encode(errors="replace").decode()[:60]
        rows.rejected.append(Rejection(line, name, "appears twice in the row; send it once", dict(value)))
    elif isinstance(value, dict):
        rows.objects.append(value)
        rows.lines.append(line)
    else:
        rows.rejected.append(_no_object(line, value))


def _no_object(line: int, value: Any) -> Rejection:
    return Rejection(line, None, f"the row is {_kind_name(value)}; send an object of columns", json_line(value))


def json_line(value: Any) -> str:
    """Write a value as one line of JSON; half of a surrogate pair stays escaped because it is not valid text."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError:
        return ""
    return text


def _not_empty(rows: Rows) -> Rows:
    if not rows.objects and not rows.rejected:
        raise BodyError("the body holds no row; send at least one")
    return rows


def _decode_reason(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return f"invalid UTF-8: byte {error.object[error.start]:#04x} at position {error.start + 1}"
        case json.JSONDecodeError():
            return f"invalid JSON: {error.msg} at character {error.pos + 1}"
        case ValueError() if "int_max_str_digits" in str(error):
            return "invalid JSON: a number has more than 4300 digits; send it as a decimal fraction with an exponent"
        case RecursionError():
            return "invalid JSON: nested too deeply"
        case _:
            return f"invalid JSON: {error}"


def _kind_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
