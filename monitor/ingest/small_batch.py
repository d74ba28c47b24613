"""Read a small batch of JSON events without a query plan, for models that send one event at a time.

This reader accepts only batches that are plainly valid. All others go to the column readers, which alone reject rows.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from monitor.ingest import vectors
from monitor.ingest.media import JSON, NDJSON
from monitor.ingest.row_values import row_value
from monitor.ingest.validate import MAX_ID_CHARS, MAX_VERSION_CHARS

if TYPE_CHECKING:
    from monitor.ingest.plausible_times import TimeSpan
    from monitor.ingest.row_schema import Target

MAX_SMALL_BODY_BYTES: Final = 16 << 10
MAX_SMALL_BODY_ROWS: Final = 8
_TIME_PATTERN: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class _NotPlainError(Exception):
    """The body needs the column readers."""


def read_small_batch(target: "Target", body: bytes, media_type: str, now: datetime) -> list[dict[str, Any]] | None:
    """Return the rows with `ts` as a UTC time, or None if the body needs the column readers."""
    if not target.timed or target.spec.redact or len(body) > MAX_SMALL_BODY_BYTES or media_type not in (NDJSON, JSON):
        return None
    span = target.span(now)
    try:
        return [_row(target, pairs, span) for pairs in _objects(body, media_type)] or None
    except (_NotPlainError, ValueError, OverflowError, RecursionError):
        return None


def _objects(body: bytes, media_type: str) -> Sequence[Any]:
    text = body.decode()
    if media_type == JSON:
        found = _DECODER.decode(text)
        if type(found) is not list:
            raise _NotPlainError
    else:
        lines = text.split("\n", MAX_SMALL_BODY_ROWS + 1)
        if len(lines) > MAX_SMALL_BODY_ROWS + 1:
            raise _NotPlainError
        found = [_DECODER.decode(line) for line in lines if line.strip()]
    if len(found) > MAX_SMALL_BODY_ROWS:
        raise _NotPlainError
    return found


def _row(target: "Target", pairs: Any, span: "TimeSpan") -> dict[str, Any]:
    if type(pairs) is not _Pairs:
        raise _NotPlainError
    row = dict(pairs)
    if len(row) < len(pairs):  # a duplicate key
        raise _NotPlainError
    for name, value in pairs:
        if name != "ts":
            kind = target.columns.get(name)
            if kind == "vector":
                if vectors.misfit(value, target.dimensions[name]):
                    raise _NotPlainError
            elif kind is None:
                raise _NotPlainError
            elif type(value) is not float or not isfinite(value) or kind != "number":
                row[name] = row_value(value, kind)
    event_id, version, written = row.get("event_id"), row.get("version"), row.get("ts")
    if not event_id or not version or type(written) is not str:
        raise _NotPlainError
    if len(event_id) > MAX_ID_CHARS or len(version) > MAX_VERSION_CHARS or not event_id.isprintable():
        raise _NotPlainError
    if not _TIME_PATTERN.fullmatch(written):
        raise _NotPlainError
    at = datetime.fromisoformat(written).astimezone(UTC)
    if not span.earliest <= at <= span.latest:
        raise _NotPlainError
    return row | {"ts": at}


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its list of pairs, duplicate keys included."""


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_Pairs)
