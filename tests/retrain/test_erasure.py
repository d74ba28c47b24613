"""A person is erased: nothing of them is left in any file, everything else is, and the proof says what happened."""

import io
import json
import shutil
import signal
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from sqlalchemy import select

from api.processes.worker import drain
from core import queue
from core.clock import ManualClock
from core.db import Base
from core.jobs import ConfirmJob
from core.queue import Job
from governance import erasure
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import ledger_entries, ledger_lines
from governance.tables import Erasure
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.lake import DIGEST, REWRITE, LakeVerdict, expected_files, verify_lake
from monitor.confirm import drafts
from monitor.jobs import confirm
from monitor.profile.block import profile_block
from monitor.profile.codec import sum_from_bytes
from monitor.profile.reference_profile import ReferenceProfile
from monitor.service import apply_spec
from monitor.site import Site, open_site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.store import model as model_named
from monitor.store import newest_baseline
from monitor.tables import Alert, AlertWindow, ArtifactDraft, BaselineRow, Dataset, Explanation, StoredProfile, Window
from monitor.upkeep import digests
from monitor.windows.evaluate import evaluate
from reports import service as report_service
from retrain import store
from retrain.errors import RunClosedError
from retrain.registry.versions import register_candidate
from retrain.runs.consider import start_manual
from retrain.runs.datasets import record_dataset
from retrain.runs.record import show_progress
from retrain.runs.steps import begin, curate
from retrain.runs.workspace import Workspace
from retrain.tables import ModelVersion, Run
from tests import postgres
from tests.retrain import world
from tests.retrain.train import tiny
from tests.service import ROOT, environment

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


@pytest.fixture
def lived_in(site: Site, tmp_path: Path, clock: ManualClock) -> Site:
    """A site where Ada is everywhere: events, outcomes, quarantine, baseline, alert, data sets, predictions, words."""
    base, frame = world.fake_base(tmp_path / "base"), traffic()
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
    finished(site, run_id, tmp_path)
    explained(site)
    confirmed(site)
    with site.database.write() as db:  # what else is waiting would only take time
        for job in db.scalars(select(Job).where(Job.state == "queued")):
            job.state = "done"
    return site


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
        alert = Alert(
            model_id=window.model_id, monitor="drift", metric="drift", column="text", sentence=said, value=None,
            limit=None, first_window_id=other.id, last_window_id=other.id, opened_at=site.clock.now(),
            episodes=[{"sentence": said, "told_at": "2026-01-05", "from_ts": "2026-01-05", "ended": None, "windows": 1,
                       "first_window": str(other.id)}],
            confirmation={"window_id": str(other.id), "artifact": site.artifacts.put(b"<html>"), "drifted_columns": []},
            confirmed_before=[{
                "window_id": str(window.id), "artifact": site.artifacts.put(f"<html>{MARKER}".encode()),
                "evidence": site.artifacts.put(json.dumps([{"new_words": [MARKER], "event_id": HERS[0]}]).encode()),
                "new_words": {"text": [{"word": "shared", "share": 0.5}]}, "drifted_columns": [],
            }],
        )  # fmt: skip
        db.add(alert)
        db.flush()
        db.add(AlertWindow(alert_id=alert.id, window_id=window.id))


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
    """Files under a folder that hold one of the words, Parquet and zip members unpacked."""
    found = []
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if data[:4] == b"PAR1":
            data += pl.read_parquet(path, hive_partitioning=False).write_csv().encode()
        if data[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                data += b"".join(archive.read(name) for name in archive.namelist())
        found += [f"{path.relative_to(home)}: {needle}" for needle in needles if needle.encode() in data]
    return found


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


def test_nothing_of_the_person_is_left_in_any_file_and_everybody_else_is(lived_in: Site) -> None:
    home = lived_in.settings.home_dir
    for alert in drift_alerts(lived_in):  # Evidently's own report, beside the one made up
        confirm(lived_in, ConfirmJob(alert_id=alert.id))
    assert len({t.partition("/")[0] for t in traces(home, MARKER)}) >= 2, "lake and artifacts"
    before = lived_in.events.events(world.NAME)
    old = {row.id: row.digest for row in datasets(lived_in)}
    proof = erase(lived_in)
    assert left(lived_in, MARKER, SUBJECT, CHANNEL) == []
    assert left(lived_in, *(f'"{event}"' for event in HERS)) == [], "nor their event ids, as JSON keeps them"
    assert stored(lived_in, *(f"'{event}'" for event in HERS)) == []
    after = lived_in.events.events(world.NAME)
    assert after.equals(before.filter(~pl.col("event_id").is_in(HERS)))
    assert lived_in.events.outcomes(world.NAME).height == ROWS - len(HERS)
    kept = lived_in.events.table(world.NAME, "quarantine").scan().collect()
    assert kept["id"].to_list() == ["q3"]
    (model,) = proof["models"]
    removed = {t["table"]: t["rows_removed"] for t in model["tables"]}
    assert removed == {"events": len(HERS), "outcomes": len(HERS), "quarantine": 3}
    assert all(t["after"]["found"] == 0 and t["after"]["other_files"] == 0 for t in model["tables"])
    changed = {d["dataset"]: (d["digest_before"], d["digest_after"]) for d in model["datasets"]}
    now = {row.id: row.digest for row in datasets(lived_in)}
    assert {str(i): (old[i], now[i]) for i in old if old[i] != now[i]} == changed
    assert {d["role"] for d in model["datasets"]} == {"train", "eval", "holdout"}
    assert len(model["explanations"]) == len(model["predictions"]) == len(model["baselines"]) == 1
    assert len(model["confirmations"]) == 3
    assert model["windows_withheld"]
    with lived_in.database.read() as db:
        window = db.scalars(select(Window).order_by(Window.number)).first()
    assert window is not None
    rest = "5.0 % to 9.0 % of rows; `age_band`: '30+': 40.0 % to 60.0 % of rows."
    assert window.sentence == f"Drift: `channel`: an erased value: {rest}"


def drift_alerts(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return list(db.scalars(select(Alert).where(Alert.monitor == "drift")))


def datasets(site: Site) -> list[Dataset]:
    with site.database.read() as db:
        return list(db.scalars(select(Dataset)))


def test_every_row_of_outcomes_of_the_person_goes_wherever_it_lies(lived_in: Site, clock: ManualClock) -> None:
    declared = world.current(lived_in)
    for label in ("card_arrival", "pin"):  # corrected twice: in a file of its own, and in the log
        lived_in.events.settle(world.NAME)
        rows = pl.DataFrame({"event_id": [*HERS, "e0"], "intent_true": label})
        lived_in.events.append_outcomes(declared, rows, now=clock.now())
    before = lived_in.events.outcomes(world.NAME)
    proof = erase(lived_in)
    removed = {t["table"]: t["rows_removed"] for t in proof["models"][0]["tables"]}
    assert removed["outcomes"] >= 2 * len(HERS)
    kept = lived_in.events.outcomes(world.NAME)
    assert kept.equals(before.filter(~pl.col("event_id").is_in(HERS)))
    assert kept.filter(event_id="e0")["intent_true"].to_list() == ["pin"]
    assert left(lived_in, *(f'"{event}"' for event in HERS)) == []


def test_the_proof_names_each_file_with_its_digest_before_and_after_and_the_ledger_holds_the_proof(
    lived_in: Site,
) -> None:
    digests.record_all(lived_in)
    with lived_in.database.read() as db:
        recorded = ledger_entries(db, (DIGEST,))
    known = set()
    for entry in recorded:
        known |= {row[1] for row in json.loads(lived_in.artifacts.get(entry["body"]["leaves"]))["added"]}
    proof = erase(lived_in)
    files = [f for t in proof["models"][0]["tables"] for f in t["files"]]
    assert len(files) == 9  # four of events, four of outcomes, one of quarantine
    assert {f["sha256_before"] for f in files} <= known
    assert all(f["rows_after"] < f["rows_before"] and f["sha256_after"] not in known for f in files)
    with lived_in.database.read() as db:
        (done,) = ledger_entries(db, ("erasure.done",))
        (asked,) = ledger_entries(db, ("erasure.requested",))
        row = db.scalars(select(Erasure)).one()
        head = latest_checkpoint(db)
        lines = b"".join(ledger_lines(db)).decode()
    assert done["body"]["proof"] == row.proof
    assert (asked["index"], done["index"]) == (proof["requested_entry"], row.done_entry)
    assert head is not None
    assert head.size > done["index"]
    assert SUBJECT not in lines
    assert proof["subject"] not in lines, "the ledger does not even hold the subject's digest"
    assert row.found is None


def test_the_lake_still_verifies_and_a_file_changed_afterwards_is_named(lived_in: Site) -> None:
    erase(lived_in)
    verdict = check(lived_in)
    assert verdict.ok, verdict.findings
    path = next((lived_in.events.root / world.NAME / "events").glob("date=*/*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (finding,) = check(lived_in).findings
    assert finding.what == "lake.changed"
    assert path.name in finding.where


def test_the_versions_that_learned_from_the_rows_are_listed_and_marked(lived_in: Site) -> None:
    proof = erase(lived_in)
    assert [(a["version"], a["why"]) for a in proof["adapters"]] == [
        ("v1", "a registered training set held them"),
        ("v2", "trained on a set that held erased rows"),
    ]
    with lived_in.database.read() as db:
        marked = {v.version: v.trained_on_erased for v in db.scalars(select(ModelVersion))}
    assert marked == {"v1": [proof["id"]], "v2": [proof["id"]]}
    lived_in.artifacts.check_folder(proof["adapters"][1]["adapter"])  # weights are kept


def test_the_baseline_is_fitted_again_without_the_rows_and_windows_are_judged_on(lived_in: Site) -> None:
    with lived_in.database.read() as db:
        model = model_named(db, world.NAME)
        before = newest_baseline(db, model.id)
        assert before is not None
    erase(lived_in)
    with lived_in.database.read() as db:
        after = db.get_one(BaselineRow, before.id)
    assert after.artifact not in (None, before.artifact)
    assert (after.rows, after.to_seq, after.problem) == (190, before.to_seq, None)
    more = world.traffic(100, tiny.OLD, first=ROWS).with_columns(customer=pl.lit("new"))
    declared = world.current(lived_in)
    lived_in.events.append_events(declared, more.drop("intent_true"), now=lived_in.clock.now())
    assert lived_in.events.events(world.NAME)["seq"].max() == ROWS + 99, "numbers are not given twice"
    assert evaluate(lived_in, world.NAME)


def test_after_an_erasure_profiles_estimator_and_checks_are_those_of_the_rows_that_are_left(lived_in: Site) -> None:
    def learned() -> tuple[BaselineRow, dict[tuple[Any, ...], tuple[int, bytes]]]:
        with lived_in.database.read() as db:
            row = newest_baseline(db, model_named(db, world.NAME).id)
            assert row is not None
            found = db.scalars(select(StoredProfile).where(StoredProfile.baseline_id == row.id))
            return row, {(p.label, p.version, p.segment): (p.rows, p.data) for p in found}

    before, held = learned()
    assert before.quality is not None
    assert any(CHANNEL in segment for _, _, segment in held)
    (model,) = erase(lived_in)["models"]
    assert model["baselines"][0]["learned_before"] == [before.quality]
    evaluate(lived_in, world.NAME)
    after, counted = learned()
    assert after.quality not in (None, before.quality)
    assert not any(CHANNEL in segment for _, _, segment in counted)
    assert after.artifact is not None
    baseline = ReferenceProfile.from_bytes(lived_in.artifacts.get(after.artifact))
    whole = sum_from_bytes([data for (_, *of), (_, data) in counted.items() if of == ["", ""]], baseline.coding)
    wanted = profile_block(lived_in.events.events(world.NAME), baseline)
    assert whole.rows == wanted.rows == ROWS - len(HERS)
    for name, numbers in wanted.numbers.items():
        assert whole.numbers[name].counts.tolist() == numbers.counts.tolist(), name
    for name, levels in wanted.categories.items():
        assert whole.categories[name].levels.tolist() == levels.levels.tolist(), name


def test_asking_again_while_it_is_under_way_gives_the_same_erasure_and_afterwards_a_new_one_that_finds_nothing(
    lived_in: Site,
) -> None:
    first = ask(lived_in)
    assert ask(lived_in) == first
    drain(lived_in)
    second = erase(lived_in)
    assert second["id"] != str(first)
    (model,) = second["models"]
    assert [t["rows_removed"] for t in model["tables"]] == [0, 0, 0]
    assert [model["datasets"], model["explanations"], model["baselines"], second["adapters"]] == [[], [], [], []]


def test_an_unfinished_erasure_of_other_models_is_not_widened(lived_in: Site) -> None:
    asked = ask(lived_in)
    with pytest.raises(erasure.ErasureUnderWayError, match=str(asked)), lived_in.database.write() as db:
        digest = lived_in.events.subject_digest(SUBJECT)
        erasure.request(db, subject=digest, models=["other"], actor="dpo", now=lived_in.clock.now())


def test_a_run_that_holds_the_rows_is_ended_and_its_process_told(lived_in: Site, clock: ManualClock) -> None:
    more = traffic().with_columns(event_id=pl.format("later-{}", "event_id"), ts=pl.col("ts") + pl.duration(days=2))
    declared = world.current(lived_in)
    clock.move_to(clock.now() + timedelta(days=3))
    lived_in.events.append_events(declared, more.drop("intent_true"), now=clock.now())
    lived_in.events.append_outcomes(declared, more.select("event_id", "intent_true"), now=clock.now())
    with lived_in.database.write() as db:
        considered = start_manual(lived_in, db, world.NAME, "ann", "again")
    assert considered.run is not None, considered.decision.reason
    begin(lived_in, considered.run.id)
    curate(lived_in, considered.run.id)
    with lived_in.database.write() as db:
        for job in db.scalars(select(Job).where(Job.name == "retrain.run")):
            job.state = "done"
    proof = erase(lived_in)
    assert proof["models"][0]["runs_closed"] == [str(considered.run.id)]
    with lived_in.database.read() as db:
        assert db.get_one(Run, considered.run.id).state == "failed"
    work = Workspace.of(lived_in.settings, considered.run.id)
    work.progress.write_text('{"phase": "train"}\n')
    with pytest.raises(RunClosedError):
        show_progress(lived_in, work)
    assert left(lived_in, MARKER) == []


def test_rows_that_compaction_left_on_disk_go_as_well(lived_in: Site) -> None:
    table = lived_in.events.table(world.NAME, "events")
    before = table.snapshot()
    whole = table.scan_files(before, before.files).with_columns(date=pl.col("ts").dt.date()).sort("seq").collect()
    table.replace(before.files, [whole], operation="OPTIMIZE", changes=False)
    assert len(list(table.folder.glob("date=*/*.parquet"))) == 5
    erase(lived_in)
    assert len(list(table.folder.glob("date=*/*.parquet"))) == 1
    assert left(lived_in, MARKER) == []


def test_a_failed_erasure_says_why_and_goes_on_when_it_is_asked_for_again(lived_in: Site) -> None:
    artifact = next(d.digest for d in datasets(lived_in) if d.name == "seed")
    place = lived_in.artifacts.path(artifact)
    whole = place.read_bytes()
    place.write_bytes(b"x" + whole[1:])
    asked = ask(lived_in)
    drain(lived_in)
    with lived_in.database.read() as db:
        row = erasure.erasure(db, asked)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error.startswith("integrity_failure: artifact")
    place.write_bytes(whole)
    assert ask(lived_in) == asked
    drain(lived_in)
    assert proof_of(lived_in, asked)["models"][0]["events"] == len(HERS)
    assert left(lived_in, MARKER) == []


def test_models_without_a_subject_or_without_rows_are_passed(site: Site) -> None:
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(NO_SUBJECT), "tester")
    proof = erase(site)
    assert proof["models"][0]["tables"] == []


NO_SUBJECT: dict[str, Any] = {
    "model": "plain", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {"answer": {"role": "prediction", "type": "category"}},
}  # fmt: skip
WITH_SUBJECT = NO_SUBJECT | {"columns": NO_SUBJECT["columns"] | {"customer": {"role": "subject", "type": "string"}}}


def test_rows_that_are_still_in_a_log_are_erased_and_the_log_lets_go_of_them(
    lived_in: Site, clock: ManualClock
) -> None:
    more = traffic().with_columns(event_id=pl.format("later-{}", "event_id"))
    lived_in.events.append_events(world.current(lived_in), more.drop("intent_true"), now=clock.now())
    assert traces(lived_in.settings.home_dir / "wal", MARKER)
    proof = erase(lived_in)
    assert proof["models"][0]["events"] == 2 * len(HERS)
    assert left(lived_in, MARKER) == []


def test_a_first_row_that_no_table_holds_yet_is_erased(site: Site, clock: ManualClock) -> None:
    declared = parse_spec(WITH_SUBJECT)
    with site.database.write() as db:
        apply_spec(site, db, declared, "tester")
    frame = traffic().head(4).select("event_id", "ts", "version", "customer", answer="text")
    site.events.append_events(declared, frame, now=clock.now())
    proof = erase(site)
    assert [(t["table"], t["rows_removed"]) for t in proof["models"][0]["tables"]] == [("events", 1)]
    assert left(site, MARKER) == []


@pytest.mark.slow
def test_a_report_made_afterwards_holds_and_says_what_was_erased(lived_in: Site, clock: ManualClock) -> None:
    proof = erase(lived_in)
    clock.move_to(clock.now() + timedelta(hours=1))
    with lived_in.database.write() as db:
        asked = report_service.request(
            lived_in, db, world.NAME, "audit", world.START - timedelta(days=1), clock.now(), [], "ann"
        )
    built = report_service.build(lived_in, asked.id)
    assert built.files is not None
    verdict = verify_bundle_bytes(lived_in.artifacts.get(built.files["zip"]), [lived_in.keys.vkey])
    assert verdict.ok, verdict.findings
    document = json.loads(lived_in.artifacts.get(built.files["json"]))
    assert any(f"removed by erasure {proof['id']}" in a["confirmation"] for a in document["alerts"])
    sets = [d for run in document["runs"] for d in run["datasets"]]
    erased = [d["provenance"]["erasures"][0]["erasure"] for d in sets if "erasures" in d["provenance"]]
    assert set(erased) == {proof["id"]}
    assert left(lived_in, MARKER) == []


# --- killed -----------------------------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from importlib import import_module
from pathlib import Path
from api.processes.worker import drain
from core import settings
from core.clock import ManualClock
from core.db import Base
from datetime import datetime
from monitor.site import open_site

home, url, at, place, name, nth, after = sys.argv[1:]
module, _, owner = place.partition(":")
holder = import_module(module)
if owner:
    holder = getattr(holder, owner)
whole, left = getattr(holder, name), [int(nth)]

def killing(*arguments, **options):
    left[0] -= 1
    if left[0]:
        return whole(*arguments, **options)
    if after == "after":
        whole(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(holder, name, killing)
database = settings.DbSettings.model_validate({"url": url})
site = open_site(settings.load({}, home=Path(home), db=database), ManualClock(datetime.fromisoformat(at)))
drain(site)
"""


def killed(site: Site, clock: ManualClock, place: str, name: str, nth: int, when: str) -> None:
    """Run the jobs that are due in a process that dies at the nth call of a function."""
    url = site.database.engine.url.render_as_string(hide_password=False)
    arguments = [str(site.settings.home_dir), url, clock.now().isoformat(), place, name, str(nth), when]
    died = subprocess.run(
        [sys.executable, "-c", _KILLED, *arguments], env=environment(), cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, f"{when} call {nth} of {place}.{name}: {died.stderr[-2000:]}"


PLACES = [
    ("governance.erasure", "remember", 1, "after"), ("monitor.lake.table:Table", "swap", 1, "before"),
    ("monitor.lake.table:Table", "swap", 2, "after"), ("monitor.lake.table:Table", "swap", 6, "after"),
    ("monitor.upkeep.erase_rows", "_delete_others", 1, "before"), ("monitor.upkeep.digests", "record", 3, "before"),
    ("core.artifacts:ArtifactStore", "delete", 1, "before"), ("core.artifacts:ArtifactStore", "delete", 1, "after"),
    ("core.artifacts:ArtifactStore", "delete", 4, "after"), ("core.artifacts:ArtifactStore", "delete", 7, "after"),
    ("core.artifacts:ArtifactStore", "delete", 8, "after"), ("core.artifacts:ArtifactStore", "delete", 9, "before"),
    ("monitor.reference.collect", "refit", 1, "after"), ("governance.erasure", "complete", 1, "before"),
    ("core.db:Database", "forget", 1, "before"),
]  # fmt: skip


def settled(proof: dict[str, Any]) -> dict[str, Any]:
    """A proof without what differs between any two erasures of the same rows: names of new files, ids, times."""
    (model,) = proof["models"]
    tables = [
        (t["table"], t["rows_removed"], sorted((f["rows_before"], f["rows_after"]) for f in t["files"]), t["after"])
        for t in model["tables"]
    ]
    sets = [{k: d[k] for k in ("name", "role", "rows_removed", "digest_after")} for d in model["datasets"]]
    counted = {k: len(model[k]) for k in ("explanations", "confirmations", "predictions", "baselines")}
    return {
        "tables": [(*t[:3], {k: v for k, v in t[3].items() if k != "version"}) for t in tables],
        "datasets": [d | {"name": d["name"][:8]} for d in sets], "counted": counted, "events": model["events"],
        "baselines": [b["digest_after"] for b in model["baselines"]],
        "adapters": [(a["version"], a["why"]) for a in proof["adapters"]],
    }  # fmt: skip


class Image:
    """Home folder and database of a site as they were, to go back to."""

    def __init__(self, site: Site, folder: Path, request: pytest.FixtureRequest) -> None:
        self._home, self._folder = site.settings.home_dir, folder
        shutil.copytree(self._home, folder)
        self._name = site.database.engine.url.database
        self._server: postgres.Server | None = None
        if site.database.engine.dialect.name == "postgresql":
            self._server = request.getfixturevalue("postgres_server")
            self._server.create(f"image_{self._name}", template=str(self._name))

    def restore(self) -> None:
        shutil.rmtree(self._home)
        shutil.copytree(self._folder, self._home)
        if self._server is not None:
            self._server.drop(str(self._name))
            self._server.create(str(self._name), template=f"image_{self._name}")


@pytest.mark.slow
@pytest.mark.timeout(1500)  # fifteen processes that die, and fifteen that go on
def test_an_erasure_that_is_killed_anywhere_goes_on_and_proves_the_same(
    lived_in: Site, tmp_path: Path, clock: ManualClock, request: pytest.FixtureRequest
) -> None:
    asked = ask(lived_in)
    lived_in.database.dispose()
    image = Image(lived_in, tmp_path / "image", request)
    drain(lived_in)
    wanted = settled(proof_of(lived_in, asked))
    for place, name, nth, when in PLACES:
        lived_in.database.dispose()
        image.restore()
        where = f"{when} call {nth} of {place}.{name}"
        killed(lived_in, clock, place, name, nth, when)
        clock.move_to(clock.now() + timedelta(minutes=5))  # the dead worker's lease has run out
        fresh = reopened(lived_in, clock)
        drain(fresh)
        assert settled(proof_of(fresh, asked)) == wanted, where
        assert left(fresh, MARKER, SUBJECT) == [], where
        assert check(fresh).ok, where
        fresh.database.dispose()


def test_what_a_killed_process_wrote_and_never_recorded_is_found_and_deleted(
    lived_in: Site, clock: ManualClock
) -> None:
    alert = drift_alerts(lived_in)[0]
    with lived_in.database.write() as db:
        model = model_named(db, world.NAME).id
        queue.enqueue(db, ConfirmJob(alert_id=alert.id), now=clock.now())
    killed(lived_in, clock, "monitor.confirm.drafts", "end", 1, "before")
    for event in (HERS[2], "e4"):  # an explainer that dies at the same point leaves as much
        words = json.dumps({"words": [MARKER if event in HERS else "card", "thanks"]}).encode()
        drafts.begin(lived_in, words, model, event_id=event)
    with lived_in.database.write() as db:
        for job in db.scalars(select(Job).where(Job.name == "monitor.confirm")):
            job.state = "done"
        begun = {draft.artifact for draft in db.scalars(select(ArtifactDraft))}
        recorded = {(a.confirmation or {}).get("artifact") for a in db.scalars(select(Alert))}
    assert len(begun) == 4, "the report, the words and rows beside it, two explanations"
    assert not begun & recorded
    proof = erase(lived_in)
    assert left(lived_in, MARKER, SUBJECT) == []
    unrecorded = proof["models"][0]["unrecorded"]
    assert len(unrecorded) == 3
    with lived_in.database.read() as db:
        [kept] = db.scalars(select(ArtifactDraft))
    assert (kept.event_id, {kept.artifact}) == ("e4", begun - set(unrecorded))
    assert lived_in.artifacts.get(kept.artifact)


def test_who_records_an_artifact_that_was_erased_meanwhile_is_told(lived_in: Site) -> None:
    with lived_in.database.read() as db:
        model = model_named(db, world.NAME).id
    draft = drafts.begin(lived_in, MARKER.encode(), model, event_id=HERS[2])
    erase(lived_in)
    with pytest.raises(drafts.DraftErasedError), lived_in.database.write() as db:
        drafts.end(db, draft)


def reopened(site: Site, clock: ManualClock) -> Site:
    return open_site(site.settings, clock)
