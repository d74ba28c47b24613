"""Receive an OTLP request: store each span for the models whose mapping selects it, and ignore the others."""

import dataclasses
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from core.cache import CacheKind
from monitor import store
from monitor.ingest.encoding import decoded
from monitor.ingest.media import JSON
from monitor.ingest.ndjson import Rejection
from monitor.ingest.otlp import span_texts
from monitor.ingest.otlp.evaluations import SpanEvaluation, evaluated_event, evaluations_of
from monitor.ingest.otlp.json_body import read_json
from monitor.ingest.otlp.mapping import SpanMapping, events_from, mapping_of, outcomes_from
from monitor.ingest.otlp.protobuf import read_protobuf
from monitor.ingest.otlp.spans import Span, SpanGroup
from monitor.ingest.otlp.unmapped import record_unmapped
from monitor.ingest.receive import MAX_LISTED_REJECTIONS, Receipt, store_rows
from monitor.ingest.validate import CheckedRows
from monitor.site import Site
from monitor.spec.parse import parse_spec

MAPPINGS: Final = CacheKind[int, dict[str, list[SpanMapping]]]("span mappings by number of spec revisions", most=2)
_MAX_REASONS: Final = 5  # reasons listed in one response
_MAX_REASON_CHARS: Final = 300


@dataclass
class SpanVerdict:
    """The result of a request. Spans of a mapped service that no mapping selects are accepted but not stored."""

    refused: dict[int, str] = field(default_factory=dict)  # span number -> reason
    warnings: dict[int, str] = field(default_factory=dict)  # stored spans whose evaluation was not stored
    unmapped: dict[str, int] = field(default_factory=dict)  # service -> number of its spans, all refused
    accepted: int = 0  # rows stored, of events and outcomes; a span may become several
    duplicates: int = 0  # rows that were already stored

    @property
    def rejected(self) -> int:
        return len(self.refused) + sum(self.unmapped.values())

    def add(self, receipt: Receipt) -> None:
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates

    @property
    def message(self) -> str:
        """The first reasons for refusals and warnings; empty if there are none."""
        reasons = [unmapped_reason(service, spans, "span") for service, spans in self.unmapped.items()]
        reasons += numbered_reasons("span", self.warnings | self.refused)
        return listed_reasons(reasons)


def read_spans(body: bytes, media_type: str) -> list[SpanGroup]:
    """Read the spans of a body in either encoding.

    Raises:
        BodyError: the body is not an ExportTraceServiceRequest in this encoding.
        BodyTooLargeError: the body has more spans than one request may have.
    """
    return (read_json if media_type == JSON else read_protobuf)(body)


def receive_traces(site: Site, body: bytes, media_type: str, encoding: str) -> SpanVerdict:
    """Store the spans that mappings select; they are on disk when this returns.

    Raises:
        BodyError: the body as a whole cannot be read.
        BodyTooLargeError: the decompressed body is larger than the limit.
        StoreFullError: the disk is full; rows stored before count as duplicates when the request is sent again.
    """
    now = site.clock.now()
    groups = read_spans(decoded(body, encoding, site.settings.server.max_body_mb), media_type)
    by_service: dict[str, list[SpanGroup]] = defaultdict(list)
    for group in groups:
        if group.spans:
            by_service[group.service].append(group)
    verdict = SpanVerdict()
    mappings = mappings_by_service(site)
    for service, sent in by_service.items():
        spans = [span for group in sent for span in group.spans]
        if service in mappings:
            _store(site, mappings[service], spans, now, verdict)
        else:
            record_unmapped(site.database, service, spans, now)
            verdict.unmapped[service] = len(spans)
    return verdict


def numbered_reasons(item: str, reasons: Mapping[int, str]) -> list[str]:
    return [f"{item} {number}: {reason}"[:_MAX_REASON_CHARS] for number, reason in sorted(reasons.items())]


def listed_reasons(reasons: Sequence[str], notes: Sequence[str] = ()) -> str:
    """Return the first reasons for refusals, how many more there are, and what else is to be said."""
    more = [f"and {len(reasons) - _MAX_REASONS} more"] if len(reasons) > _MAX_REASONS else []
    return "; ".join([*reasons[:_MAX_REASONS], *more, *notes])


def unmapped_reason(service: str, count: int, item: str) -> str:
    """Say that no model takes what a service sends, and what to do; `item` is a span or a log record."""
    named, counted = service[:100], f"{count} {item}{'s' * (count != 1)}"
    return (
        f"service {named!r}, {counted}: no model takes them; add `traces: {{service: {named}}}` to a model's spec, "
        f"or print a first spec: assay init --from-trace {shlex.quote(named)}"
    )


def _store(
    site: Site, mappings: Sequence[SpanMapping], spans: Sequence[Span], now: datetime, verdict: SpanVerdict
) -> None:
    evaluations = {span.number: found for span in spans if (found := evaluations_of(span))}
    matched: set[int] = set()  # evaluation spans whose event belongs to one of the models
    unmatched: dict[int, str] = {}
    for mapping in mappings:
        selected = [span for span in spans if mapping.selects(span)]
        if selected:
            checked = events_from(mapping, selected, now)
            verdict.refused.update(_reasons(mapping, checked.rejected))
            frame, texts = span_texts.filled(site, mapping.events, checked.frame)
            receipt = store_rows(site, mapping.events, dataclasses.replace(checked, frame=frame), now)
            verdict.add(receipt)
            if not receipt.duplicates:  # else some of the texts wait until the stored events are amended
                span_texts.settle(site, texts)
        if mapping.outcomes is None:
            continue
        own = {span.number for span in selected}
        evaluated = [
            (s.event_id, s, evaluations.get(s.number, {})) for s in selected if s.number not in verdict.refused
        ]
        evaluated += _about_others(spans, own, evaluations)
        outcomes = outcomes_from(mapping, evaluated, now)
        if outcomes is None:
            continue
        receipts = [store_rows(site, mapping.outcomes, part, now) for part in _listable(outcomes)]
        for receipt in receipts:
            verdict.add(receipt)
        reasons = dict(_reasons(mapping, [one for receipt in receipts for one in receipt.rejected]))
        reasons |= dict(_reasons(mapping, outcomes.rejected))
        verdict.warnings.update((number, reason) for number, reason in reasons.items() if number in own)
        matched |= {span.number for _, span, _ in evaluated} - reasons.keys()
        unmatched.update((number, reason) for number, reason in reasons.items() if number not in own)
    verdict.refused.update((number, reason) for number, reason in unmatched.items() if number not in matched)


def _listable(checked: CheckedRows) -> Iterator[CheckedRows]:
    """Split rows into parts small enough that a receipt lists every row without an event."""
    if checked.rejected:
        yield CheckedRows(checked.frame.clear(), [], checked.rejected)
    for start in range(0, checked.frame.height, MAX_LISTED_REJECTIONS):
        end = start + MAX_LISTED_REJECTIONS
        yield CheckedRows(checked.frame[start:end], checked.lines[start:end], [])


def _about_others(
    spans: Sequence[Span], own: set[int], evaluations: dict[int, dict[str, SpanEvaluation]]
) -> list[tuple[str, Span, dict[str, SpanEvaluation]]]:
    """Return the spans that are not events themselves but evaluate one, with its id and their evaluations."""
    others = [span for span in spans if span.number in evaluations and span.number not in own]
    return [(of, span, evaluations[span.number]) for span in others if (of := evaluated_event(span)) is not None]


def _reasons(mapping: SpanMapping, rejections: Iterable[Rejection]) -> Iterable[tuple[int, str]]:
    model = mapping.events.spec.model
    for one in rejections:
        yield one.line, f"model {model}: " + (f"{one.field}: " if one.field else "") + one.reason


def mappings_by_service(site: Site) -> dict[str, list[SpanMapping]]:
    """Return the mappings by service. Specs only gain revisions, so an equal count of them means equal mappings."""
    with site.database.read_connection() as db:
        revisions = store.spec_revisions(db)
    return site.cache.get(MAPPINGS, revisions, lambda: _prepared(site))


def _prepared(site: Site) -> dict[str, list[SpanMapping]]:
    found: dict[str, list[SpanMapping]] = defaultdict(list)
    with site.database.read() as db:
        for model in store.models(db):
            document = store.spec_revision(db, model.id, model.revision).document
            if document.get("traces"):
                spec = parse_spec(document)
                assert spec.traces is not None
                found[spec.traces.service].append(mapping_of(spec, spec.traces))
    return dict(found)
