"""Read the material of a run from the lake and the registered datasets, and write what was chosen as artifacts."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import polars as pl
from sqlalchemy.orm import Session

from core.canonical import digest
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.target import target_of
from monitor.tables import Dataset, Model
from retrain import store
from retrain.curate import provenance
from retrain.curate.again import judged_again
from retrain.curate.curation import Curated, Material, Split, curate
from retrain.curate.dedupe import KEY, SUBJECT, normalised, with_key
from retrain.curate.focus import Focus
from retrain.curate.provenance import Tables
from retrain.curate.select import EVENTS, Drops, Shape, rows_of_dataset, rows_of_events, rows_of_golden
from retrain.envelope import Plan
from retrain.errors import DatasetError, TooFewRowsError
from retrain.provenance.members import written
from retrain.provenance.nodes import Nodes
from retrain.tables import ModelVersion, Run
from retrain.teaching import recorded
from retrain.train.mitigation.weights import PROTECTED

ROLES: Final = ("train", "holdout", "golden", "reference")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A curated set, of which nothing is stored yet: a run that waits outside its limits leaves no rows behind."""

    curated: Curated
    tables: Tables
    parents: tuple[str, ...]
    dropped_reading: Drops
    shape: Shape


def old_end(db: Session, model: Model, champion: ModelVersion) -> int:
    """One past the last event the champion was made for: its reference's end or its training set's, the later."""
    end = store.old_end(db, model.id)
    if champion.run_id is not None and (trained := store.run_datasets(db, champion.run_id).get("train")) is not None:
        end = max(end, *(int(s["to_seq"]) for s in trained.provenance["sources"] if "to_seq" in s), 0)
    return end


def prepare(site: Site, run_id: UUID) -> Prepared:
    """Choose the rows of a run; stores and registers nothing, so it may be repeated."""
    with site.database.read() as db:
        run = store.run(db, run_id)
        model = db.get_one(Model, run.model_id)
        spec = store.spec_at(db, model.id, run.spec_revision)
        champion = store.version(db, model.id, run.champion_version, model.name)
        boundary, seen = old_end(db, model, champion), _outcomes_seen(db, champion)
        registered = {role: list(store.registered_datasets(db, model.id, role)) for role in ("train", "holdout")}
        golden = store.registered_datasets(db, model.id, "golden")
        again = store.candidate(db, run) if run.purpose == "promote" else None
        taught = _taught(db, champion, again)
        focus = Focus.of(store.decision(db, run.decision_id).triggers)
    plan = Plan.of(spec)
    known = champion.answers
    shape = Shape.of(spec, plan.recipe.task, plan.preference).spelled(known)
    drops = Drops()
    site.events.settle(model.name)  # a training set names the versions of the tables it was taken from
    extent = site.events.extent(model.name)
    person = [] if shape.subject is None else [shape.subject]
    columns = ["event_id", "ts", "seq", *shape.inputs, *shape.answers, *shape.protected, *person]
    if extent.outcomes == 0:
        raise TooFewRowsError(f"no outcome has arrived for any event of {model.name}; a retrain learns from outcomes")
    labelled = site.events.labelled(
        model.name,
        to_seq=extent.next_seq,
        columns=columns,
        events_version=extent.events_version,
        outcomes_version=extent.outcomes_version,
    )
    whole = rows_of_events(labelled.sort("seq"), shape, EVENTS, drops)
    rows = _in_window(whole, plan.envelope.data_window, run.created_at, drops)
    sets = {
        role: [rows_of_dataset(_read(site, d), shape, d.name, drops) for d in found]
        for role, found in registered.items()
    }
    since = _labelled_since(site, model.name, shape.label, seen, extent.next_outcome)
    fresh = (pl.col("seq") >= boundary) | pl.col("row_id").is_in(since.to_list())
    kept_apart = frozenset[str]().union(
        *(map(normalised, rows_of_golden(_read(site, d), shape, d.name, Drops())["text"]) for d in golden)
    )
    rows = _without_golden(rows, kept_apart, drops)
    sets["train"] = [_without_golden(frame, kept_apart, drops) for frame in sets["train"]]
    material = Material(
        new=rows.filter(fresh),
        old=rows.filter(~fresh),
        corrected=frozenset(rows.filter(fresh, pl.col("seq") < boundary)["row_id"]),
        train=sets["train"],
        holdout=sets["holdout"],
        taught=frozenset().union(
            *(with_key(part)[KEY] for part in sets["train"]),
            *(_keys(_read(site, d), shape) for d in taught),
        ),
        focus=focus,
    )
    curated = curate(material, shape, plan, known) if again is None else judged_again(material, again.answers)
    read = {"labelled events": labelled.height, "with text and label": whole.height, "in the window": rows.height}
    facts = _measured(curated.train.rows, registered["train"]) | {"steps": _steps(read, sets, curated)}
    facts |= recorded(champion, plan.recipe) if again is None else {}
    curated = replace(curated, facts=curated.facts | facts)
    parents = tuple(d.digest for found in registered.values() for d in found)
    tables = Tables(
        extent.events_version, extent.outcomes_version, 0, extent.next_seq, extent.outcomes, extent.next_outcome
    )
    return Prepared(curated, tables, parents, drops, shape)


def _outcomes_seen(db: Session, champion: ModelVersion) -> int | None:
    """One past the last outcome that the champion's training set was made from; None for a base model."""
    trained = store.run_datasets(db, champion.run_id).get("train") if champion.run_id is not None else None
    sources = trained.provenance["sources"] if trained is not None else ()
    return next((int(s["next_outcome"]) for s in sources if "next_outcome" in s), None)


def _labelled_since(site: Site, model: str, label: str, seen: int | None, end: int) -> pl.Series:
    """Events whose label arrived or was corrected after the champion's training set was made."""
    if seen is None or seen >= end:
        return pl.Series(dtype=pl.String)
    return site.events.arrived(model, seen, end, columns=[label]).drop_nulls(label)["event_id"].unique()


def _taught(db: Session, champion: ModelVersion, again: ModelVersion | None) -> list[Dataset]:
    """Training sets that the versions of a run may have learned from. An adapter may go on from an older one's."""
    versions = [champion]
    if again is not None:
        newest = max(champion.created_at, again.created_at)
        versions = [v for v in store.versions(db, champion.model_id) if v.created_at <= newest]
    sets = [store.run_datasets(db, v.run_id).get("train") for v in versions if v.run_id is not None]
    return [d for d in sets if d is not None]


def _without_golden(rows: pl.DataFrame, golden: frozenset[str], drops: Drops) -> pl.DataFrame:
    """A golden text is neither trained on nor held out: it is asked for itself."""
    if not golden:
        return rows
    kept = rows.filter(pl.Series([normalised(text) not in golden for text in rows["text"]], dtype=pl.Boolean))
    drops.add("text is golden", rows.height - kept.height)
    return kept


def _in_window(rows: pl.DataFrame, window: str | None, began_at: datetime, drops: Drops) -> pl.DataFrame:
    """The rows within the envelope's `data_window` before a run began."""
    if window is None:
        return rows
    kept = rows.filter(pl.col("ts") >= began_at - duration(window))
    drops.add("older than envelope.data_window", rows.height - kept.height)
    return kept


def _measured(train: pl.DataFrame, registered: Sequence[Dataset]) -> dict[str, Any]:
    """What the envelope limits of the training rows: where they come from, how many are synthetic, how old they are."""
    sources: dict[str, int] = dict(train.group_by("source").len().sort("source").iter_rows())
    synthetic = {f"dataset:{d.name}" for d in registered if d.provenance.get("synthetic")}
    oldest = train["ts"].min()
    return {
        "rows_by_source": sources,
        "synthetic_rows": sum(rows for name, rows in sources.items() if name in synthetic),
        "oldest_at": oldest.isoformat() if isinstance(oldest, datetime) else None,
    }


def _steps(
    read: Mapping[str, int], sets: Mapping[str, Sequence[pl.DataFrame]], curated: Curated
) -> list[dict[str, Any]]:
    """How many rows each step left, in order."""
    counted = [
        *read.items(),
        *((f"registered datasets of role {role}", sum(f.height for f in found)) for role, found in sets.items()),
        ("training rows", curated.train.rows.height),
        ("held-out new rows", curated.eval.rows.height),
        ("old hold-out", curated.holdout.rows.height),
    ]
    return [{"step": step, "rows": rows} for step, rows in counted]


def _members(site: Site, model: str, part: Split) -> str:
    """Keep which events a set holds, by keyed digests: that can be asked after their rows were erased."""
    ids = part.rows.filter(pl.col("source") == EVENTS)["row_id"]
    return site.artifacts.put(written(site.events.event_digest(model, one) for one in ids))


def _described(spec: ModelSpec, part: Split) -> dict[str, Any]:
    """The learned outcome, and the times and sources of the rows of one set."""
    target, first, last = target_of(spec), part.rows["ts"].min(), part.rows["ts"].max()
    return {
        "target": None if target is None else {"column": target.column, "how": target.how},
        "data_window": {
            "from": first.isoformat() if isinstance(first, datetime) else None,
            "to": last.isoformat() if isinstance(last, datetime) else None,
        },
        "rows_of_sources": dict(part.rows.group_by("source").len().sort("source").iter_rows()),
    }


def keep(site: Site, prepared: Prepared) -> dict[str, str]:
    """Store the files of a set; returns their digests by role."""
    return {role: _store(site, part, prepared.shape, role) for role, part in _parts(prepared.curated).items()}


def register(
    site: Site, db: Session, run: Run, model: Model, prepared: Prepared, digests: Mapping[str, str]
) -> dict[str, Dataset]:
    """Write the dataset rows and ledger entries of a run in the caller's transaction."""
    spec = store.spec_at(db, model.id, run.spec_revision)
    made = {}
    for role, part in _parts(prepared.curated).items():
        if role == "train" and part.rows.is_empty():
            continue  # nothing is trained on
        drops = Drops(dict(part.drops.counts))
        if role == "train":
            for reason, count in prepared.dropped_reading:
                drops.add(reason, count)
        counted = part.rows.group_by("label").len().sort("label").iter_rows()
        labels = dict(counted) if prepared.curated.labels else {}
        record = provenance.record(
            spec, run.spec_revision, tables=prepared.tables, filters=part.filters, drops=drops,
            parents=prepared.parents, labels=labels,
            facts=prepared.curated.facts | {
                "run": str(run.id), "members": _members(site, model.name, part), **_described(spec, part),
            },
        )  # fmt: skip
        made[role] = _add(
            site, db, model, name=f"{role}-{run.id}", role=role, digest_=digests[role], rows=part.rows.height,
            record=record, actor=SYSTEM_ACTOR, run_id=run.id,
        )  # fmt: skip
    return made


def register_dataset(
    site: Site, db: Session, model: Model, spec: ModelSpec, revision: int, *,
    name: str, role: str, content: bytes, source: str, synthetic: bool, actor: str,
) -> Dataset:  # fmt: skip
    """Keep a Parquet file a person brought, after looking that its rows can be used.

    Raises:
        DatasetError: an unknown role, not Parquet, or without the columns the role needs.
    """
    if role not in ROLES:
        raise DatasetError(f"role is {role!r}; choose from {', '.join(ROLES)}", field="role", value=role)
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"dataset {name} is not a Parquet file: {error}", field="content") from error
    drops = Drops()
    labels: dict[str, int] = {}
    if role != "reference":
        plan, champion = Plan.of(spec), store.champion(db, model.id)
        known = () if champion is None else champion.answers
        shape = Shape.of(spec, plan.recipe.task, plan.preference).spelled(known)
        rows = (rows_of_golden if role == "golden" else rows_of_dataset)(frame, shape, name, drops)
        if rows.is_empty():
            raise DatasetError(f"dataset {name} has no row with text and label", field="content")
        if shape.classifies:
            labels = dict(rows.group_by("label").len().sort("label").iter_rows())
    record = provenance.record(
        spec,
        revision,
        tables=None,
        filters=(),
        drops=drops,
        parents=(),
        labels=labels,
        facts={"source": source, "synthetic": synthetic},
    )
    artifact = site.artifacts.put(content)
    return _add(
        site,
        db,
        model,
        name=name,
        role=role,
        digest_=artifact,
        rows=frame.height,
        record=record,
        actor=actor,
        run_id=None,
    )


def _add(
    site: Site, db: Session, model: Model, *, name: str, role: str, digest_: str, rows: int,
    record: dict[str, Any], actor: str, run_id: UUID | None,
) -> Dataset:  # fmt: skip
    now = site.clock.now()
    row = Dataset(
        model_id=model.id, name=name, role=role, digest=digest_, rows=rows, provenance=record, run_id=run_id,
        created_at=now, created_by=actor,
    )  # fmt: skip
    db.add(row)
    db.flush()
    node = Nodes.of(db, model).dataset(row)
    append_entry(
        db, kind="dataset.registered", actor=actor, subject=f"model:{model.name}", at=now,
        body={
            "dataset": row.id, "name": name, "role": role, "digest": digest_, "rows": rows, "run": run_id,
            "provenance": digest(record), "sources": record["sources"], "dropped": record["dropped"], **node.entry(),
        },
    )  # fmt: skip
    return row


def _parts(curated: Curated) -> dict[str, Split]:
    return {"train": curated.train, "eval": curated.eval, "holdout": curated.holdout}


def _read(site: Site, row: Dataset) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(site.artifacts.get(row.digest)))


def _keys(frame: pl.DataFrame, shape: Shape) -> frozenset[str]:
    if shape.table:
        return frozenset(frame["row_id"])
    return frozenset(normalised(text) for text in frame[shape.names[0]])


def _store(site: Site, part: Split, shape: Shape, role: str) -> str:
    text, label = shape.names[:2]
    person = [SUBJECT] if shape.subject is not None and role != "train" else []  # gates count persons, not their rows
    kept = ["row_id", "text", "label", *shape.names[2:], *(PROTECTED + p for p in shape.protected), *person, "source"]
    buffer = io.BytesIO()
    part.rows.select(kept).rename({"text": text, "label": label}).write_parquet(buffer)
    return site.artifacts.put(buffer.getvalue())
