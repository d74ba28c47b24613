"""Take erased rows out of datasets and of the predictions made on them; name the versions that learned from them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from governance import erasure
from governance.binding.session import because_of_erasure
from governance.erasure import Case
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store as monitored
from monitor.levels import number_levels
from monitor.site import Site
from monitor.tables import Dataset
from monitor.upkeep.erase_rows import subject_columns
from retrain import store
from retrain.tables import ModelVersion, Run

TEXTS = ("text", "prompt")


def erase_datasets(site: Site, case: Case) -> None:
    """Write every dataset of a model again without the subject's rows; registered ones first, for runs sample them."""
    columns = subject_columns(site, case.model)
    with site.database.read() as db:
        model = monitored.model(db, case.model)
        sets = sorted(store.datasets(db, model.id), key=lambda d: (d.run_id is not None, d.created_at))
    for row in sets:
        if not _mark(row, case):
            _erase(site, case, row, columns)
    with site.database.read() as db:
        marks = [m for row in store.datasets(db, model.id) if (m := _mark(row, case))]
        kept = set(db.scalars(select(Dataset.digest)))
    for mark in marks:
        if mark["digest_before"] not in kept:
            site.artifacts.delete(mark["digest_before"])


def touched(db: Session, case: Case) -> list[Dataset]:
    """Datasets that this erasure changed, oldest first."""
    model = monitored.model(db, case.model)
    return [row for row in reversed(store.datasets(db, model.id)) if _mark(row, case)]


def _mark(row: Dataset, case: Case) -> dict[str, Any]:
    """What this erasure did to a dataset, read from its provenance; empty if it did nothing."""
    marks: list[dict[str, Any]] = row.provenance.get("erasures", [])
    return next((mark for mark in marks if mark["erasure"] == str(case.id)), {})


def _erase(site: Site, case: Case, row: Dataset, columns: Sequence[str]) -> None:
    frame = pl.read_parquet(io.BytesIO(site.artifacts.get(row.digest)))
    with site.database.read() as db:
        ids, texts = (erasure.remembered(db, case, what) for what in ("ids", "texts"))
    gone = _hits(site, case, frame, columns, ids, texts)
    if not gone.any():
        return
    buffer = io.BytesIO()
    kept = frame.filter(~gone)
    kept.write_parquet(buffer)
    artifact = site.artifacts.put(buffer.getvalue())
    now = site.clock.now()
    mark = {
        "erasure": str(case.id), "at": now.isoformat(), "digest_before": row.digest, "digest_after": artifact,
        "rows_removed": frame.height - kept.height,
    }  # fmt: skip
    with site.database.write() as db:
        because_of_erasure(db, case.id)
        stored = db.get_one(Dataset, row.id, with_for_update=True)
        if row.run_id is None:
            # A run samples registered rows by number, and numbers shift; its copies are found by source and text.
            erasure.remember(db, case, "texts", {_copy(site, row.name, t): 1 for t in _texts(frame.filter(gone))})
        stored.digest, stored.rows = artifact, kept.height
        stored.provenance = {**stored.provenance, "erasures": [*stored.provenance.get("erasures", []), mark]}
        append_entry(
            db, kind="dataset.erased", actor=SYSTEM_ACTOR, subject=f"model:{case.model}", at=now,
            body={"dataset": row.id, "name": row.name, "role": row.role, "rows": kept.height, **mark, "at": now},
        )  # fmt: skip


def _hits(
    site: Site, case: Case, frame: pl.DataFrame, columns: Sequence[str], ids: Iterable[str], texts: Iterable[str]
) -> pl.Series:
    """Rows of the subject: by event id, by the subject itself (in clear or digested), or copied from such a row."""
    gone = pl.Series([False] * frame.height, dtype=pl.Boolean)
    for name in ("row_id", "event_id"):
        if name in frame.columns:
            gone |= _as_sent(frame[name]).is_in(list(ids)).fill_null(value=False)
    for name in columns:
        if name in frame.columns:
            values = _as_sent(frame[name]).to_list()
            digests = {v: site.events.subject_digest(v) for v in set(values) if v is not None}
            gone |= pl.Series([case.subject in (v, digests.get(v)) for v in values], dtype=pl.Boolean)
    wanted = set(texts)
    if wanted and "source" in frame.columns:
        named = zip(frame["source"].to_list(), _texts(frame), strict=True)
        copies = [_copy(site, (source or "").removeprefix("dataset:"), text) in wanted for source, text in named]
        gone |= pl.Series(copies, dtype=pl.Boolean)
    return gone


def _as_sent(values: pl.Series) -> pl.Series:
    """Ids as events have them: 17 of a column of integers with gaps, which pandas writes as 17.0, is `17`."""
    if not values.dtype.is_numeric():
        return values.cast(pl.String)
    if values.dtype.is_float():
        values = values.set(values.is_infinite().fill_null(value=False), None)
    return number_levels(values)


def _texts(frame: pl.DataFrame) -> list[str]:
    name = next((n for n in TEXTS if n in frame.columns), None)
    return [""] * frame.height if name is None else frame[name].cast(pl.String).fill_null("").to_list()


def _copy(site: Site, dataset: str, text: str) -> str:
    return site.events.subject_digest(f"row of {dataset}: {text}")


# --- predictions ------------------------------------------------------------------------------------------------------


def erase_predictions(site: Site, case: Case) -> None:
    """Leave in each run's predictions only the rows that its datasets still have."""
    with site.database.read() as db:
        model = monitored.model(db, case.model)
        changed = {row.run_id for row in touched(db, case) if row.role in ("eval", "holdout")}
        runs = [run for run in store.runs(db, model.id) if run.id in changed and (run.evaluation or {})]
        sets = {run.id: store.run_datasets(db, run.id) for run in runs}
    for run in runs:
        if not _predictions_mark(run, case):
            _erase_predictions(site, case, run, list(sets[run.id].values()))
        with site.database.read() as db:
            mark = _predictions_mark(store.run(db, run.id), case)
        if mark and mark["digest_before"] != mark["digest_after"]:
            site.artifacts.delete(mark["digest_before"])


def _predictions_mark(run: Run, case: Case) -> dict[str, Any]:
    marks: list[dict[str, Any]] = (run.evaluation or {}).get("erasures", [])
    return next((mark for mark in marks if mark["erasure"] == str(case.id)), {})


def _erase_predictions(site: Site, case: Case, run: Run, sets: Sequence[Dataset]) -> None:
    assert run.evaluation is not None
    before = str(run.evaluation["predictions"])
    held = [pl.read_parquet(io.BytesIO(site.artifacts.get(d.digest))) for d in sets if d.role in ("eval", "holdout")]
    left = {row for frame in held for row in frame["row_id"].to_list()}
    predictions = pl.read_parquet(io.BytesIO(site.artifacts.get(before)))
    kept = predictions.filter(pl.col("row_id").is_in(list(left)))
    buffer = io.BytesIO()
    kept.write_parquet(buffer)
    after = site.artifacts.put(buffer.getvalue()) if kept.height < predictions.height else before
    mark = {"erasure": str(case.id), "digest_before": before, "digest_after": after,
            "rows_removed": predictions.height - kept.height}  # fmt: skip
    with site.database.write() as db:
        because_of_erasure(db, case.id)
        stored = store.run(db, run.id, lock=True)
        found = dict(stored.evaluation or {})
        stored.evaluation = {**found, "predictions": after, "erasures": [*found.get("erasures", []), mark]}


# --- versions ---------------------------------------------------------------------------------------------------------


def mark_versions(site: Site, case: Case) -> None:
    """Mark the versions that learned from erased rows, those that went on from such a version among them."""
    with site.database.write() as db:
        for found in learned(db, case):
            row = store.version(db, monitored.model(db, case.model).id, found["version"], case.model)
            if str(case.id) not in row.trained_on_erased:
                row.trained_on_erased = [*row.trained_on_erased, str(case.id)]


def learned(db: Session, case: Case) -> list[dict[str, Any]]:
    """Versions that learned from rows this erasure removed, oldest first, and how."""
    model = monitored.model(db, case.model)
    sets = {row.run_id: row for row in touched(db, case) if row.role == "train"}
    runs: dict[UUID | None, Run] = {run.id: run for run in store.runs(db, model.id)}
    found: dict[str, dict[str, Any]] = {}
    for row in store.versions(db, model.id):
        why = _why(row, runs.get(row.run_id), sets, found)
        if why is not None:
            found[row.version] = _line(case, row, sets.get(row.run_id), why)
    return list(found.values())


def _why(
    row: ModelVersion, run: Run | None, sets: dict[UUID | None, Dataset], found: dict[str, dict[str, Any]]
) -> str | None:
    if row.run_id in sets:
        return "trained on a set that held erased rows" if run is not None else "a registered training set held them"
    if run is not None and (run.config or {}).get("parent_adapter") and run.champion_version in found:
        return f"trained on from {run.champion_version}"
    return None


def _line(case: Case, row: ModelVersion, dataset: Dataset | None, why: str) -> dict[str, Any]:
    return {
        "model": case.model, "version": row.version, "stage": row.stage, "adapter": row.adapter, "why": why,
        "dataset_before": _mark(dataset, case)["digest_before"] if dataset is not None else None,
        "recommended": "retrain: weights cannot be searched for a person, and are kept",
    }  # fmt: skip


def datasets_proof(site: Site, case: Case) -> dict[str, Any]:
    with site.database.read() as db:
        model = monitored.model(db, case.model)
        changed = [(row, _mark(row, case)) for row in touched(db, case)]
        runs = [(run, mark) for run in reversed(store.runs(db, model.id)) if (mark := _predictions_mark(run, case))]
        unsearched = [row for row in reversed(store.datasets(db, model.id)) if row.run_id is None]
    columns = {"row_id", "event_id", *subject_columns(site, case.model)}
    return {
        "datasets": [
            {
                "dataset": str(row.id), "name": row.name, "role": row.role, "digest_before": mark["digest_before"],
                "digest_after": mark["digest_after"], "rows_removed": mark["rows_removed"],
            }
            for row, mark in changed
        ],
        "datasets_not_searchable": [
            row.name for row in unsearched if not columns & set(pl.read_parquet_schema(site.artifacts.path(row.digest)))
        ],
        "predictions": [{"run": str(run.id), **{k: v for k, v in m.items() if k != "erasure"}} for run, m in runs],
    }  # fmt: skip
