"""Receive an OTLP request: store each span for the models whose mapping selects it, and count the others."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from core.cache import CacheKind
from core.errors import AppError
from core.logs import logger
from monitor import store
from monitor.ingest.encoding import decoded
from monitor.ingest.media import JSON
from monitor.ingest.ndjson import Rejection
from monitor.ingest.otlp import mlflow, span_counts, span_texts, span_trees
from monitor.ingest.otlp.evaluations import SpanEvaluation, evaluated_event, evaluations_of
from monitor.ingest.otlp.json_body import read_json
from monitor.ingest.otlp.kinds import is_carrier, kind_of, says_gen_ai
from monitor.ingest.otlp.mapping import SpanMapping, mapping_of, outcomes_from
from monitor.ingest.otlp.protobuf import read_protobuf
from monitor.ingest.otlp.spans import Span, SpanGroup
from monitor.ingest.otlp.storing import by_trace, store_spans
from monitor.ingest.otlp.tables import SpanText
from monitor.ingest.otlp.unmapped import record_unmapped
from monitor.ingest.otlp.verdict import CARRIER, KIND, NO_CALL, WHERE, SpanVerdict
from monitor.ingest.receive import MAX_LISTED_REJECTIONS, store_rows
from monitor.ingest.validate import CheckedRows
from monitor.site import Site
from monitor.spec.parse import parse_spec

MAPPINGS: Final = CacheKind[int, dict[str, list[SpanMapping]]]("span mappings by number of spec revisions", most=2)
log = logger("monitor.ingest.otlp.receive")


def read_spans(body: bytes, media_type: str) -> list[SpanGroup]:
    """Read the spans of a body in either encoding.

    Raises:
        BodyError: the body is not an ExportTraceServiceRequest in this encoding.
        BodyTooLargeError: the body has more spans than one request may have.
    """
    groups = (read_json if media_type == JSON else read_protobuf)(body)
    for group in groups:
        for span in group.spans:
            if mlflow.MARK in span.attributes:
                span.attributes = mlflow.conventional(span.attributes)
    return groups


def receive_traces(
    site: Site, body: bytes, media_type: str, encoding: str, models: frozenset[str] | None = None
) -> SpanVerdict:
    """Store the spans that mappings select; they are on disk when this returns.

    Args:
        models: the models that the sender may write to; None for all. Spans of a service that only others map are
            refused.

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
    revisions, texts_wait = span_texts.state(site)
    mappings = site.cache.get(MAPPINGS, revisions, lambda: _prepared(site))
    for service, sent in by_service.items():
        spans = [span for group in sent for span in group.spans]
        if lost := [span.dropped for span in spans if span.dropped]:
            verdict.cut[service] = Counter(spans=len(lost), attributes=sum(lost))
        own = within(mappings.get(service, ()), models)
        if service in mappings and not own:
            verdict.refused.update((span.number, not_in_scope(service)) for span in spans)
        elif own:
            with site.events.together():
                texts = _store(site, own, spans, now, verdict, texts_wait=texts_wait)
            span_texts.settle(site, texts)
        else:
            if not record_unmapped(site.database, service, spans, now):
                span_counts.count_unmapped(site, service, len(spans))
            verdict.unmapped[service] = len(spans)
            verdict.results[service] = Counter(unmapped=len(spans))
    span_counts.count(site, verdict)
    return verdict


def within(mappings: Sequence[SpanMapping], models: frozenset[str] | None) -> Sequence[SpanMapping]:
    """The mappings of some models."""
    return [m for m in mappings if models is None or m.events.spec.model in models]


def not_in_scope(service: str) -> str:
    return f"service {service[:100]}: no model that this key is for takes it; an admin changes what the key is for"


def _store(
    site: Site, mappings: Sequence[SpanMapping], spans: Sequence[Span], now: datetime, verdict: SpanVerdict, *,
    texts_wait: bool,
) -> list[SpanText]:  # fmt: skip
    """Store the spans of a service; returns the texts of log records that their events hold."""
    texts: list[SpanText] = []
    evaluations = {span.number: found for span in spans if (found := evaluations_of(span))}
    matched: set[int] = set()  # evaluation spans whose event belongs to one of the models
    unmatched: dict[int, str] = {}
    merged: Counter[str] = Counter()
    taken: dict[int, list[str]] = {}  # the models that took a span, by its number
    repeated = 0
    traces = by_trace(spans)
    for mapping in mappings:
        selected = [span for span in spans if mapping.selects(span)]
        event_of: Mapping[int, str] = {}
        if selected:
            stored = store_spans(site, mapping, selected, traces, now, texts_wait=texts_wait)
            verdict.refused.update(_reasons(mapping, stored.rejected))
            verdict.accepted += stored.accepted
            verdict.duplicates += stored.duplicates
            merged.update(stored.merged)
            repeated += stored.duplicates
            texts += stored.texts
            event_of = stored.event_of
        own = {span.number for span in selected}
        for number in own:
            taken.setdefault(number, []).append(mapping.events.spec.model)
        if mapping.outcomes is None:
            continue
        evaluated = [
            (event_of.get(s.number, s.event_id), s, evaluations.get(s.number, {}))
            for s in selected
            if s.number not in verdict.refused
        ]
        evaluated += _about_others(site, mapping, spans, own, evaluations)
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
    service = mappings[0].traces.service
    span_trees.keep(site, service, traces, taken)
    _count(verdict, service, mappings, spans, {*taken}, matched, merged, repeated)
    return texts


def _count(
    verdict: SpanVerdict, service: str, mappings: Sequence[SpanMapping], spans: Sequence[Span], taken: set[int],
    matched: set[int], merged: Counter[str], repeated: int,
) -> None:  # fmt: skip
    """Count every span of a service under one result."""
    results: Counter[str] = Counter()
    refused = sum(span.number in verdict.refused for span in spans)
    results["rejected"] += refused
    results.update(merged)
    results["duplicate"] += repeated
    kept = sum(number not in verdict.refused for number in taken)
    results["stored"] += max(0, kept - repeated - merged.total())
    kinds = {kind for mapping in mappings for kind in mapping.traces.spans}
    for span in spans:
        if span.number in taken or span.number in verdict.refused:
            continue
        if span.number in matched:
            result = "evaluation"
        elif is_carrier(span):
            result = CARRIER
        elif kind_of(span) in kinds:
            result = WHERE
        elif kind_of(span) != "other" or says_gen_ai(span):
            result = KIND
            verdict.kinds[kind_of(span)] += 1
        else:
            result = NO_CALL
        results[result] += 1
    verdict.results[service] = +results  # without zeros


def _listable(checked: CheckedRows) -> Iterator[CheckedRows]:
    """Split rows into parts small enough that a receipt lists every row without an event."""
    if checked.rejected:
        yield CheckedRows(checked.frame.clear(), [], checked.rejected)
    for start in range(0, checked.frame.height, MAX_LISTED_REJECTIONS):
        end = start + MAX_LISTED_REJECTIONS
        yield CheckedRows(checked.frame[start:end], checked.lines[start:end], [])


def _about_others(
    site: Site, mapping: SpanMapping, spans: Sequence[Span], own: set[int],
    evaluations: dict[int, dict[str, SpanEvaluation]],
) -> list[tuple[str, Span, dict[str, SpanEvaluation]]]:  # fmt: skip
    """Return the spans that are not events themselves but evaluate one, with its id and their evaluations."""
    others = [span for span in spans if span.number in evaluations and span.number not in own]
    found = [(of, span, evaluations[span.number]) for span in others if (of := evaluated_event(span)) is not None]
    if not found:
        return []
    standing = site.events.standing_for(mapping.events.spec.model, pl.Series([of for of, _, _ in found]))
    return [(standing.get(of, of), span, made) for of, span, made in found]


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
            if not document.get("traces"):
                continue
            try:
                spec = parse_spec(document)
                assert spec.traces is not None
                mapping = mapping_of(spec, spec.traces)
            except AppError as error:  # a spec that an earlier release stored; the spans of the others arrive
                log.warning("no spans are taken in for a model whose spec cannot be read", model=model.name,
                            detail=error.message)  # fmt: skip
                continue
            found[spec.traces.service].append(mapping)
    return dict(found)
