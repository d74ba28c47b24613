"""Record samples of the spans that no model takes, so that a spec can be generated for their service.

A sample holds names and types only, because a value may be a person's question.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from core.db import Database, insert_if_new
from monitor import store
from monitor.ingest.otlp.evaluations import evaluations_of
from monitor.ingest.otlp.fields import FIELDS, getter
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.spans import Attributes, Span
from monitor.tables import UnmappedService

_MAX_SERVICES: Final = 50
_MAX_SAMPLED_SPANS: Final = 50  # of one request
_MAX_NAMES: Final = 300
_MIN_UPDATE_INTERVAL: Final = timedelta(minutes=1)  # a service that sends nothing new is recorded at most this often
_TYPES: Final[Mapping[type, str]] = {str: "string", int: "number", float: "number", bool: "boolean", list: "list"}
_GETTERS: Final = {name: getter((name,)) for name in FIELDS}
_LOCKED: Final = select(UnmappedService).with_for_update().execution_options(populate_existing=True)

Sample = dict[str, dict[str, dict[str, str]]]  # kind -> "attributes", "fields", "evaluations" -> name -> type


def sample_of(spans: Iterable[Span]) -> Sample:
    """Describe spans by kind: their attributes, the mapping fields found in them, and their evaluations.

    A type is string, number, boolean, list, map or mixed; for an evaluation it is score, label or both.
    """
    found: Sample = {}
    for span in spans:
        of_kind: dict[str, dict[str, str]] = {"attributes": {}, "fields": {}, "evaluations": {}}
        of_kind["attributes"] = _types(span.attributes | {f"resource.{k}": v for k, v in span.resource.items()})
        of_kind["fields"] = _types({name: get(span) for name, get in _GETTERS.items()})
        for name, evaluation in evaluations_of(span).items():
            parts = [p for p in ("score", "label") if getattr(evaluation, p) is not None]
            of_kind["evaluations"][_plain(name)] = "both" if len(parts) == 2 else "".join(parts)
        found = merged_samples(found, {kind_of(span): of_kind})
    return found


def merged_samples(one: Sample, other: Sample) -> Sample:
    result = {kind: {part: dict(names) for part, names in parts.items()} for kind, parts in one.items()}
    for kind, parts in other.items():
        for part, names in parts.items():
            known = result.setdefault(kind, {}).setdefault(part, {})
            for name, type_ in names.items():
                if name in known:
                    known[name] = type_ if known[name] == type_ else "both" if part == "evaluations" else "mixed"
                elif len(known) < _MAX_NAMES:
                    known[name] = type_
    return result


def record_unmapped(database: Database, service: str, spans: Sequence[Span], now: datetime) -> bool:
    """Record a sample of the spans; above the limit, the services that were silent longest are dropped.

    Returns:
        Whether the spans are counted with it; those of a service that sends nothing new are left to `span_counts`.
    """
    name = service_name(service)
    sample = sample_of(spans[:_MAX_SAMPLED_SPANS])
    with database.read() as db:
        known = store.unmapped_service(db, name)
    if (
        known is not None
        and now - known.last_at < _MIN_UPDATE_INTERVAL
        and merged_samples(known.sample, sample) == known.sample
    ):
        return False
    with database.write() as db:
        if store.unmapped_service(db, name) is None:
            silent = [row.id for row in store.unmapped_services(db)[_MAX_SERVICES - 1 :]]
            db.execute(delete(UnmappedService).where(UnmappedService.id.in_(silent)))
            # Another request may record the service at the same moment.
            new = {"service": name, "spans": 0, "sample": {}, "first_at": now, "last_at": now}
            insert_if_new(db, UnmappedService, new)
        row = db.scalars(_LOCKED.where(UnmappedService.service == name)).first()
        if row is None:  # others pushed it out at this moment
            return False
        row.spans += len(spans)
        row.sample = merged_samples(row.sample, sample)
        row.last_at = now
    return True


def _types(attributes: Attributes) -> dict[str, str]:
    found = {name: value for name, value in attributes.items() if value is not None}
    return {_plain(name): _TYPES.get(type(value), "map") for name, value in found.items()}


def service_name(service: str) -> str:
    """The name of a service as it is stored: printable, and as long as a spec may name one."""
    return "".join(c if c.isprintable() else "?" for c in service[:255])


def _plain(name: str) -> str:
    """Make a name printable and short, without the indices of flattened lists."""
    text = "".join(c if c.isprintable() else "?" for c in name[:200])
    return re.sub(r"\.\d+(?=\.|$)", ".N", text)
