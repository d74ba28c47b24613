"""What one event ended up in: windows, datasets, runs, versions, reports, explanations; also after it was erased.

A dataset says so by its index of keyed digests, which stays when rows are erased; one of an earlier release by its
rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import InvalidError, NotFoundError
from monitor.site import Site
from monitor.tables import Dataset, Explanation, Model, Window
from reports.tables import Report
from retrain.curate.select import EVENTS
from retrain.provenance.members import holds
from retrain.provenance.nodes import Nodes, first_digest
from retrain.provenance.rules import goes_on
from retrain.tables import ModelVersion, Run

DIGEST: Final = 64  # hexadecimal digits of the keyed digest of an event


def ended_up_in(
    site: Site, db: Session, model: Model, *, event_id: str | None = None, digest: str | None = None
) -> dict[str, Any]:
    """Everything that an event went into.

    Args:
        event_id: its id.
        digest: or the keyed digest of its id, as an earlier answer gave it, where nobody may keep the id.

    Raises:
        InvalidError: neither or both are given, or the digest is none.
    """
    if (event_id is None) == (digest is None):
        raise InvalidError("event_id: give the id of an event, or its digest, and not both", field="event_id")
    key = site.events.event_digest(model.name, event_id) if event_id is not None else str(digest)
    if len(key) != DIGEST or not set(key) <= set("0123456789abcdef"):
        raise InvalidError(f"digest is {key[:80]!r}; give the 64 hexadecimal digits of an earlier answer",
                           field="digest", value=key[:80])  # fmt: skip
    event = site.events.event(model.name, event_id) if event_id is not None else None
    nodes = Nodes.of(db, model)
    sets = [row for row in reversed(nodes.datasets) if _member(site, row, key, event_id)]
    used = {row.run_id: row for row in sets if row.role == "train"}
    runs = [run for run in nodes.runs.values() if any(row.run_id == run.id for row in sets)]
    versions = _versions(nodes, used)
    reports = _reports(db, model, event, {v["version"] for v in versions}, runs, nodes)
    return {
        "model": model.name, "event_id": event_id, "digest": key, "state": _state(event, sets),
        "windows": _windows(db, model, event),
        "datasets": [
            {"name": d.name, "role": d.role, "digest": first_digest(d), "node": nodes.dataset(d).digest,
             "run": None if d.run_id is None else str(d.run_id),
             "erasures": [m["erasure"] for m in d.provenance.get("erasures") or ()]}
            for d in sets
        ],
        "runs": [{"run": str(r.id), "state": r.state, "roles": sorted(d.role for d in sets if d.run_id == r.id),
                  "node": nodes.run(r).digest} for r in runs],
        "versions": versions, "reports": reports, "explanations": _explanations(db, model, event_id),
    }  # fmt: skip


def _state(event: Mapping[str, Any] | None, sets: Sequence[Dataset]) -> str:
    if event is not None:
        return "stored"
    return "not stored: erased, or older than the model's retention" if sets else "unknown here"


def _member(site: Site, row: Dataset, key: str, event_id: str | None) -> bool:
    if (kept := row.provenance.get("members")) is not None:
        return holds(site.artifacts.path(kept), key)
    if event_id is None or row.run_id is None:
        return False
    try:
        path = site.artifacts.path(row.digest)
    except NotFoundError:
        return False
    rows = pl.scan_parquet(path, glob=False)
    return not rows.filter(pl.col("row_id") == event_id, pl.col("source") == EVENTS).head(1).collect().is_empty()


def _versions(nodes: Nodes, used: Mapping[Any, Dataset]) -> list[dict[str, Any]]:
    """Versions that learned from the event, and those that went on from one, oldest first."""
    found: dict[str, dict[str, Any]] = {}
    for row in nodes.versions.values():
        run = nodes.runs.get(row.run_id) if row.run_id is not None else None
        if (why := _why(row, run, used, found)) is not None:
            found[row.version] = {
                "version": row.version, "stage": row.stage, "adapter": row.adapter, "why": why,
                "node": nodes.version(row).digest,
            }  # fmt: skip
    return list(found.values())


def _why(
    row: ModelVersion, run: Run | None, used: Mapping[Any, Dataset], found: Mapping[str, Any]
) -> str | None:  # fmt: skip
    if row.run_id is not None and row.run_id in used:
        return "was trained on it"
    if run is not None and goes_on(run) and run.champion_version in found:
        return f"went on from {run.champion_version}"
    teacher = ((run.config or {}).get("teacher") or {}).get("version") if run is not None else None
    return f"was taught by {teacher}" if teacher in found else None


def _windows(db: Session, model: Model, event: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if event is None:
        return []
    seq = int(event["seq"])
    query = select(Window).where(Window.model_id == model.id, Window.from_seq <= seq, Window.to_seq > seq)
    return [
        {"window": str(w.id), "scale": w.scale, "number": w.number, "verdict": w.verdict}
        for w in db.scalars(query.order_by(Window.closed_at).limit(100))
        if w.from_ts <= event["ts"] <= w.to_ts or w.scale.endswith("rows")
    ]


def _reports(
    db: Session, model: Model, event: Mapping[str, Any] | None, versions: Iterable[str], runs: Sequence[Run],
    nodes: Nodes,
) -> list[dict[str, Any]]:  # fmt: skip
    """Reports over its time, and those that describe what was made from it."""
    at: datetime | None = None if event is None else event["ts"]
    learned = [nodes.versions[v] for v in versions]
    found = []
    for row in db.scalars(select(Report).where(Report.model_id == model.id).order_by(Report.created_at)):
        if not (row.files or {}).get("json"):
            continue
        why = []
        if at is not None and row.period_from <= at < row.period_to:
            why.append("covers its time")
        why += [f"describes version {v.version}" for v in learned if v.created_at <= max(row.period_to, row.created_at)]
        why += [f"describes run {r.id}" for r in runs if row.period_from <= r.created_at <= row.period_to]
        if why:
            found.append({"report": str(row.id), "digest": (row.files or {})["json"], "why": why})
    return found


def _explanations(db: Session, model: Model, event_id: str | None) -> list[dict[str, Any]]:
    if event_id is None:
        return []
    query = select(Explanation).where(Explanation.model_id == model.id, Explanation.event_id == event_id)
    return [{"version": row.version, "digest": row.artifact, "at": row.created_at.isoformat()}
            for row in db.scalars(query.order_by(Explanation.created_at))]  # fmt: skip
