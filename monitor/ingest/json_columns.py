"""Read JSON rows directly into columns; only doubtful lines go through the row-by-row reader.

This reader accepts a line under three conditions: the byte scan finds a flat object of declared columns with values of
the declared kinds, Polars parses the line, and its values pass the column rules. Every other line goes to the
row-by-row reader, which alone rejects rows and gives the reasons.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from monitor.ingest.json_scan import Lines, Positions, scan
from monitor.ingest.ndjson import BOM, Rows, check_count, read_json, read_lines, read_ndjson
from monitor.ingest.row_schema import Target
from monitor.ingest.validate import CheckedRows

_WHITESPACE: Final = b" \t\r\n"
_MIN_SPLIT_LINES: Final = 32  # a block this small that Polars refuses is not split further but read row by row


def read_ndjson_columns(target: Target, body: bytes, now: datetime) -> CheckedRows:
    """Read one JSON object per line.

    Raises:
        BodyError: the body has no line.
        BodyTooLargeError: the body has more lines than one request may have.
    """
    body = body.removeprefix(BOM)
    check_count(body.count(b"\n"))
    if not body:
        return target.examine(read_ndjson(body), now)
    lines = scan(body, target.keys)
    blocks = list(_parsed(target, body, lines, np.flatnonzero(lines.passed)))
    checked, others = _accepted(target, blocks, len(lines.starts), now)
    if not len(others):
        return checked
    if len(others) == len(lines.starts):
        return target.examine(read_ndjson(body), now)
    return merged(checked, target.examine(read_lines(_texts(body, lines, others)), now))


def read_json_columns(target: Target, body: bytes, now: datetime) -> CheckedRows:
    """Read a JSON array of objects.

    Raises:
        BodyError: the body is not UTF-8, not JSON, not an array, or empty.
        BodyTooLargeError: the body has more rows than one request may have.
    """
    body = body.removeprefix(BOM)
    split = _split_array(body)
    if split is None:
        return target.examine(read_json(body), now)
    check_count(split.count(b"\n"))
    lines = scan(split, target.keys)
    blocks = list(_parsed(target, split, lines, np.flatnonzero(lines.passed)))
    checked, others = _accepted(target, blocks, len(lines.starts), now)
    if not len(others):
        return checked
    elements = ((i + 1, split[lines.starts[i] : lines.ends[i]]) for i in others.tolist())
    rows = read_lines(elements) if len(others) < len(lines.starts) else Rows([], [], [])
    # The elements were split at their braces, which is correct only if each of them is an object.
    if len(rows.objects) < len(others):
        return target.examine(read_json(body), now)
    return merged(checked, target.examine(rows, now))


def _parsed(target: Target, body: bytes, lines: Lines, at: Positions) -> Iterator[tuple[Positions, pl.DataFrame]]:
    """Yield the lines as columns, in blocks; a small block that Polars refuses is left out."""
    if not len(at):
        return
    is_whole_body = len(at) == len(lines.starts)
    text = body if is_whole_body else b"\n".join(body[lines.starts[i] : lines.ends[i]] for i in at.tolist())
    try:
        frame = pl.read_ndjson(text, schema=target.schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        frame = None
    if frame is not None and frame.height == len(at):
        yield at, frame
    elif len(at) > _MIN_SPLIT_LINES:
        yield from _parsed(target, body, lines, at[: len(at) // 2])
        yield from _parsed(target, body, lines, at[len(at) // 2 :])


def _accepted(
    target: Target, blocks: list[tuple[Positions, pl.DataFrame]], count: int, now: datetime
) -> tuple[CheckedRows, Positions]:
    """Return the rows that pass every rule, and the positions of all other lines."""
    at = np.concatenate([where for where, _ in blocks]) if blocks else np.zeros(0, dtype=np.int64)
    frame = pl.concat([part for _, part in blocks]) if blocks else pl.DataFrame(schema=target.schema)
    frame, good = target.good(target.with_levels(frame), now)
    if good.all() and len(at) == count:
        return CheckedRows(frame, range(1, count + 1), []), at[:0]
    at = at[good.to_numpy()]
    others = np.ones(count, dtype=np.bool_)
    others[at] = False
    return CheckedRows(frame.filter(good), (at + 1).tolist(), []), np.flatnonzero(others)


def merged(taken: CheckedRows, examined: CheckedRows) -> CheckedRows:
    """Merge rows in line order, because the first of two rows with the same id counts."""
    if not examined.frame.height:
        return CheckedRows(taken.frame, taken.lines, examined.rejected)
    lines = np.concatenate((np.asarray(taken.lines, dtype=np.int64), np.asarray(examined.lines, dtype=np.int64)))
    order = np.argsort(lines, kind="stable")
    frame = pl.concat([taken.frame, examined.frame.select(taken.frame.columns)])[order]
    return CheckedRows(frame, lines[order].tolist(), examined.rejected)


def _texts(body: bytes, lines: Lines, at: Positions) -> Iterator[tuple[int, str | bytes]]:
    """Yield the lines as the row-by-row reader takes them: text, or bytes if the body as a whole is not UTF-8."""
    try:
        body.decode()
        text = True
    except UnicodeDecodeError:
        text = False
    for i in at.tolist():
        line = body[lines.starts[i] : lines.ends[i]]
        yield i + 1, line.decode().strip() if text else line.strip()


def _split_array(body: bytes) -> bytes | None:
    """Turn an array of flat objects into lines without moving a byte; None unless the layout is unmistakable."""
    start, end = body.find(b"{"), body.rfind(b"}") + 1
    if start < 0 or body[:start].strip(_WHITESPACE) != b"[" or body[end:].strip(_WHITESPACE) != b"]":
        return None
    unpaired = body.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in body else body
    marks = np.frombuffer(unpaired, dtype=np.uint8)
    quotes = np.flatnonzero(marks == ord('"'))
    braces = _outside(marks, ord("{"), quotes)
    newlines = np.flatnonzero(marks == ord("\n"))
    out = bytearray(body)
    text = np.frombuffer(out, dtype=np.uint8)
    if len(newlines):  # whitespace between values; inside a string a newline is an error that must not be hidden
        if len(_outside(marks, ord("\n"), quotes)) < len(newlines):
            return None
        text[newlines] = ord(" ")
    before = braces[1:] - 1
    spaced = text[before] == ord(" ")
    commas = before - spaced
    if not (text[commas] == ord(",")).all():
        return None
    text[commas] = ord(" ")
    text[before] = ord("\n")
    return bytes(memoryview(out)[start:end])


def _outside(marks: "np.ndarray[tuple[int], np.dtype[np.uint8]]", byte: int, quotes: Positions) -> Positions:
    """Positions of a byte outside strings."""
    at = np.flatnonzero(marks == byte)
    inside: Positions = at[np.searchsorted(quotes, at) % 2 == 0]
    return inside
