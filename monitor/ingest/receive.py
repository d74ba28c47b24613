"""Take in events and outcomes: the good rows are stored durably, the others come back with line, field and reason."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    import polars as pl

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
    quarantined: int = 0  # of the rejected rows, those that are kept


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
    target = target_of(site, model, events_of)
    return store_rows(site, target, _read(site, target, body, media_type, encoding, now), now)


def receive_outcomes(site: Site, model: str, body: bytes, media_type: str, encoding: str = IDENTITY) -> Receipt:
    """Store outcomes of known events; on disk when this returns. Raises what `receive_events` raises."""
    from monitor.ingest.target import outcomes_of

    now = site.clock.now()
    target = target_of(site, model, outcomes_of)
    return store_rows(site, target, _read(site, target, body, media_type, encoding, now), now)


def store_rows(
    site: Site, target: "Target", checked: "Checked", now: datetime, *, keep_rejected: bool = True
) -> Receipt:
    """Store the good rows, redacted, and keep the others in quarantine; both are on disk when this returns.

    `keep_rejected` is off for rows that come out of quarantine.
    """
    from monitor.redact.columns import redacted, redaction_key

    frame = redacted(checked.frame, target.spec, redaction_key(site.keys.subject))
    # First, so that a full disk leaves nothing of the request behind but rows that a repetition finds again.
    kept = _quarantine(site, target, checked.rejected, checked.body_digest, now) if keep_rejected else 0
    accepted, duplicates, unknown = _append(site, target, frame, now)
    rejected = checked.rejected
    if unknown:
        reason = "no event with this id is stored; send the event first, or check the id"
        rows = checked.frame[list(unknown)].to_dicts()
        refused = [Rejection(checked.lines[at], "event_id", reason, row) for at, row in zip(unknown, rows, strict=True)]
        kept += _quarantine(site, target, refused, checked.body_digest, now, already=kept) if keep_rejected else 0
        rejected = sorted([*rejected, *refused], key=lambda r: r.line)
    _look_again(site, target.spec.model)
    return Receipt(accepted, duplicates, rejected[:LISTED_REJECTIONS], len(rejected), kept)


def _append(site: Site, target: "Target", frame: "pl.DataFrame", now: datetime) -> tuple[int, int, Sequence[int]]:
    """How many were new and how many not, and the positions of outcomes whose event is not stored."""
    if target.timed:
        events = site.events.append_events(target.spec, frame, now=now)
        return events.accepted, events.duplicates, ()
    outcomes = site.events.append_outcomes(target.spec, frame, now=now)
    return outcomes.accepted, outcomes.duplicates, outcomes.unknown


def _quarantine(
    site: Site,
    target: "Target",
    rejected: Sequence[Rejection],
    body_digest: str | None,
    now: datetime,
    *,
    already: int = 0,
) -> int:
    if not rejected:
        return 0
    from monitor.ingest.quarantine import kept_rows, room
    from monitor.redact.columns import redaction_key

    model = target.spec.model
    with site.database.read() as db:
        decided = store.quarantine_decided(db, store.model(db, model).id)
    free = room(site.events.extent(model).rows, site.events.quarantined(model) - decided)
    rejected = rejected[: max(0, free - already)]
    if not rejected:
        return 0
    rows = kept_rows(
        target.spec, "events" if target.timed else "outcomes", rejected, body_digest,
        key=redaction_key(site.keys.subject), digest=site.events.subject_digest,
    )  # fmt: skip
    site.events.append_quarantine(model, rows, now=now)
    return len(rejected)


def _read(site: Site, target: "Target", body: bytes, media_type: str, encoding: str, now: datetime) -> "Checked":
    limit_mb = site.settings.server.max_body_mb
    body = decoded(body, encoding, limit_mb)
    if media_type in (ARROW, PARQUET):
        from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns

        read = read_arrow_columns if media_type == ARROW else read_parquet_columns
        checked = read(target, body, now, limit_mb)
    else:
        from monitor.ingest.columnar import read_json_columns, read_ndjson_columns

        checked = (read_ndjson_columns if media_type == NDJSON else read_json_columns)(target, body, now)
    if target.timed and not checked.rejected:
        return checked
    return replace(checked, body_digest=f"sha256:{hashlib.sha256(body).hexdigest()}")


def target_of(site: Site, model: str, make: "Callable[[ModelSpec], Target]") -> "Target":
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
