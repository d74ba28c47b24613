"""Take in events and outcomes: the good rows are stored durably, the others come back with line, field and reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from core import queue
from monitor import store
from monitor.ingest.ndjson import JSON, NDJSON, Rejection, Rows, read_json, read_ndjson
from monitor.schema import ModelSpec, parse_spec
from monitor.site import Site

READERS: Final[Mapping[str, Callable[[bytes], Rows]]] = {NDJSON: read_ndjson, JSON: read_json}
LISTED_REJECTIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's rows: accepted + duplicates + rejected_total is their number."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]  # the first LISTED_REJECTIONS by line
    rejected_total: int


def receive_events(site: Site, model: str, body: bytes, media_type: str) -> Receipt:
    """Store events of a model; on disk when this returns.

    Raises:
        ModelNotFoundError: no such model.
        BodyError: the body as a whole cannot be read.
        StoreFullError: no room; nothing was stored.
    """
    from monitor.ingest.validate import check_events

    spec = _spec(site, model)
    now = site.clock.now()
    checked = check_events(spec, READERS[media_type](body), now=now)
    done = site.events.append_events(spec, checked.frame, now=now)
    _look_again(site, model)
    return Receipt(done.accepted, done.duplicates, checked.rejected[:LISTED_REJECTIONS], len(checked.rejected))


def receive_outcomes(site: Site, model: str, body: bytes, media_type: str) -> Receipt:
    """Store outcomes of known events; on disk when this returns. Raises what `receive_events` raises."""
    from monitor.ingest.validate import check_outcomes

    spec = _spec(site, model)
    checked = check_outcomes(spec, READERS[media_type](body))
    done = site.events.append_outcomes(spec, checked.frame, now=site.clock.now())
    reason = "no event with this id is stored; send the event first, or check the id"
    unknown = [Rejection(checked.lines[position], "event_id", reason) for position in done.unknown]
    rejected = sorted([*checked.rejected, *unknown], key=lambda r: r.line)
    _look_again(site, model)
    return Receipt(done.accepted, done.duplicates, rejected[:LISTED_REJECTIONS], len(rejected))


def _spec(site: Site, model: str) -> ModelSpec:
    with site.database.read() as db:
        found = store.model(db, model)
        return parse_spec(store.spec_revision(db, found.id, found.revision).document)


def _look_again(site: Site, model: str) -> None:
    """Have the windows judged. Also when every row was a duplicate: the first answer may have died before this line."""
    key = f"monitor:{model}"
    with site.database.write() as db:
        queue.enqueue(db, "monitor.evaluate", {"model": model}, now=site.clock.now(), dedupe_key=key, lock_key=key)
