"""The result of a request of spans: what each span became, in numbers and in words."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitor.ingest.receive import Receipt

ATTRIBUTE_LIMIT: Final = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
_MAX_REASONS: Final = 5  # reasons listed in one response
_MAX_REASON_CHARS: Final = 300

# What may become of a span that is neither rejected nor stored as an event, with the words for the sender. Spans that
# say nothing of a model (HTTP, databases) are counted and not told: every trace has them.
MERGED, SENT_AGAIN, CARRIER, KIND, WHERE, NO_CALL = "merged", "sent_again", "carrier", "kind", "where", "no_call"
WORDS: Final[Mapping[str, str]] = {
    MERGED: "another span describes the same call, and the fuller one is the event",
    SENT_AGAIN: "sent before, and the fuller record counts",
    CARRIER: "a model is named and not called, as by HTTP clients, caches, guards and retries",
    KIND: "no model's `traces.spans` takes the kind",
    WHERE: "attributes are missing that `traces.where` asks for",
}
CUT: Final = "attributes_dropped"  # of spans that are counted under another result as well
# All results of spans of a mapped service, as metrics and pages list them.
RESULTS: Final[Mapping[str, str]] = {
    "stored": "stored as events",
    "duplicate": "stored before",
    "rejected": "rejected; quarantine has the reasons",
    "evaluation": "evaluations of other spans",
    **WORDS,
    NO_CALL: "say nothing of a model",
    CUT: f"lost attributes at the sender; raise {ATTRIBUTE_LIMIT} there (counted besides)",
}
LOG_ACCEPTED, LOG_REJECTED, LOG_SKIPPED = "log_records_accepted", "log_records_rejected", "log_records_skipped"
# All results of log records of a mapped service.
LOG_RESULTS: Final[Mapping[str, str]] = {
    LOG_ACCEPTED: "kept for the event of their span",
    LOG_REJECTED: "rejected; the sender was told why",
    LOG_SKIPPED: "say nothing that a column takes; not stored",
}


@dataclass
class SpanVerdict:
    """The result of a request: every span is counted under one of RESULTS."""

    refused: dict[int, str] = field(default_factory=dict)  # span number -> reason
    warnings: dict[int, str] = field(default_factory=dict)  # stored spans whose evaluation was not stored
    unmapped: dict[str, int] = field(default_factory=dict)  # service -> number of its spans, all refused
    accepted: int = 0  # rows stored, of events and outcomes; a span may become several
    duplicates: int = 0  # rows that were already stored
    results: dict[str, Counter[str]] = field(default_factory=dict)  # service -> result -> spans
    kinds: Counter[str] = field(default_factory=Counter)  # of the spans that are counted as KIND
    cut: dict[str, Counter[str]] = field(default_factory=dict)  # service -> spans that lost attributes, and how many

    @property
    def rejected(self) -> int:
        return len(self.refused) + sum(self.unmapped.values())

    def add(self, receipt: Receipt) -> None:
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates

    def total(self, result: str) -> int:
        return sum(of_service[result] for of_service in self.results.values())

    @property
    def spans_cut(self) -> int:
        """How many spans lost attributes at their sender."""
        return sum(found["spans"] for found in self.cut.values())

    @property
    def message(self) -> str:
        """The first reasons for refusals and warnings, and how many spans became no event; empty if all are stored."""
        reasons = [unmapped_reason(service, spans, "span") for service, spans in self.unmapped.items()]
        reasons += numbered_reasons("span", self.warnings | self.refused)
        return listed_reasons(reasons, self._counted())

    def _counted(self) -> list[str]:
        found = []
        for result, words in WORDS.items():
            if number := self.total(result):
                named = ", ".join(f"{kind} {n}" for kind, n in sorted(self.kinds.items())) if result == KIND else ""
                found.append(f"{_spans(number)} without an event: {words}" + (named and f" ({named})"))
        if self.spans_cut:
            lost = sum(found["attributes"] for found in self.cut.values())
            found.append(
                f"{_spans(self.spans_cut)} lost {lost} attributes at the sender, perhaps model, texts or tokens; raise "
                f"{ATTRIBUTE_LIMIT} there"
            )
        return found


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


def _spans(number: int) -> str:
    return f"{number} span{'s' * (number != 1)}"
