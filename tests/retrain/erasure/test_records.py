"""What an erasure leaves behind: its proof, a lake that verifies, versions that are marked, a baseline fitted again."""

import json
from datetime import timedelta
from typing import Any

import polars as pl
from sqlalchemy import select

from core.clock import ManualClock
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import ledger_entries, ledger_lines
from governance.tables import Erasure
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.lake import DIGEST
from monitor.profile.block import profile_block
from monitor.profile.codec import sum_from_bytes
from monitor.profile.reference_profile import ReferenceProfile
from monitor.site import Site
from monitor.store import model as model_named
from monitor.store import newest_reference
from monitor.tables import ReferenceRow, StoredProfile
from monitor.upkeep import digests
from monitor.windows.evaluate import evaluate
from reports import service as report_service
from reports.lineage.events import ended_up_in
from retrain.tables import ModelVersion
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.erasure.person import CHANNEL, HERS, MARKER, ROWS, SUBJECT, check, erase, left
from tests.retrain.train import tiny


@SQLITE_FIRST
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


@SQLITE_FIRST
def test_the_lake_still_verifies_and_a_file_changed_afterwards_is_named(lived_in: Site) -> None:
    erase(lived_in)
    verdict = check(lived_in)
    assert verdict.ok, verdict.findings
    path = next((lived_in.events.root / world.NAME / "events").glob("date=*/*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (finding,) = check(lived_in).findings
    assert finding.what == "lake.changed"
    assert path.name in finding.where


@SQLITE_FIRST
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


@SQLITE_FIRST
def test_the_baseline_is_fitted_again_without_the_rows_and_windows_are_judged_on(lived_in: Site) -> None:
    with lived_in.database.read() as db:
        model = model_named(db, world.NAME)
        before = newest_reference(db, model.id)
        assert before is not None
    erase(lived_in)
    with lived_in.database.read() as db:
        after = db.get_one(ReferenceRow, before.id)
    assert after.artifact not in (None, before.artifact)
    assert (after.rows, after.to_seq, after.problem) == (190, before.to_seq, None)
    more = world.traffic(100, tiny.OLD, first=ROWS).with_columns(customer=pl.lit("new"))
    declared = world.current(lived_in)
    lived_in.events.append_events(declared, more.drop("intent_true"), now=lived_in.clock.now())
    assert lived_in.events.events(world.NAME)["seq"].max() == ROWS + 99, "numbers are not given twice"
    assert evaluate(lived_in, world.NAME)


@SQLITE_FIRST
def test_after_an_erasure_profiles_estimator_and_checks_are_those_of_the_rows_that_are_left(lived_in: Site) -> None:
    def learned() -> tuple[ReferenceRow, dict[tuple[Any, ...], tuple[int, bytes]]]:
        with lived_in.database.read() as db:
            row = newest_reference(db, model_named(db, world.NAME).id)
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
    assert after.windows_seq == 200  # windows of rows, and their blocks, begin after the reference
    wanted = profile_block(lived_in.events.events(world.NAME, from_seq=after.windows_seq), baseline)
    assert whole.rows == wanted.rows == ROWS - 200 - sum(int(name[1:]) >= 200 for name in HERS)
    for name, numbers in wanted.numbers.items():
        assert whole.numbers[name].counts.tolist() == numbers.counts.tolist(), name
    for name, levels in wanted.categories.items():
        assert whole.categories[name].levels.tolist() == levels.levels.tolist(), name


@SQLITE_FIRST
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


@SQLITE_FIRST
def test_what_an_erased_event_ended_up_in_is_told_by_its_digest_still(lived_in: Site) -> None:
    with lived_in.database.read() as db:
        model = model_named(db, world.NAME)
        told = {one: ended_up_in(lived_in, db, model, event_id=one) for one in HERS}
    before = max(told.values(), key=lambda found: (len(found["versions"]), len(found["datasets"])))
    assert before["datasets"]
    erase(lived_in)
    with lived_in.database.read() as db:
        after = ended_up_in(lived_in, db, model, event_id=before["event_id"])
        by_digest = ended_up_in(lived_in, db, model, digest=before["digest"])
    assert after["state"] == "not stored: erased, or older than the model's retention"
    assert [v["version"] for v in after["versions"]] == [v["version"] for v in before["versions"]]
    assert after["datasets"][0]["digest"] == before["datasets"][0]["digest"]  # as it was trained on
    assert len(after["datasets"][0]["erasures"]) == 1
    assert (by_digest["datasets"], by_digest["versions"]) == (after["datasets"], after["versions"])
