"""What is kept of the shape of traces: of each span of a mapped service its parent, name, kind, times, tokens and cost.

One call is one event; the chains, agents and tools around it are none. Their outline is kept here for the trace view:
no text that was asked or answered. A request costs a few microseconds per span; a thread writes what has come together
every two seconds. So a killed process loses the outlines of its last seconds, never an event, and under heavy load
those of some requests are left out. The newest parts of traces are kept, and none for longer than a month.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from core.cache import CacheKind
from monitor.ingest.otlp.fields import ATTRIBUTES, COMPUTED, is_failed, number_of
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.span_counts import stored_name
from monitor.ingest.otlp.spans import Span
from monitor.ingest.otlp.tables import TracePart
from monitor.site import Site

MOST_WAITING: Final = 4_000  # spans between two writes
MOST_SPANS: Final = 500  # of one trace in one request
MOST_PARTS: Final = 100_000  # kept
MAX_AGE: Final = timedelta(days=30)
MAX_NAME: Final = 100
MOST_COUNTED: Final = 1e15  # tokens, or dollars, of one call
TRACE_DIGITS: Final = 32
COUNTED: Final = frozenset({"llm", "embedding", "agent", "reranker"})  # kinds that have tokens and a cost
REDACTED: Final = ("email", "iban", "card", "secret")
CLEAN_EVERY: Final = 5_000  # parts
_FIELDS: Final = ("span_id", "parent_id", "name", "kind", "start", "end", "failed", "models", "input_tokens",
                  "output_tokens", "cost_usd", "model", "tool")  # fmt: skip
_TEXTS: Final = (0, 1, 2, 11, 12)  # places of texts, which no database takes with control characters
Outline = tuple[Any, ...]  # the values of _FIELDS; times in nanoseconds since 1970


@dataclass
class _Waiting:
    lock: threading.Lock = field(default_factory=threading.Lock)
    parts: dict[tuple[str, str], list[Outline]] = field(default_factory=dict)  # by service and trace
    spans: int = 0
    written: int = CLEAN_EVERY  # since old ones were removed


_WAITING: Final = CacheKind[str, _Waiting]("outlines of traces not written yet", most=1)
_guard: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class OutlinedSpan:
    """A span as it is kept. Times are nanoseconds since 1970, 0 where the sender gave none."""

    service: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    failed: bool
    models: tuple[str, ...]  # those that took it as an event
    input_tokens: float | None
    output_tokens: float | None
    cost_usd: float | None
    model: str | None  # the language model that was called
    tool: str | None


def keep(site: Site, service: str, traces: Mapping[str, Sequence[Span]], taken: Mapping[int, list[str]]) -> None:
    """Keep the outlines of the spans of a request.

    Args:
        traces: the spans by trace.
        taken: names of the models that took a span as an event, by its number.
    """
    waiting = _waiting(site)
    if waiting.spans >= MOST_WAITING:
        return
    found = {
        (service, trace): [_outline(span, tuple(taken.get(span.number, ()))) for span in spans[:MOST_SPANS]]
        for trace, spans in traces.items() if len(trace) == TRACE_DIGITS
    }  # fmt: skip
    with waiting.lock:
        for key, outlines in found.items():
            waiting.parts.setdefault(key, []).extend(outlines)
            waiting.spans += len(outlines)


def write(site: Site, now: datetime) -> None:
    """Write what waits, and remove what is too old or too much."""
    waiting = _waiting(site)
    with waiting.lock:
        parts, waiting.parts, waiting.spans = waiting.parts, {}, 0
    if not parts:
        return
    kept = {key: [list(outline) for outline in outlines] for key, outlines in parts.items()}
    _redact(site, kept.values())
    rows = [
        {"service": stored_name(service), "trace_id": trace, "received_at": now, "spans": outlines}
        for (service, trace), outlines in kept.items()
    ]
    with site.database.write() as db:
        db.execute(insert(TracePart), rows)
        waiting.written += len(rows)
        if waiting.written >= CLEAN_EVERY:
            waiting.written = 0
            _clean(db, now)


def spans_of(site: Site, db: Session, trace_id: str, services: Collection[str]) -> list[OutlinedSpan]:
    """The spans of a trace by some services, each once, the newest record of it; also those not written yet."""
    known = {*services, *map(stored_name, services)}
    query = select(TracePart).where(TracePart.trace_id == trace_id).order_by(TracePart.received_at)
    parts = [(row.service, row.spans) for row in db.scalars(query.limit(1_000))]
    waiting = _waiting(site)
    with waiting.lock:
        parts += [(service, list(held)) for (service, trace), held in waiting.parts.items() if trace == trace_id]
    found: dict[str, OutlinedSpan] = {}
    for service, outlines in parts:
        if service in known:
            for outline in outlines:
                values = dict(zip(_FIELDS, outline, strict=False))
                values["models"] = tuple(values["models"])
                found[values["span_id"]] = OutlinedSpan(service, **values)
    return list(found.values())


def forget(db: Session, event_ids: Sequence[str]) -> None:
    """Remove the outlines of the traces that some events were part of."""
    traces = sorted({ident[:32] for ident in event_ids if len(ident) == 49 and ident[32] == "-"})
    for at in range(0, len(traces), 500):
        db.execute(delete(TracePart).where(TracePart.trace_id.in_(traces[at : at + 500])))


def _waiting(site: Site) -> _Waiting:
    with _guard:
        return site.cache.get(_WAITING, "", _Waiting)


def _outline(span: Span, models: tuple[str, ...]) -> Outline:
    kind = kind_of(span)
    # Tuples of plain values: the garbage collector has nothing to follow in what waits.
    outline = (
        span.span_id, span.parent_id, span.name[:MAX_NAME], kind, span.start, span.end, is_failed(span), models
    )  # fmt: skip
    if kind in COUNTED:
        has_cost = any("cost" in name for name in span.attributes)
        cost = COMPUTED["cost_usd"](span) if has_cost else None
        counted = (_first(span, "input_tokens"), _first(span, "output_tokens"), cost)
        name = _first(span, "model")
        return (*outline, *map(_number, counted), name[:MAX_NAME] if isinstance(name, str) else None, None)
    tool = _first(span, "tool") if kind == "tool" else None
    return (*outline, None, None, None, None, tool[:MAX_NAME] if isinstance(tool, str) else None)


def _number(value: Any) -> float | None:
    """A count or a cost, None where what was sent can be neither."""
    number = number_of(value)
    return number if number is not None and 0 <= number <= MOST_COUNTED else None


def _first(span: Span, field_name: str) -> Any:
    attributes = span.attributes
    for name in ATTRIBUTES[field_name]:
        if (value := attributes.get(name)) is not None:
            return value
    return None


def _redact(site: Site, parts: Iterable[list[list[Any]]]) -> None:
    """Take personal data out of names: a client of HTTP may write an address with one into the name of its span."""
    import polars as pl

    from monitor.redact.columns import redacted_texts, redaction_key

    outlines = [outline for part in parts for outline in part]
    for outline in outlines:
        for at in _TEXTS:
            if outline[at] is not None and not outline[at].isprintable():
                outline[at] = "".join(c if c.isprintable() else "?" for c in outline[at])
    names = pl.Series(list({outline[2] for outline in outlines}), dtype=pl.String)
    clean = redacted_texts(names, REDACTED, redaction_key(site.keys.subject))
    by_name = dict(zip(names.to_list(), clean.to_list(), strict=True))
    for outline in outlines:
        outline[2] = by_name[outline[2]]


def _clean(db: Session, now: datetime) -> None:
    db.execute(delete(TracePart).where(TracePart.received_at < now - MAX_AGE))
    newest = select(TracePart.received_at).order_by(TracePart.received_at.desc())
    if (oldest := db.scalar(newest.offset(MOST_PARTS).limit(1))) is not None:
        db.execute(delete(TracePart).where(TracePart.received_at <= oldest))
