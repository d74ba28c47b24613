"""Prepare rejected rows for quarantine: the redacted text of each, and the reason for the rejection."""

import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from monitor.ingest.ndjson import Rejection, json_line
from monitor.ingest.row_values import MisfitError, row_value, short
from monitor.ingest.validate import MAX_ID_CHARS
from monitor.redact.columns import every_rule, redacted_texts
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec

MAX_ROWS_PER_REQUEST: Final = 10_000
MIN_ROWS_PER_MODEL: Final = 10_000  # undecided rows that every model may have in quarantine
EVENTS_PER_ROW: Final = 10  # a model with many events may have one undecided row per this many events
MAX_RAW_BYTES: Final = 64 << 10  # bytes

# A JSON string, closed or not. The text between strings is structure, numbers, or not JSON at all.
_STRING: Final = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\\?\Z))', re.DOTALL)
_VALUE: Final = re.compile(r"(\s*:\s*)([^\s,}\]]+)")
_LONG_NUMBER: Final = re.compile(r"(?<![\w.])\d{12,}(?![\w.])")


def free_rows(events: int, undecided: int) -> int:
    """Return how many more rejected rows of a model may be kept: a broken producer must not fill the disk."""
    return max(0, min(MAX_ROWS_PER_REQUEST, max(MIN_ROWS_PER_MODEL, events // EVENTS_PER_ROW) - undecided))


def quarantine_rows(
    spec: ModelSpec,
    kind: str,
    rejected: Sequence[Rejection],
    body_digest: str | None,
    *,
    key: bytes,
    digest: Callable[[str], str],
) -> pl.DataFrame:
    """Return rejections as rows of the quarantine table, without `ts` and `seq`.

    Args:
        kind: `events` or `outcomes`.
        body_digest: digest of the request body, stored with each row.
        key: keys the markers that replace personal data. It also keys the row ids: the same text and reason give the
            same id, so a repeated request adds nothing.
        digest: maps a subject to the value that is stored in its place.
    """
    texts = [_text(r.raw)[: 2 * MAX_RAW_BYTES] for r in rejected]
    subjects = {name: spec.columns[name].type for name in spec.with_role("subject")}
    lines = [_Line(text, subjects, digest) for text in texts]
    shown = [_quotable_value(r) for r in rejected]
    clean = _redacted([part for line in lines for part in line.parts] + shown, spec, key)
    rows = []
    for rejection, line, value in zip(rejected, lines, shown, strict=True):
        raw = (
            line.joined(clean, quoted=isinstance(rejection.raw, Mapping))
            .encode()[:MAX_RAW_BYTES]
            .decode(errors="ignore")
        )
        reason = rejection.reason
        if value and (clean[value] != value or rejection.field in spec.with_role("subject")):
            hidden = digest(value) if rejection.field in spec.with_role("subject") else clean[value]
            reason = reason.replace(short(_raw_value(rejection)), short(hidden))
        rows.append({
            "id": hmac.digest(key, f"{kind}\0{reason}\0{raw}".encode(), "sha256").hex()[:32],
            "event_id": _event_id(rejection.raw), "kind": kind, "line": rejection.line, "field": rejection.field,
            "reason": reason, "raw": raw, "subject": line.subject, "body_digest": body_digest,
        })  # fmt: skip
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA: Final = {
    "id": pl.String, "event_id": pl.String, "kind": pl.String, "line": pl.Int64, "field": pl.String,
    "reason": pl.String, "raw": pl.String, "subject": pl.String, "body_digest": pl.String,
}  # fmt: skip


def _text(raw: Mapping[str, object] | str | bytes | None) -> str:
    match raw:
        case None:
            return ""
        case str():
            return raw.encode(errors="replace").decode()
        case bytes():
            return raw.decode(errors="replace")
    return json_line(raw)


def _event_id(raw: Mapping[str, object] | str | bytes | None) -> str | None:
    value = raw.get("event_id") if isinstance(raw, Mapping) else None
    readable = isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isprintable()
    return value if readable and isinstance(value, str) else None


def _raw_value(rejection: Rejection) -> object:
    return rejection.raw.get(rejection.field) if isinstance(rejection.raw, Mapping) and rejection.field else None


def _quotable_value(rejection: Rejection) -> str:
    """Return the value that the reason may quote, as text."""
    value = _raw_value(rejection)
    return "" if value is None else str(value).encode(errors="replace").decode()


def _redacted(texts: Sequence[str], spec: ModelSpec, key: bytes) -> Mapping[str, str]:
    distinct = list(dict.fromkeys(texts))
    clean = redacted_texts(pl.Series(distinct, dtype=pl.String), every_rule(spec.redact), key)
    return dict(zip(distinct, clean.to_list(), strict=True))


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    is_string: bool


class _Line:
    """A line split into its strings and the text between them, with the subject's value replaced."""

    def __init__(self, text: str, subjects: Mapping[str, ColumnType], digest: Callable[[str], str]) -> None:
        self.subject: str | None = None
        self._digest = digest
        self._tokens = [_Part(t, i % 2 == 1) for i, t in enumerate(_STRING.split(text))]
        for i, token in enumerate(self._tokens):
            if token.is_string and (kind := subjects.get(_decoded(token.text))) is not None:
                self._hide_value(i, kind)

    @property
    def parts(self) -> Iterator[str]:
        return (part for token in self._tokens for part in _inner(token))

    def joined(self, clean: Mapping[str, str], *, quoted: bool) -> str:
        """Return the line with redacted parts; `quoted` puts markers of numbers in quotes, so that JSON stays valid."""
        out = []
        for token in self._tokens:
            if not token.is_string:
                out.append(_numbers(token.text, clean) if quoted else clean[token.text])
                continue
            (inner,) = _inner(token)
            out.append(token.text if clean[inner] == inner else json.dumps(clean[inner], ensure_ascii=False))
        return "".join(out)

    def _hide_value(self, at: int, kind: ColumnType) -> None:
        after = self._tokens[at + 1] if at + 1 < len(self._tokens) else None
        if after is None or not after.text.lstrip().startswith(":"):
            return
        if after.text.strip() == ":" and at + 2 < len(self._tokens):
            value = _decoded(self._tokens[at + 2].text)
            self._tokens[at + 2] = _Part(self._mark(value, kind), is_string=True)
        elif (number := _VALUE.match(after.text)) and number[2] != "null":
            rest = after.text[number.end() :]
            self._tokens[at + 1] = _Part(f"{number[1]}{self._mark(_scalar(number[2]), kind)}{rest}", is_string=False)

    def _mark(self, value: Any, kind: ColumnType) -> str:
        """The subject as it would have been stored, so that an erasure finds it: 17.0 is 17."""
        stored = None
        with suppress(MisfitError):
            stored = row_value(value, kind)
        self.subject = self._digest(str(value if stored is None else stored))
        return json.dumps(f"[subject:{self.subject}]")


def _scalar(text: str) -> Any:
    """A number or truth value of JSON; any other text as it is."""
    try:
        return json.loads(text) if text[0] in "-0123456789tf" else text
    except ValueError:
        return text


def _inner(token: _Part) -> tuple[str, ...]:
    if token.is_string:
        return (_decoded(token.text),)
    return (token.text, *_LONG_NUMBER.findall(token.text))


def _numbers(text: str, clean: Mapping[str, str]) -> str:
    return _LONG_NUMBER.sub(lambda m: m[0] if clean[m[0]] == m[0] else json.dumps(clean[m[0]]), text)


def _decoded(literal: str) -> str:
    try:
        value = json.loads(literal, strict=False)
    except ValueError:
        return literal.strip('"')
    return value.encode(errors="replace").decode() if isinstance(value, str) else literal
