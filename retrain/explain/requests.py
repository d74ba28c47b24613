"""Ask for the explanations of many decisions: of a period, a sample of it, or named ones."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl
from sqlalchemy.orm import Session

from core import queue
from core.errors import InsufficientDataError, InvalidError
from core.jobs import ExplainBatchJob
from governance.ledger.append import append_entry
from monitor import store as monitored
from monitor.errors import EventNotFoundError
from monitor.service import current_spec
from monitor.site import Site
from retrain.tables import ExplanationBatch

MOST_NAMED: Final = 10_000  # event ids in one request


def request(
    site: Site,
    db: Session,
    model_name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sample: int | None = None,
    seed: int = 0,
    event_ids: Sequence[str] = (),
    actor: str,
) -> ExplanationBatch:
    """Queue the work; events that arrive later are not part of it.

    Args:
        since, until: half-open period of the events' times; without them, all that are stored.
        sample: so many of them, drawn by the digest of seed and id: the same events every time.
        event_ids: these instead of a period.

    Raises:
        InvalidError: a period and ids together, an empty period, or a model whose decisions cannot be explained.
        EventNotFoundError: an id is not stored.
        InsufficientDataError: no event lies in the period.
    """
    from retrain.evals.explained.load import LOADERS  # what computes explanations, which few requests ask for
    from retrain.explain.basis import Basis
    from retrain.explain.tables import explains_tables

    if event_ids and (since or until or sample):
        raise InvalidError("event_ids and a period exclude each other; give one of them", field="event_ids")
    if since and until and since >= until:
        raise InvalidError(f"from: {since.isoformat()} is not before to: {until.isoformat()}", field="from")
    basis = None if explains_tables(current_spec(site, db, model_name).spec) else Basis.of(site, db, model_name, None)
    if basis is not None and basis.files.task not in LOADERS:
        raise InvalidError(f"recipe task {basis.files.task} has no explanations", field="retrain.recipe.task")
    asked: dict[str, Any] = {
        "from": since and since.isoformat(), "to": until and until.isoformat(), "sample": sample, "seed": seed,
        "event_ids": list(dict.fromkeys(event_ids)) or None, "to_seq": site.events.extent(model_name).next_seq,
    }  # fmt: skip
    chosen = events_of(site, model_name, asked, ["event_id"])
    if asked["event_ids"] and (absent := set(asked["event_ids"]) - set(chosen["event_id"])):
        raise EventNotFoundError(model_name, min(absent))
    if chosen.height == 0:
        raise InsufficientDataError(
            "no event lies in the period, so there is nothing to explain; give another one", field="from"
        )
    batch = ExplanationBatch(
        model_id=monitored.model(db, model_name).id, asked=asked, state="queued", total=chosen.height,
        created_by=actor, created_at=site.clock.now(),
    )  # fmt: skip
    db.add(batch)
    db.flush()
    append_entry(
        db, kind="explanations.requested", actor=actor, subject=f"model:{model_name}", at=site.clock.now(),
        body={"batch": str(batch.id), "from": asked["from"], "to": asked["to"], "sample": sample, "seed": seed,
              "named": len(event_ids), "events": chosen.height},
    )  # fmt: skip
    job = ExplainBatchJob(model=model_name, batch_id=batch.id)
    queue.enqueue(db, job, now=site.clock.now(), lock_key=f"explanations:{batch.id}")
    return batch


def events_of(site: Site, model_name: str, asked: dict[str, Any], columns: Sequence[str]) -> pl.DataFrame:
    """The events that a request is about, in arrival order; those that were erased since are gone."""
    wanted = list(dict.fromkeys(["event_id", *columns]))
    since, until = (datetime.fromisoformat(asked[key]) if asked[key] else None for key in ("from", "to"))
    rows = site.events.scan(model_name, to_seq=asked["to_seq"], from_ts=since, to_ts=until)
    if since is not None:
        rows = rows.filter(pl.col("ts") >= since)
    if until is not None:
        rows = rows.filter(pl.col("ts") < until)
    rows = rows.filter(pl.col("seq") < asked["to_seq"])
    ids = asked["event_ids"]
    if ids is None and asked["sample"] is not None:
        ids = _drawn(rows.select("event_id").collect()["event_id"].to_list(), asked["sample"], asked["seed"])
    if ids is not None:
        rows = rows.filter(pl.col("event_id").is_in(ids))
    present = set(rows.collect_schema().names())
    absent = [pl.lit(None).alias(name) for name in wanted if name not in present]
    return rows.sort("seq").select([name for name in wanted if name in present]).collect().with_columns(absent)


def is_about(asked: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a request names an event, or its period holds it; False for a sample, which is drawn from all others."""
    if asked["sample"] is not None or event["seq"] >= asked["to_seq"]:
        return False
    if asked["event_ids"] is not None:
        return event["event_id"] in asked["event_ids"]
    since, until = (datetime.fromisoformat(asked[key]) if asked[key] else None for key in ("from", "to"))
    return (since is None or event["ts"] >= since) and (until is None or event["ts"] < until)


def _drawn(ids: Sequence[str], count: int, seed: int) -> list[str]:
    return sorted(ids, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())[:count]
