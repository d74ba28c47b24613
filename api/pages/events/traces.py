"""A trace: its spans as a tree with times, tokens, cost and status, and the events that its calls became."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.http.event_filters import Searched, searched
from api.pages.events.span_rows import SpanRow, flat_rows, is_named, tree_rows
from api.pages.render import PageRoute, page
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.upkeep.protected import record_read

if TYPE_CHECKING:
    from monitor.ingest.otlp.span_trees import OutlinedSpan

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MOST_EVENTS: Final = 200  # of a trace
MARGIN: Final = timedelta(hours=1)  # around the spans, in which their events are searched
MOST_CHARS: Final = 4_000  # shown of a text


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """An event of the trace: what it says, in the order of the spec, and what turned out of it."""

    event_id: str
    span_id: str | None
    at: datetime
    version: str
    texts: list[tuple[str, str]]
    facts: list[tuple[str, Any]]
    outcomes: list[tuple[str, Any]]


class TraceNotFoundError(NotFoundError):
    code = "trace_not_found"


@router.get("/models/{name}/traces/{trace_id:path}")
def trace_page(
    caller: Annotated[Caller, requires(Permission.EVENTS_READ)], name: str, site: SiteDep, db: ReadDb,
    trace_id: Annotated[StorableText, Path(max_length=200)],
) -> HTMLResponse:  # fmt: skip
    from monitor.ingest.otlp.span_trees import spans_of

    of = searched(site, db, caller, name)
    spans = spans_of(site, db, trace_id, _services(db, caller))
    times = [at for span in spans for at in (span.start, span.end) if at]
    found, reached = _events(site, of, trace_id, times)
    if not spans and not found:
        raise TraceNotFoundError(
            f"no event of {name[:100]} has the trace {trace_id[:60]!r}, and no outline of it is kept; it may have been "
            "erased, or be older than the model's retention", trace=trace_id[:200],
        )  # fmt: skip
    events = [_event(of, row) for row in found]
    protected = of.protected & {*of.spec.columns}
    if of.may and found and protected:
        record_read(site, caller, name, protected, "trace", count=len(found))
    by_span = {event.span_id: event for event in events if event.span_id}
    rows = tree_rows(spans, by_span, caller) if spans else flat_rows(events, _latency(of.spec, found))
    return page(
        "events/trace.html", caller=caller, model=name, trace_id=trace_id, rows=rows, events=events, kept=bool(spans),
        facts=_facts(rows, spans, caller), withheld=sorted(protected) if not of.may else [], reached=reached,
        lost=[event for event in events if spans and event.span_id not in {row.span_id for row in rows}],
    )  # fmt: skip


def _services(db: Session, caller: Caller) -> list[str]:
    """The services whose spans the models within the caller's scope take."""
    documents = ((row.name, (document.get("traces") or {})) for row, document in store.models_with_specs(db))
    return [traces["service"] for name, traces in documents if traces.get("service") and caller.sees(name)]


def _events(
    site: Site, of: Searched, trace_id: str, times: Sequence[int]
) -> tuple[list[dict[str, Any]], datetime | None]:
    """The model's events of the trace, oldest first; and where a search without the times of spans stopped."""
    from monitor.explore.filters import event_filter
    from monitor.explore.search import search

    begin = end = None
    if times:
        begin, end = _time(min(times)) - MARGIN, _time(max(times)) + MARGIN
    asked = event_filter(of.columns, [f"trace_id:eq:{trace_id}"], from_ts=begin, to_ts=end)
    shown = [column for column in of.columns if column not in of.withheld]
    page_of = search(site, of.spec, asked, columns=shown, sort="newest", limit=MOST_EVENTS)
    return page_of.rows[::-1], page_of.reached


def _event(of: Searched, row: Mapping[str, Any]) -> TraceEvent:
    spec, texts, facts, outcomes = of.spec, list[tuple[str, str]](), list[tuple[str, Any]](), list[tuple[str, Any]]()
    for name, column in spec.columns.items():
        value = row.get(name)
        if value is None or column.role == "subject":
            continue
        if isinstance(value, list):
            value = f"{len(value):,} values"
        if column.role == "outcome":
            outcomes.append((name, value))
        elif column.type == "text":
            texts.append((name, value if len(value) <= MOST_CHARS else f"{value[:MOST_CHARS]}…"))
        else:
            facts.append((name, value))
    version = str(row.get("version") or "")
    return TraceEvent(row["event_id"], row.get("span_id"), row["ts"], version, texts, facts, outcomes)


def _latency(spec: ModelSpec, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Milliseconds by event, where a column says them."""
    named = [name for name, c in spec.columns.items() if c.role == "measure" and c.type == "number"
             and (c.unit == "ms" or "latency" in name)]  # fmt: skip
    if not named:
        return {}
    return {row["event_id"]: row[named[0]] for row in rows if row.get(named[0]) is not None}


def _facts(rows: Sequence[SpanRow], spans: "Sequence[OutlinedSpan]", caller: Caller) -> dict[str, Any]:
    """What the whole trace took, also the spans that are not among the rows; of calls, those the caller may read."""
    told: Sequence[SpanRow | OutlinedSpan] = [span for span in spans if is_named(span, caller)] if spans else rows
    calls = [one for one in told if one.kind == "llm"]
    parts = {name: [v for one in calls if (v := getattr(one, name)) is not None]
             for name in ("input_tokens", "output_tokens", "cost_usd")}  # fmt: skip
    timed = [(span.start / 1e6, span.end / 1e6) for span in spans if 0 < span.start <= span.end]
    timed = timed or [(row.begin_ms, row.end_ms) for row in rows if row.begin_ms is not None and row.end_ms is not None]
    return {
        "spans": len(spans) or len(rows), "shown": len(rows), "calls": len(calls),
        "failed": sum(one.failed for one in told), "tools": sum(one.kind == "tool" for one in told),
        "ms": max(end for _, end in timed) - min(start for start, _ in timed) if timed else None,
        **{name: sum(values) if values else None for name, values in parts.items()},
    }  # fmt: skip


def _time(nanoseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime(2200, 1, 1, tzinfo=UTC)
