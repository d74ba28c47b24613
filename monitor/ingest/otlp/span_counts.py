"""Count what became of the spans and log records of each service, for pages and metrics.

A process adds to its own counts with each request and writes them to the database every few seconds: a killed process
loses the counts of its last seconds, never a span.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.cache import CacheKind
from monitor.ingest.otlp.tables import SpanCount
from monitor.ingest.otlp.unmapped import service_name
from monitor.ingest.otlp.verdict import CUT, SpanVerdict
from monitor.site import Site
from monitor.tables import UnmappedService

Key = tuple[str, str]  # service and result
UNMAPPED: Final = ("", "unmapped")
UNMAPPED_RECORDS: Final = ("", "log_records_unmapped")
_MAX_SERVICE_CHARS: Final = 300


@dataclass
class _Pending:
    """Spans that this process has counted and not written yet."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    spans: Counter[Key] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)  # by name of the service that no model maps


_PENDING: Final = CacheKind[str, _Pending]("spans counted and not written yet", most=1)
_guard: Final = threading.Lock()


def _pending(site: Site) -> _Pending:
    with _guard:
        return site.cache.get(_PENDING, "", _Pending)


def count(site: Site, verdict: SpanVerdict) -> None:
    """Add the spans of a request; those of all services that no model maps together, for anybody can name a service."""
    found: Counter[Key] = Counter()
    if verdict.unmapped:
        found[UNMAPPED] += sum(verdict.unmapped.values())
    for service, results in verdict.results.items():
        if service not in verdict.unmapped:
            found.update({(service, result): spans for result, spans in results.items()})
            if lost := verdict.cut.get(service):
                found[service, CUT] += lost["spans"]
    _pend(site, found)


def count_unmapped(site: Site, service: str, spans: int) -> None:
    """Add spans of a service that no model maps to those in `unmapped_service`."""
    pending = _pending(site)
    with pending.lock:
        pending.unmapped[service_name(service)] += spans


def unmapped_spans(site: Site, row: UnmappedService) -> int:
    """How many spans of the service were refused, with what this process has not written yet."""
    pending = _pending(site)
    with pending.lock:
        return row.spans + pending.unmapped[row.service]


def count_unmapped_records(site: Site, records: int) -> None:
    """Add the log records of calls of a request, of all services that no model maps."""
    if records:
        _pend(site, Counter({UNMAPPED_RECORDS: records}))


def count_log_records(site: Site, service: str, results: Mapping[str, int]) -> None:
    """Add the log records of a request, of a service that a model maps."""
    _pend(site, Counter({(service, result): records for result, records in results.items() if records}))


def _pend(site: Site, found: Counter[Key]) -> None:
    if found:
        pending = _pending(site)
        with pending.lock:
            pending.spans.update(found)


def write(site: Site, now: datetime) -> None:
    """Write what this process has counted."""
    pending = _pending(site)
    with pending.lock:
        found, pending.spans = pending.spans, Counter()
        unmapped, pending.unmapped = pending.unmapped, Counter()
    try:
        if found or unmapped:
            with site.database.write() as db:
                _add_unmapped(db, unmapped)
                _add(db, found, now)
    except BaseException as error:
        with pending.lock:
            pending.spans.update(found)
            pending.unmapped.update(unmapped)
        if not isinstance(error, IntegrityError):  # another process added the same row: the next time adds to it
            raise


def counts(site: Site, db: Session, services: Iterable[str] | None = None) -> dict[Key, int]:
    """Spans by service and result, of the given services or all, with what this process has not written yet."""
    wanted = None if services is None else {stored_name(service) for service in services}
    found: Counter[Key] = Counter()
    for row in db.scalars(select(SpanCount)):
        found[row.service, row.result] += row.spans
    pending = _pending(site)
    with pending.lock:
        for (service, result), spans in pending.spans.items():
            found[stored_name(service), result] += spans
    return {key: spans for key, spans in sorted(found.items()) if wanted is None or key[0] in wanted}


def _add_unmapped(db: Session, found: Counter[str]) -> None:
    for service, spans in found.items():
        mine = update(UnmappedService).where(UnmappedService.service == service)
        db.execute(mine.values(spans=UnmappedService.spans + spans))


def _add(db: Session, found: Counter[Key], now: datetime) -> None:
    for (service, result), spans in found.items():
        name = stored_name(service)
        mine = (SpanCount.service == name, SpanCount.result == result)
        changed = db.execute(update(SpanCount).where(*mine).values(spans=SpanCount.spans + spans, last_at=now))
        if not changed.rowcount:  # type: ignore[attr-defined]  # of a cursor
            db.add(SpanCount(service=name, result=result, spans=spans, last_at=now))
            db.flush()


def stored_name(service: str) -> str:
    """A name of a service as tables hold it."""
    return "".join(c if c.isprintable() else "?" for c in service[:_MAX_SERVICE_CHARS])
