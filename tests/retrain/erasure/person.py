"""Ada, who is everywhere on a site; asking for her erasure, and looking for what is left of her."""

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
from sqlalchemy import select

from api.processes.worker import drain
from core.clock import ManualClock
from core.db import Base
from core.queue import Job
from governance import erasure
from governance.ledger.read import ledger_entries
from governance.verify.lake import DIGEST, REWRITE, LakeVerdict, expected_files, verify_lake
from monitor.alerts.incidents import incident_for, note
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.store import model as model_named
from monitor.tables import Alert, AlertWindow, Dataset, Explanation, Measurement, Window
from monitor.windows.evaluate import evaluate
from retrain import store
from retrain.registry.versions import register_candidate
from retrain.runs.datasets import record_dataset
from retrain.runs.steps import begin, curate
from retrain.tables import DecisionReasons
from tests.retrain import world
from tests.retrain.train import tiny

SUBJECT = "ada.lovelace@example.com"
MARKER = "xylophone"  # a word only Ada uses
CHANNEL = "harpsichord line"  # a value of a category that only she has
ROWS = 600


def spec(base: Path) -> ModelSpec:
    document = world.spec(base).document
    columns = document["columns"] | {
        "customer": {"role": "subject", "type": "string"}, "channel": {"role": "segment", "type": "category"},
    }  # fmt: skip
    return parse_spec(document | {"columns": columns})


def traffic() -> pl.DataFrame:
    """Every twentieth message is Ada's."""
    frame = pl.concat([world.traffic(250, tiny.OLD), world.traffic(ROWS - 250, (*tiny.OLD, *tiny.NEW), first=250)])
    hers = [i % 20 == 3 for i in range(ROWS)]
    texts = [f"{MARKER} {t}" if ada else t for t, ada in zip(frame["text"], hers, strict=True)]
    customers = [SUBJECT if ada else f"customer {i}" for i, ada in enumerate(hers)]
    channels = [CHANNEL if ada else ("web", "app")[i % 3 == 0] for i, ada in enumerate(hers)]
    return frame.with_columns(
        pl.Series("text", texts), pl.Series("customer", customers), pl.Series("channel", channels)
    )


HERS = [f"e{i}" for i in range(ROWS) if i % 20 == 3]


def move_in(site: Site, folder: Path, clock: ManualClock) -> None:
    """Put Ada everywhere: events, outcomes, quarantine, baseline, alert, datasets, predictions, words."""
    base, frame = world.fake_base(folder / "base"), traffic()
    world.declare(site, spec(base))
    for first in range(0, ROWS, 150):  # several files
        part = frame[first : first + 150]
        clock.move_to(part["ts"].max())  # type: ignore[arg-type]  # a time
        site.events.append_events(spec(base), part.drop("intent_true"), now=clock.now())
        site.events.append_outcomes(spec(base), part.select("event_id", "intent_true"), now=clock.now())
        site.events.settle(world.NAME)
    quarantine(site)
    evaluate(site, world.NAME)
    with site.database.write() as db:
        for role, name in (("train", "seed"), ("holdout", "seed-held")):
            record_dataset(site, db, world.NAME, name, role, labelled(name), "by hand", "ann")
    run_id = world.start(site)
    begin(site, run_id)
    curate(site, run_id)
    finished(site, run_id, folder)
    explained(site)
    confirmed(site)
    with site.database.write() as db:  # what else is waiting would only take time
        for job in db.scalars(select(Job).where(Job.state == "queued")):
            job.state = "done"


def quarantine(site: Site) -> None:
    digest = site.events.subject_digest(SUBJECT)
    rows = [
        ("q0", None, digest, f'{{"event_id": 1, "text": "{MARKER}", "customer": "[subject:{digest}]"}}'),
        ("q1", HERS[0], None, f'{{"event_id": "{HERS[0]}", "intent_true": 5, "note": "{MARKER}"}}'),
        ("q2", None, None, f'broken {MARKER} "customer": "[subject:{digest}]" and more'),
        ("q3", None, site.events.subject_digest("Bob"), '{"customer": "[subject:bob]"}'),
    ]
    frame = pl.DataFrame(rows, schema=["id", "event_id", "subject", "raw"], orient="row").with_columns(
        seq=pl.int_range(4, dtype=pl.Int64), ts=pl.lit(world.START, pl.Datetime("us", "UTC")),
        date=pl.lit(world.START.date()),
    )  # fmt: skip
    columns = dict.fromkeys(("id", "event_id", "subject", "raw"), "string")
    kinds = columns | {"seq": "long", "ts": "timestamp", "date": "date"}
    site.events.table(world.NAME, "quarantine").append(frame, kinds)


def labelled(name: str) -> bytes:
    """A registered set with the customers in clear; three rows of it are Ada's."""
    drawn = tiny.messages(tiny.OLD, 60, seed=len(name))
    hers = [i % 20 == 7 for i in range(60)]
    frame = drawn.with_columns(
        pl.Series("text", [f"{MARKER if a else name} {t} {i}" for i, (t, a) in enumerate(zip(drawn["text"], hers))]),  # noqa: B905
        pl.Series("customer", [SUBJECT if a else "somebody" for a in hers]),
    )
    out = io.BytesIO()
    frame.write_parquet(out, compression="uncompressed")
    return out.getvalue()


def finished(site: Site, run_id: UUID, folder: Path) -> None:
    """The run as it stands when its candidate was trained and judged, without the hours."""
    adapter = site.artifacts.put_folder(world.fake_adapter(folder / "adapter"))
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        made = store.run_datasets(db, run_id)
        rows = pl.concat([pl.read_parquet(site.artifacts.path(made[r].digest)) for r in ("eval", "holdout")])
        out = io.BytesIO()
        rows.select("row_id", "label").write_parquet(out, compression="uncompressed")
        run.evaluation = {"predictions": site.artifacts.put(out.getvalue())}
        champion = store.champion(db, run.model_id)
        assert champion is not None
        register_candidate(site, db, run, base_digest=champion.base_digest, adapter=adapter, labels=sorted(tiny.OLD))
        run.state, run.metrics = "promoted", {"train_seconds": 1.0}


def explained(site: Site) -> None:
    with site.database.write() as db:
        model = model_named(db, world.NAME)
        for event in (HERS[1], "e4"):
            words = {"event": event, "words": [MARKER if event in HERS else "card", "please"]}
            db.add(
                Explanation(
                    model_id=model.id, event_id=event, version="v1", additivity_residual=0.0,
                    artifact=site.artifacts.put(json.dumps(words).encode()), created_at=site.clock.now(),
                )
            )  # fmt: skip
            told = json.dumps({"reasons of": event, "words": words}).encode()
            db.add(
                DecisionReasons(
                    model_id=model.id, event_id=event, version="v1", spec_revision=1, state="issued",
                    table_version="1", artifact=site.artifacts.put(told), created_at=site.clock.now(),
                )
            )  # fmt: skip
            db.add(
                Job(
                    name="retrain.reasons", payload={"model": world.NAME, "event_id": event}, state="done", attempts=1,
                    lost=0, run_at=site.clock.now(), created_at=site.clock.now(),
                )
            )  # fmt: skip
            db.add(
                Job(
                    name="retrain.explain", payload={"model": world.NAME, "event_id": event}, state="done", attempts=1,
                    lost=0, dedupe_key=f"explain:{world.NAME}:{event}", run_at=site.clock.now(),
                    created_at=site.clock.now(),
                )
            )  # fmt: skip


def confirmed(site: Site) -> None:
    with site.database.write() as db:
        window = db.scalars(select(Window).order_by(Window.number)).first()
        assert window is not None
        other = db.scalars(select(Window).order_by(Window.number.desc())).first()
        assert other is not None
        said = f"Drift: `channel`: {CHANNEL!r}: 5.0 % to 9.0 % of rows; `age_band`: '30+': 40.0 % to 60.0 % of rows."
        window.sentence, window.history = said, [{"sentence": said, "why": "2 rows arrived late"}]
        measured = db.scalars(select(Measurement).where(Measurement.window_id == window.id)).first()
        assert measured is not None
        values = [{"column": "channel", "detail": value} for value in (CHANNEL, "web")]
        measured.details = measured.details | {"faulty_rows": [{"rows": 9, "values": values}]}
        now = site.clock.now()
        incident = incident_for(db, window.model_id, from_ts=now, to_ts=now, headline=said, severity="warning", now=now)
        alert = Alert(
            model_id=window.model_id, incident_id=incident.id, monitor="drift", metric="drift", column="text",
            sentence=said, value=None, limit=None, first_window_id=other.id, last_window_id=other.id, opened_at=now,
            episodes=[{"sentence": said, "told_at": "2026-01-05", "from_ts": "2026-01-05", "ended": None, "windows": 1,
                       "first_window": str(other.id),
                       "headlines": [{"at": "2026-01-05", "window": str(other.id), "sentence": said,
                                      "severity": "warning", "columns": ["channel"]}]}],
            confirmation={"window_id": str(other.id), "artifact": site.artifacts.put(b"<html>"), "drifted_columns": []},
            confirmed_before=[{
                "window_id": str(window.id), "artifact": site.artifacts.put(f"<html>{MARKER}".encode()),
                "evidence": site.artifacts.put(json.dumps([{"new_words": [MARKER], "event_id": HERS[0]}]).encode()),
                "new_words": {"text": [{"word": "shared", "share": 0.5}]}, "drifted_columns": [],
            }],
        )  # fmt: skip
        db.add(alert)
        db.flush()
        note(db, incident, "opened", at=now, actor="assay", text=said, alert=alert)
        db.add(AlertWindow(alert_id=alert.id, window_id=window.id))
        db.add(OutboxMessage(
            channel="ops", thread=f"incident:{incident.id}", severity="warning", items=[{"sentence": said}],
            state="sent", run_at=now, created_at=now, ended_at=now,
        ))  # fmt: skip


def ask(site: Site) -> UUID:
    with site.database.write() as db:
        digest = site.events.subject_digest(SUBJECT)
        row = erasure.request(db, subject=digest, models=[], actor="dpo", now=site.clock.now())
        return row.id


def proof_of(site: Site, erasure_id: UUID) -> dict[str, Any]:
    with site.database.read() as db:
        row = erasure.erasure(db, erasure_id)
    assert (row.state, row.error) == ("done", None)
    assert row.proof is not None
    document: dict[str, Any] = json.loads(site.artifacts.get(row.proof))
    return document


def erase(site: Site) -> dict[str, Any]:
    asked = ask(site)
    drain(site)
    return proof_of(site, asked)


def traces(home: Path, *needles: str) -> list[str]:
    """Files under a folder that hold one of the words, Parquet and zip members unpacked.

    A running service renames and deletes files meanwhile: what a vanished one has become is in the next listing.
    """
    found, seen = [], set[Path]()
    while fresh := {p for p in home.rglob("*") if p.is_file()} - seen:
        seen |= fresh
        for path in sorted(fresh):
            with suppress(FileNotFoundError):
                data = unpacked(path.read_bytes())
                found += [f"{path.relative_to(home)}: {needle}" for needle in needles if needle.encode() in data]
    return found


def unpacked(data: bytes) -> bytes:
    if data[:4] == b"PAR1":
        data += pl.read_parquet(io.BytesIO(data)).write_csv().encode()
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data += b"".join(archive.read(name) for name in archive.namelist())
    return data


def stored(site: Site, *needles: str) -> list[str]:
    """Rows of the database that hold one of the words: PostgreSQL keeps its files elsewhere."""
    found = []
    with site.database.read() as db:
        for table in Base.metadata.sorted_tables:
            for row in db.execute(select(table)):
                found += [f"{table.name}: {needle}" for needle in needles if needle in str(tuple(row))]
    return found


def left(site: Site, *needles: str) -> list[str]:
    return traces(site.settings.home_dir, *needles) + stored(site, *needles)


def check(site: Site) -> LakeVerdict:
    with site.database.read() as db:
        held = ledger_entries(db, (DIGEST, REWRITE))
    return verify_lake(site.events.root, expected_files(held, site.artifacts.get))


def drift_alerts(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return list(db.scalars(select(Alert).where(Alert.monitor == "drift")))


def datasets(site: Site) -> list[Dataset]:
    with site.database.read() as db:
        return list(db.scalars(select(Dataset)))
