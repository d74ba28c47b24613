"""Take in events and outcomes: the good rows are stored durably, the others come back with line, field and reason."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from core import queue
from core.db import Database
from core.errors import AppError
from monitor import store
from monitor.ingest.encoding import decoded
from monitor.ingest.media import ARROW, IDENTITY, NDJSON, PARQUET
from monitor.ingest.ndjson import BOM, Rejection
from monitor.schema import parse_spec
from monitor.site import Site

if TYPE_CHECKING:
    from monitor.ingest.target import Target
    from monitor.ingest.validate import Checked

Kind = Literal["events", "outcomes"]
LISTED_REJECTIONS: Final = 1000
LOOK_S: Final = 1.0  # a model's windows are asked to be judged at most this often by the arrival of rows


@dataclass(frozen=True, slots=True)
class Body:
    content: bytes
    media_type: str
    encoding: str = IDENTITY


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's rows: accepted + duplicates + rejected_total is their number."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]  # the first LISTED_REJECTIONS by line
    rejected_total: int
    quarantined: int  # of the rejected rows, those that are kept

    @property
    def document(self) -> dict[str, Any]:
        """The answer; the rows themselves are no part of it."""
        rejected = [{"line": r.line, "field": r.field, "reason": r.reason} for r in self.rejected]
        return {
            "accepted": self.accepted, "duplicates": self.duplicates, "rejected": rejected,
            "rejected_total": self.rejected_total, "quarantined": self.quarantined,
        }  # fmt: skip


def receive(site: Site, model: str, kind: Kind, body: Body) -> Receipt:
    """Store events, or outcomes of known events; on disk when this returns.

    Raises:
        ModelNotFoundError: no such model.
        BodyError, SchemaMismatchError: the body as a whole cannot be read.
        BodyTooLargeError: it unpacks to more than the limit.
        StoreFullError, LogFailedError: nothing was stored.
    """
    now = site.clock.now()
    target = target_of(site, model, kind)
    return store_rows(site, target, _read(site, target, body, now), now)


def receive_together(site: Site, model: str, kind: Kind, bodies: Sequence[Body]) -> list[Receipt | AppError]:
    """Several small NDJSON bodies of one model as if they were one: parsed, checked, logged and synced once.

    One answer for each, as `receive` would have given or raised it.
    """
    texts = [body.content.removeprefix(BOM) for body in bodies]
    if len(bodies) > 1 and all(text.strip() for text in texts):  # a body without a row is refused
        try:
            return _as_one(site, model, kind, texts)
        except AppError:
            pass  # one of them cannot be stored: each is told by itself
    return [_or_error(site, model, kind, body) for body in bodies]


def store_rows(
    site: Site, target: "Target", checked: "Checked", now: datetime, *, keep_rejected: bool = True
) -> Receipt:
    """Make the good rows durable, redacted, and have the windows judged; the others go to quarantine.

    `keep_rejected` is off for rows that come out of quarantine.
    """
    stored = _store(site, target, checked, now)
    rejected = stored.rejected if keep_rejected else []
    (kept,) = _quarantine(site, target, [(rejected, checked.body_digest)], now)
    return stored.receipt(0, None, kept)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of rows, by line."""

    taken: Sequence[int]  # lines accepted or known before
    repeated: Sequence[int]  # those known before
    rejected: list[Rejection]

    def refused(self, after: int, last: int | None) -> list[Rejection]:
        """Of the lines after < line <= last, counted from `after`."""
        if last is None:
            return self.rejected
        return [replace(r, line=r.line - after) for r in self.rejected if after < r.line <= last]

    def receipt(self, after: int, last: int | None, kept: int) -> Receipt:
        """Of the same lines; `kept`: how many of those refused are in quarantine."""
        mine = self.refused(after, last)
        if last is None:
            taken, repeated = len(self.taken), len(self.repeated)
        else:
            taken = sum(after < line <= last for line in self.taken)
            repeated = sum(after < line <= last for line in self.repeated)
        return Receipt(taken - repeated, repeated, mine[:LISTED_REJECTIONS], len(mine), kept)


def _store(site: Site, target: "Target", checked: "Checked", now: datetime) -> _Stored:
    from monitor.redact.columns import redacted, redaction_key

    model = target.spec.model
    rejected = checked.rejected
    lines: Sequence[int] = checked.lines
    frame = checked.frame
    if target.spec.redact:
        frame = redacted(frame, target.spec, redaction_key(site.keys.subject))
    if target.timed:
        repeated = site.events.append_events(target.spec, frame, now=now).repeated
    else:
        done = site.events.append_outcomes(target.spec, frame, now=now)
        repeated = done.repeated
        if done.unknown:
            reason = "no event with this id is stored; send the event first, or check the id"
            rows = checked.frame[list(done.unknown)].to_dicts()
            unknown = [
                Rejection(lines[at], "event_id", reason, row) for at, row in zip(done.unknown, rows, strict=True)
            ]
            rejected = sorted([*rejected, *unknown], key=lambda r: r.line)
            missing = set(done.unknown)
            lines = [line for position, line in enumerate(lines) if position not in missing]
    look_again(site, model)
    return _Stored(lines, [checked.lines[position] for position in repeated], rejected)


def _quarantine(
    site: Site, target: "Target", bodies: Sequence[tuple[Sequence[Rejection], str | None]], now: datetime
) -> list[int]:
    """Keep the rejected rows of each body, with its digest, as far as there is room; returns how many of each."""
    if not any(rejected for rejected, _ in bodies):
        return [0] * len(bodies)
    import polars as pl

    from monitor.ingest.quarantine import kept_rows, room
    from monitor.redact.columns import redaction_key

    model, kind = target.spec.model, "events" if target.timed else "outcomes"
    with site.database.read() as db:
        decided = store.quarantine_decided(db, store.model(db, model).id)
    free = room(site.events.extent(model).rows, site.events.quarantined(model) - decided)
    key, digest = redaction_key(site.keys.subject), site.events.subject_digest
    counts, frames = [], []
    for rejected, body_digest in bodies:
        part = rejected[:free]
        free -= len(part)
        counts.append(len(part))
        frames.append(kept_rows(target.spec, kind, part, body_digest, key=key, digest=digest))
    if any(counts):
        site.events.append_quarantine(target.spec, pl.concat(frames), now=now)
    return counts


def _as_one(site: Site, model: str, kind: Kind, texts: Sequence[bytes]) -> list[Receipt | AppError]:
    from monitor.ingest.columnar import read_ndjson_columns

    now = site.clock.now()
    target = target_of(site, model, kind)
    whole = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    stored = _store(site, target, read_ndjson_columns(target, b"".join(whole), now), now)
    ends = list(accumulate((text.count(b"\n") for text in whole), initial=0))
    spans = list(pairwise(ends))
    refused = [stored.refused(*span) for span in spans]
    digests = [_digest(text) if mine else None for text, mine in zip(texts, refused, strict=True)]
    kept = _quarantine(site, target, list(zip(refused, digests, strict=True)), now)
    return [stored.receipt(*span, count) for span, count in zip(spans, kept, strict=True)]


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _or_error(site: Site, model: str, kind: Kind, body: Body) -> Receipt | AppError:
    try:
        return receive(site, model, kind, body)
    except AppError as error:
        return error


def _read(site: Site, target: "Target", body: Body, now: datetime) -> "Checked":
    limit_mb = site.settings.server.max_body_mb
    content = decoded(body.content, body.encoding, limit_mb)
    if body.media_type in (ARROW, PARQUET):
        from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns

        read = read_arrow_columns if body.media_type == ARROW else read_parquet_columns
        checked = read(target, content, now, limit_mb)
    else:
        from monitor.ingest.columnar import read_json_columns, read_ndjson_columns

        checked = (read_ndjson_columns if body.media_type == NDJSON else read_json_columns)(target, content, now)
    if target.timed and not checked.rejected:
        return checked
    return replace(checked, body_digest=_digest(content))


def target_of(site: Site, model: str, kind: Kind) -> "Target":
    """What rows must look like under the model's current revision; a revision never changes, so it is read once."""
    with site.database.read() as db:
        found = store.model(db, model)
    return _prepared(site.database, kind, found.id, found.revision)


@lru_cache(maxsize=4096)
def _prepared(database: Database, kind: Kind, model_id: UUID, revision: int) -> "Target":
    from monitor.ingest.target import events_of, outcomes_of

    with database.read() as db:
        spec = parse_spec(store.spec_revision(db, model_id, revision).document)
    return (events_of if kind == "events" else outcomes_of)(spec)


_LOOKED: Final[dict[tuple[int, str], float]] = {}


def look_again(site: Site, model: str, *, every_s: float = LOOK_S) -> None:
    """Have the windows judged, unless that was asked for a moment ago: the fold of these rows asks again.

    A job that is still waiting will see the rows stored before this line, so there is nothing to write then.
    """
    at = (id(site.database), model)
    if time.monotonic() - _LOOKED.get(at, -every_s) < every_s:
        return
    _LOOKED[at] = time.monotonic()
    key = f"monitor:{model}"
    with site.database.read() as db:
        if queue.is_waiting(db, key):
            return
    with site.database.write() as db:
        queue.enqueue(db, "monitor.evaluate", {"model": model}, now=site.clock.now(), dedupe_key=key, lock_key=key)
