"""Receive OTLP log records: those that say what a span was asked and answered are joined to its event."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from monitor.ingest.encoding import decoded
from monitor.ingest.media import JSON
from monitor.ingest.otlp import span_counts, span_texts
from monitor.ingest.otlp.evaluations import evaluations_of
from monitor.ingest.otlp.json_body import read_log_json
from monitor.ingest.otlp.log_records import LogRecord, described_spans
from monitor.ingest.otlp.mapping import SpanMapping, described_from, outcomes_from
from monitor.ingest.otlp.protobuf import read_log_protobuf
from monitor.ingest.otlp.receive import mappings_by_service, not_in_scope, within
from monitor.ingest.otlp.verdict import (
    LOG_ACCEPTED,
    LOG_REJECTED,
    LOG_SKIPPED,
    listed_reasons,
    numbered_reasons,
    unmapped_reason,
)
from monitor.site import Site


@dataclass
class LogVerdict:
    """The result of a request. Records that are not of a model call are neither stored nor refused, but counted."""

    refused: dict[int, str] = field(default_factory=dict)  # record number -> reason
    unmapped: dict[str, int] = field(default_factory=dict)  # service -> number of its records, all refused
    accepted: int = 0  # records whose values are kept for their event
    skipped: int = 0  # records that say nothing of an event

    @property
    def rejected(self) -> int:
        return len(self.refused) + sum(self.unmapped.values())

    def counts(self) -> dict[str, int]:
        return {LOG_ACCEPTED: self.accepted, LOG_REJECTED: len(self.refused), LOG_SKIPPED: self.skipped}

    @property
    def message(self) -> str:
        """The first reasons for refusals, and how many records were skipped; empty if there is nothing to say."""
        reasons = [unmapped_reason(service, count, "log record") for service, count in self.unmapped.items()]
        reasons += numbered_reasons("log record", self.refused)
        return listed_reasons(reasons, [_skipped(self.skipped)] if self.skipped else [])


def _skipped(count: int) -> str:
    one = count == 1
    return (
        f"{count} log record{'' if one else 's'} {'says' if one else 'say'} nothing that a column of a model takes, "
        f"and {'is' if one else 'are'} not stored"
    )


def receive_logs(
    site: Site, body: bytes, media_type: str, encoding: str, models: frozenset[str] | None = None
) -> LogVerdict:
    """Keep what log records say of spans, and write it into the events that are stored; durable when this returns.

    Args:
        models: the models that the sender may write to; None for all.

    Raises:
        BodyError: the body as a whole cannot be read.
        BodyTooLargeError: the decompressed body is larger than the limit, or has too many records.
    """
    now = site.clock.now()
    content = decoded(body, encoding, site.settings.server.max_body_mb)
    groups = (read_log_json if media_type == JSON else read_log_protobuf)(content)
    verdict, by_service = LogVerdict(), defaultdict[str, list[LogRecord]](list)
    for group in groups:
        by_service[group.service] += group.records
    mappings = mappings_by_service(site) if by_service else {}
    for service, records in by_service.items():
        own = within(mappings.get(service, ()), models)
        if service in mappings and not own:
            verdict.refused.update((record.number, not_in_scope(service)) for record in records)
        elif own:
            before = Counter(verdict.counts())
            named = [record for record in records if _is_of_a_call(record, verdict)]
            if named:
                _keep(site, own, named, now, verdict)
            span_counts.count_log_records(site, service, Counter(verdict.counts()) - before)
        else:
            of_calls = sum(record.describes_a_call for record in records)
            verdict.skipped += len(records) - of_calls
            verdict.unmapped |= {service: of_calls} if of_calls else {}
    span_counts.count_unmapped_records(site, sum(verdict.unmapped.values()))
    return verdict


def _is_of_a_call(record: LogRecord, verdict: LogVerdict) -> bool:
    """Whether a record describes a model call and names its span; counts it if not."""
    if not record.describes_a_call:
        verdict.skipped += 1
    elif not record.names_a_span:
        verdict.refused[record.number] = f"{record.name[:100]} has no trace id and span id, so no span has its text"
    else:
        return True
    return False


def _keep(
    site: Site, mappings: Sequence[SpanMapping], records: Sequence[LogRecord], now: datetime, verdict: LogVerdict
) -> None:
    spans = described_spans(records)
    numbers: dict[str, list[int]] = defaultdict(list)
    for record in records:
        numbers[record.event_id].append(record.number)
    said = {span.event_id: (span.end, len(numbers[span.event_id])) for span in spans}
    evaluated = [(span.event_id, span, found) for span in spans if (found := evaluations_of(span))]
    kept: set[str] = set()
    reasons: dict[int, str] = {}
    told_to: list[SpanMapping] = []
    for mapping in mappings:
        checked = described_from(mapping, spans, now)
        for one in checked.rejected:
            reasons[one.line] = f"model {mapping.events.spec.model}: {one.field}: {one.reason}"
        frame = checked.frame
        judged = outcomes_from(mapping, evaluated, now) if evaluated else None
        if judged is not None:
            for one in judged.rejected:
                reasons[one.line] = f"model {mapping.events.spec.model}: {one.field}: {one.reason}"
            frame = frame.join(judged.frame, on="event_id", how="left", maintain_order="left")
        told = [name for name in frame.columns if name != "event_id"]
        frame = frame.filter(pl.any_horizontal(pl.col(told).is_not_null())) if told else frame.clear()
        if frame.height:
            span_texts.add(site, mapping.events, frame, said, now)
            kept |= set(frame["event_id"])
            told_to.append(mapping)
    for mapping in told_to:  # when the texts wait for every model: one that has the event settles it for all
        span_texts.join(site, mapping.events)
    for span in spans:
        mine = numbers[span.event_id]
        if span.event_id in kept:
            verdict.accepted += len(mine)
        elif span.number in reasons:
            verdict.refused |= dict.fromkeys(mine, reasons[span.number])
        else:
            verdict.skipped += len(mine)
