"""Take in events and outcomes: the good rows are stored durably, the others come back with line, field and reason."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

from core import queue
from core.db import Database
from monitor import store
from monitor.ingest.encoding import decoded
from monitor.ingest.media import ARROW, IDENTITY, NDJSON, PARQUET
from monitor.ingest.ndjson import Rejection
from monitor.schema import ModelSpec, parse_spec
from monitor.site import Site

if TYPE_CHECKING:
    from monitor.ingest.target import Target
    from monitor.ingest.validate import Checked

LISTED_REJECTIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's rows: accepted + duplicates + rejected_total is their number."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]  # the first LISTED_REJECTIONS by line
    rejected_total: int


def receive_events(site: Site, model: str, body: bytes, media_type: str, encoding: str = IDENTITY) -> Receipt:
    """Store events of a model; on disk when this returns.

    Raises:
        ModelNotFoundError: no such model.
        BodyError, SchemaMismatchError: the body as a whole cannot be read.
        BodyTooLargeError: it unpacks to more than the limit.
        StoreFullError: no room; nothing was stored.
    """
    from monitor.ingest.target import events_of

    now = site.clock.now()
    target = _target(site, model, events_of)
    checked = _read(site, target, body, media_type, encoding, now)
    done = site.events.append_events(target.spec, checked.frame, now=now)
    _look_again(site, model)
    return Receipt(done.accepted, done.duplicates, checked.rejected[:LISTED_REJECTIONS], len(checked.rejected))


def receive_outcomes(site: Site, model: str, body: bytes, media_type: str, encoding: str = IDENTITY) -> Receipt:
    """Store outcomes of known events; on disk when this returns. Raises what `receive_events` raises."""
    from monitor.ingest.target import outcomes_of

    now = site.clock.now()
    target = _target(site, model, outcomes_of)
    checked = _read(site, target, body, media_type, encoding, now)
    done = site.events.append_outcomes(target.spec, checked.frame, now=now)
    reason = "no event with this id is stored; send the event first, or check the id"
    unknown = [Rejection(checked.lines[position], "event_id", reason) for position in done.unknown]
    rejected = sorted([*checked.rejected, *unknown], key=lambda r: r.line)
    _look_again(site, model)
    return Receipt(done.accepted, done.duplicates, rejected[:LISTED_REJECTIONS], len(rejected))


def _read(site: Site, target: "Target", body: bytes, media_type: str, encoding: str, now: datetime) -> "Checked":
    limit_mb = site.settings.server.max_body_mb
    body = decoded(body, encoding, limit_mb)
    if media_type in (ARROW, PARQUET):
        from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns

        read = read_arrow_columns if media_type == ARROW else read_parquet_columns
        return read(target, body, now, limit_mb)
    from monitor.ingest.columnar import read_json_columns, read_ndjson_columns

    return (read_ndjson_columns if media_type == NDJSON else read_json_columns)(target, body, now)


def _target(site: Site, model: str, make: "Callable[[ModelSpec], Target]") -> "Target":
    """What rows must look like under the model's current revision; a revision never changes, so it is read once."""
    with site.database.read() as db:
        found = store.model(db, model)
    return _prepared(site.database, make, found.id, found.revision)


@lru_cache(maxsize=256)
def _prepared(database: Database, make: "Callable[[ModelSpec], Target]", model_id: UUID, revision: int) -> "Target":
    with database.read() as db:
        return make(parse_spec(store.spec_revision(db, model_id, revision).document))


def _look_again(site: Site, model: str) -> None:
    """Have the windows judged. Also when every row was a duplicate: the first answer may have died before this line.

    A job that is still waiting will see the rows stored before this line, so there is nothing to write then.
    """
    key = f"monitor:{model}"
    with site.database.read() as db:
        if queue.is_waiting(db, key):
            return
    with site.database.write() as db:
        queue.enqueue(db, "monitor.evaluate", {"model": model}, now=site.clock.now(), dedupe_key=key, lock_key=key)
