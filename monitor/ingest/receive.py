"""Take in events and outcomes: the good rows are stored durably, the others come back with line, field and reason."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal
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


def receive(site: Site, model: str, kind: Kind, body: Body) -> Receipt:
    """Store events, or outcomes of known events; on disk when this returns.

    Raises:
        ModelNotFoundError: no such model.
        BodyError, SchemaMismatchError: the body as a whole cannot be read.
        BodyTooLargeError: it unpacks to more than the limit.
        StoreFullError, LogFailedError: nothing was stored.
    """
    now = site.clock.now()
    target = _target(site, model, kind)
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


def store_rows(site: Site, target: "Target", checked: "Checked", now: datetime) -> Receipt:
    """Make the good rows durable and have the windows judged."""
    return _store(site, target, checked, now).receipt(0, None)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of rows, by line."""

    taken: Sequence[int]  # lines accepted or known before
    repeated: Sequence[int]  # those known before
    rejected: list[Rejection]

    def receipt(self, after: int, last: int | None) -> Receipt:
        """Of the lines after < line <= last, counted from `after`."""
        if last is None:
            mine, taken, repeated = self.rejected, len(self.taken), len(self.repeated)
        else:
            mine = [Rejection(r.line - after, r.field, r.reason) for r in self.rejected if after < r.line <= last]
            taken = sum(after < line <= last for line in self.taken)
            repeated = sum(after < line <= last for line in self.repeated)
        return Receipt(taken - repeated, repeated, mine[:LISTED_REJECTIONS], len(mine))


def _store(site: Site, target: "Target", checked: "Checked", now: datetime) -> _Stored:
    model = target.spec.model
    rejected = checked.rejected
    lines: Sequence[int] = checked.lines
    if target.timed:
        repeated = site.events.append_events(target.spec, checked.frame, now=now).repeated
    else:
        done = site.events.append_outcomes(target.spec, checked.frame, now=now)
        repeated = done.repeated
        if done.unknown:
            reason = "no event with this id is stored; send the event first, or check the id"
            unknown = [Rejection(lines[position], "event_id", reason) for position in done.unknown]
            rejected = sorted([*rejected, *unknown], key=lambda r: r.line)
            missing = set(done.unknown)
            lines = [line for position, line in enumerate(lines) if position not in missing]
    look_again(site, model)
    return _Stored(lines, [checked.lines[position] for position in repeated], rejected)


def _as_one(site: Site, model: str, kind: Kind, texts: Sequence[bytes]) -> list[Receipt | AppError]:
    from monitor.ingest.columnar import read_ndjson_columns

    now = site.clock.now()
    target = _target(site, model, kind)
    whole = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    stored = _store(site, target, read_ndjson_columns(target, b"".join(whole), now), now)
    answers: list[Receipt | AppError] = []
    after = 0
    for text in whole:
        last = after + text.count(b"\n")
        answers.append(stored.receipt(after, last))
        after = last
    return answers


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
        return read(target, content, now, limit_mb)
    from monitor.ingest.columnar import read_json_columns, read_ndjson_columns

    return (read_ndjson_columns if body.media_type == NDJSON else read_json_columns)(target, content, now)


def _target(site: Site, model: str, kind: Kind) -> "Target":
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
