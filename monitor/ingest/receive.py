"""Receive events and outcomes: store the good rows durably, and report the others with line, field and reason."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from core.cache import CacheKind
from core.errors import AppError
from core.logs import logger
from monitor import store
from monitor.errors import ModelNotFoundError
from monitor.events.append import Appended, SmallBatch
from monitor.ingest.encoding import decoded
from monitor.ingest.media import ARROW, IDENTITY, NDJSON, PARQUET
from monitor.ingest.ndjson import BOM, Rejection
from monitor.site import Site
from monitor.spec.parse import parse_spec

if TYPE_CHECKING:
    import polars as pl

    from monitor.ingest.row_schema import Target
    from monitor.ingest.validate import CheckedRows

Kind = Literal["events", "outcomes"]
MAX_LISTED_REJECTIONS: Final = 1000
TARGETS: Final = CacheKind[tuple[Kind, UUID, int], "Target"]("row schemas by model and revision", most=4096)
MAX_SMALL_BODIES: Final = 64  # bodies of one table stored without a data frame; for more, a frame is faster
log = logger("monitor.ingest")


@dataclass(frozen=True, slots=True)
class Body:
    content: bytes
    media_type: str
    encoding: str = IDENTITY
    newest: datetime | None = None  # newest time of the history that the rows belong to, if they are one


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a request; accepted + duplicates + rejected_total is its number of rows."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]  # the first MAX_LISTED_REJECTIONS by line
    rejected_total: int
    quarantined: int = 0  # the rejected rows that are kept in quarantine
    repeated: Sequence[int] = ()  # lines of rows that were stored before; only of rows stored from a frame


@dataclass(frozen=True, slots=True)
class SmallBody:
    """An uncompressed NDJSON body that may be stored together with others."""

    model: str
    kind: Kind
    body: Body


def receive(site: Site, model: str, kind: Kind, body: Body, *, arrived: "pl.Series | None" = None) -> Receipt:
    """Store events, or outcomes of known events; on disk when this returns.

    Args:
        arrived: arrival time of the row on each line, for a sender that replays old rows; by default the current time.

    Raises:
        ModelNotFoundError: the model does not exist.
        BodyError, SchemaMismatchError: the body as a whole cannot be read.
        BodyTooLargeError: the decompressed body is larger than the limit.
        StoreFullError, LogFailedError: nothing was stored.
    """
    target = target_of(site, model, kind)
    if body.newest is not None:
        target = replace(target, newest=body.newest)
    return _receive(site, target, body, arrived)


def _receive(site: Site, target: "Target", body: Body, arrived: "pl.Series | None" = None) -> Receipt:
    from monitor.ingest.small_batch import read_small_batch

    now = site.clock.now()
    plain = arrived is None and body.encoding == IDENTITY
    if plain and (rows := read_small_batch(target, body.content, body.media_type, now)) is not None:
        (done,) = site.events.append_small_batches([SmallBatch(target.spec, rows)], now=now)
        if isinstance(done, Exception):
            raise done
        return Receipt(done.accepted, done.duplicates, [], 0)
    return store_rows(
        site, target, read_rows(target, body, now, site.settings.server.max_body_mb), now, arrived=arrived
    )


def receive_together(site: Site, bodies: Sequence[SmallBody]) -> list[Receipt | Exception]:
    """Store several small bodies of any models with one database query and one sync of the log.

    Bodies of one table are parsed, checked and logged as if they were one body. The result has one answer per body, in
    order: what `receive` would have returned or raised. A failure in one model's table affects only its own senders.

    Raises:
        LogFailedError: the log failed; the service cannot promise that any of the bodies is stored.
    """
    tables: dict[tuple[str, Kind], list[int]] = {}
    for position, body in enumerate(bodies):
        tables.setdefault((body.model, body.kind), []).append(position)
    targets = _targets(site, tables)
    answers: dict[int, Receipt | Exception] = {}
    now = site.clock.now()
    small: list[_SmallBodies] = []
    with site.events.together():
        for (model, kind), positions in tables.items():
            target = targets.get((model, kind))
            if target is None:
                answers |= dict.fromkeys(positions, ModelNotFoundError(model))
                continue
            if len(positions) <= MAX_SMALL_BODIES and (one := _small_bodies(target, bodies, positions, now)):
                small.append(one)
                continue
            try:
                found = _of_one_table(site, target, [bodies[p].body for p in positions])
            except Exception as error:
                log.exception("not stored", model=model, kind=kind)
                found = [error] * len(positions)
            answers |= zip(positions, found, strict=True)
        stored = site.events.append_small_batches([one.rows for one in small], now=now) if small else []
        for one, done in zip(small, stored, strict=True):
            answers |= one.answers(done)
    return [answers[position] for position in range(len(bodies))]


@dataclass(frozen=True, slots=True)
class _SmallBodies:
    """Bodies of one table that are too small to justify a data frame."""

    positions: Sequence[int]
    ends: Sequence[int]  # where each body's rows end in `rows`
    rows: SmallBatch

    def answers(self, stored: Appended | Exception) -> dict[int, Receipt | Exception]:
        if isinstance(stored, Exception):
            return dict.fromkeys(self.positions, stored)
        found: dict[int, Receipt | Exception] = {}
        start = 0
        for position, end in zip(self.positions, self.ends, strict=True):
            repeated = bisect_left(stored.repeated, end) - bisect_left(stored.repeated, start)
            found[position] = Receipt(end - start - repeated, repeated, [], 0)
            start = end
        return found


def _small_bodies(
    target: "Target", bodies: Sequence[SmallBody], positions: Sequence[int], now: datetime
) -> _SmallBodies | None:
    """Return the bodies' rows, or None if one of the bodies needs the column readers."""
    from monitor.ingest.small_batch import read_small_batch

    rows: list[Mapping[str, Any]] = []
    ends: list[int] = []
    for position in positions:
        found = read_small_batch(target, bodies[position].body.content, NDJSON, now)
        if found is None:
            return None
        rows += found
        ends.append(len(rows))
    return _SmallBodies(positions, ends, SmallBatch(target.spec, rows))


def _of_one_table(site: Site, target: "Target", bodies: Sequence[Body]) -> Sequence[Receipt | Exception]:
    texts = [body.content.removeprefix(BOM) for body in bodies]
    if len(bodies) > 1 and all(text.strip() for text in texts):  # an empty body is refused by itself
        try:
            if (receipts := _as_one(site, target, texts)) is not None:
                return receipts
        except AppError:
            pass  # one of them cannot be stored: store each by itself, so that each gets its own answer
    return [_or_error(site, target, body) for body in bodies]


def store_rows(
    site: Site, target: "Target", checked: "CheckedRows", now: datetime, *, keep_rejected: bool = True,
    arrived: "pl.Series | None" = None,
) -> Receipt:  # fmt: skip
    """Store the good rows, redacted, and keep the others in quarantine; both are on disk when this returns.

    `keep_rejected` is False for rows that come out of quarantine. `arrived` is the same as in `receive`.
    """
    # Quarantine comes first: if the disk is full, only quarantine rows remain, and a repeated request adds no copies.
    kept = _quarantine(site, target, checked.rejected, checked.body_digest, now) if keep_rejected else 0
    arrivals = None if arrived is None else arrived.gather([line - 1 for line in checked.lines])
    stored = _append(site, target, checked, now, arrivals)
    rejected = checked.rejected
    if stored.unknown:
        if keep_rejected:
            kept += _quarantine(site, target, stored.unknown, checked.body_digest, now, already=kept)
        rejected = sorted([*rejected, *stored.unknown], key=lambda r: r.line)
    accepted = len(checked.lines) - len(stored.repeated) - len(stored.unknown)
    return Receipt(
        accepted, len(stored.repeated), rejected[:MAX_LISTED_REJECTIONS], len(rejected), kept, stored.repeated
    )


def store_replacements(site: Site, target: "Target", frame: "pl.DataFrame", now: datetime) -> int:
    """Store other records of stored events, redacted; returns how many were new. See `append_replacements`."""
    from monitor.redact.columns import redacted, redaction_key

    frame = redacted(frame, target.spec.redact, redaction_key(site.keys.subject))
    return site.events.append_replacements(target.spec, frame, now=now)


@dataclass(frozen=True, slots=True)
class _Appended:
    """Valid rows that were not stored as new rows."""

    repeated: Sequence[int]  # lines whose row is already stored
    unknown: list[Rejection]  # outcomes whose event is not stored


def _append(
    site: Site, target: "Target", checked: "CheckedRows", now: datetime, arrived: "pl.Series | None" = None
) -> _Appended:
    from monitor.redact.columns import redacted, redaction_key

    frame = redacted(checked.frame, target.spec.redact, redaction_key(site.keys.subject))
    if target.timed:
        events = site.events.append_events(target.spec, frame, now=now, arrived=arrived)
        return _Appended([checked.lines[at] for at in events.repeated], [])
    outcomes = site.events.append_outcomes(target.spec, frame, now=now, arrived=arrived)
    unknown: list[Rejection] = []
    if outcomes.unknown:
        reason = "no event with this id is stored; send the event first, or check the id"
        rows = checked.frame[list(outcomes.unknown)].to_dicts()
        found = zip(outcomes.unknown, rows, strict=True)
        unknown = [Rejection(checked.lines[at], "event_id", reason, row) for at, row in found]
    return _Appended([checked.lines[at] for at in outcomes.repeated], unknown)


def _as_one(site: Site, target: "Target", texts: Sequence[bytes]) -> list[Receipt] | None:
    """Store the bodies as one; None, with nothing stored, if a row is rejected, because quarantine records its body."""
    from monitor.ingest.json_columns import read_ndjson_columns

    now = site.clock.now()
    lines = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    checked = read_ndjson_columns(target, b"".join(lines), now)
    if checked.rejected:
        return None
    stored = _append(site, target, checked, now)
    receipts = []
    after = 0
    for text in lines:
        last = after + text.count(b"\n")
        taken = bisect_right(checked.lines, last) - bisect_right(checked.lines, after)
        repeated = bisect_right(stored.repeated, last) - bisect_right(stored.repeated, after)
        unknown = [replace(r, line=r.line - after) for r in stored.unknown if after < r.line <= last]
        kept = _quarantine(site, target, unknown, _digest(text), now)
        receipts.append(Receipt(taken - repeated - len(unknown), repeated, unknown, len(unknown), kept))
        after = last
    return receipts


def _or_error(site: Site, target: "Target", body: Body) -> Receipt | AppError:
    try:
        return _receive(site, target, body)
    except AppError as error:
        return error


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
    from monitor.ingest.quarantine import free_rows, quarantine_rows
    from monitor.redact.columns import redaction_key

    model = target.spec.model
    with site.database.read() as db:
        decided = store.quarantine_decided(db, store.model(db, model).id)
    free = free_rows(site.events.extent(model).rows, site.events.quarantined(model) - decided)
    rejected = rejected[: max(0, free - already)]
    if not rejected:
        return 0
    rows = quarantine_rows(
        target.spec, "events" if target.timed else "outcomes", rejected, body_digest,
        key=redaction_key(site.keys.subject), digest=site.events.subject_digest,
    )  # fmt: skip
    site.events.append_quarantine(target.spec, rows, now=now)
    return len(rejected)


def read_rows(target: "Target", body: Body, now: datetime, limit_mb: int) -> "CheckedRows":
    """Read a body of any form into checked rows: the one reader of all routes and commands.

    Raises:
        BodyError, SchemaMismatchError: the body as a whole cannot be read.
        BodyTooLargeError: the decompressed body is larger than the limit.
    """
    content = decoded(body.content, body.encoding, limit_mb)
    if body.media_type in (ARROW, PARQUET):
        from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns

        read = read_arrow_columns if body.media_type == ARROW else read_parquet_columns
        checked = read(target, content, now, limit_mb)
    else:
        from monitor.ingest.json_columns import read_json_columns, read_ndjson_columns

        checked = (read_ndjson_columns if body.media_type == NDJSON else read_json_columns)(target, content, now)
    if target.timed and not checked.rejected:
        return checked
    return replace(checked, body_digest=_digest(content))


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def target_of(site: Site, model: str, kind: Kind) -> "Target":
    """Return the row schema of the model's current spec revision.

    Raises:
        ModelNotFoundError: the model does not exist.
    """
    found = _targets(site, [(model, kind)])
    if not found:
        raise ModelNotFoundError(model)
    return found[model, kind]


def _targets(site: Site, tables: Collection[tuple[str, Kind]]) -> dict[tuple[str, Kind], "Target"]:
    """Return targets for the tables whose model exists. A revision never changes, so it is read once."""
    with site.database.read_connection() as db:
        known = store.revisions(db, {model for model, _ in tables})
    return {(model, kind): _prepared(site, kind, *known[model]) for model, kind in tables if model in known}


def _prepared(site: Site, kind: Kind, model_id: UUID, revision: int) -> "Target":
    from monitor.ingest.row_schema import events_of, outcomes_of

    def read() -> "Target":
        with site.database.read() as db:
            spec = parse_spec(store.spec_revision(db, model_id, revision).document)
        return (events_of if kind == "events" else outcomes_of)(spec)

    return site.cache.get(TARGETS, (kind, model_id, revision), read)
