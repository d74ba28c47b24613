"""Every row of the person goes, wherever it lies, and everybody else's stays."""

import io
import math
from typing import Any

import polars as pl
from sqlalchemy import select

from api.processes.worker import drain
from core.clock import ManualClock
from core.jobs import ConfirmJob
from governance import erasure
from governance.binding.check import check_rows
from governance.tables import LedgerBinding
from governance.verify.rows import unpack
from monitor import store
from monitor.fairness.counts import count
from monitor.fairness.counts_codec import decode
from monitor.fairness.grouping import Grouping
from monitor.ingest.otlp.tables import SpanText
from monitor.jobs import confirm
from monitor.notify.tables import OutboxMessage
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import FairnessCounts, Window
from monitor.windows.period_counts import store_counts
from retrain.runs.datasets import record_dataset
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.erasure.person import (
    CHANNEL,
    HERS,
    MARKER,
    ROWS,
    SUBJECT,
    datasets,
    drift_alerts,
    erase,
    left,
    proof_of,
    stored,
    traces,
    traffic,
)


def grouped(site: Site) -> None:
    """The first window, as if her channel were a protected column."""
    rows = site.events.events(world.NAME, to_seq=100)
    counts = count(rows, Grouping(("channel", "age_band")), prediction=rows["intent"])
    names = [f"channel={value} & age_band=30+" for value in (CHANNEL, "web")]
    with site.database.write() as db:
        window = db.scalars(select(Window).order_by(Window.number)).first()
        assert window is not None
        store_counts(db, window, counts, site.clock.now())
        measured = store.window_measurements(db, window.id)[0]
        measured.details = measured.details | {"groups": [{"group": name} for name in names], "between": names}


@SQLITE_FIRST
def test_nothing_of_the_person_is_left_in_any_file_and_everybody_else_is(lived_in: Site) -> None:
    home = lived_in.settings.home_dir
    for alert in drift_alerts(lived_in):  # Evidently's own report, beside the one made up
        confirm(lived_in, ConfirmJob(alert_id=alert.id))
    assert len({t.partition("/")[0] for t in traces(home, MARKER)}) >= 2, "lake and artifacts"
    with lived_in.database.write() as db:  # a text that came as a log record and waits
        waits = {"columns": {"text": MARKER}, "times": {}, "received_at": lived_in.clock.now()}
        db.add(SpanText(model_id=store.model(db, world.NAME).id, event_id=HERS[0], **waits))
    grouped(lived_in)
    before = lived_in.events.events(world.NAME)
    old = {row.id: row.digest for row in datasets(lived_in)}
    proof = erase(lived_in)
    assert left(lived_in, MARKER, SUBJECT, CHANNEL) == []
    assert left(lived_in, *(f'"{event}"' for event in HERS)) == [], "nor their event ids, as JSON keeps them"
    assert stored(lived_in, *(f"'{event}'" for event in HERS)) == []
    with lived_in.database.read() as db:
        leaves = "\n".join(line for packed in db.scalars(select(LedgerBinding.leaves)) for line in unpack(packed))
        assert check_rows(db).findings == (), "what was taken out of the leaves leaves their roots as they were signed"
    assert "# explanation " in leaves
    assert [word for word in (MARKER, SUBJECT, CHANNEL, *(f'"{event}"' for event in HERS)) if word in leaves] == []
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
    assert len(model["predictions"]) == len(model["baselines"]) == 1
    assert len(model["explanations"]) == 2, "an explanation, and reasons"
    assert len(model["confirmations"]) == 3
    assert model["windows_withheld"]
    with lived_in.database.read() as db:
        window = db.scalars(select(Window).order_by(Window.number)).first()
        message = db.scalars(select(OutboxMessage)).one()
        assert window is not None
        counted = decode(db.scalars(select(FairnessCounts.data).where(FairnessCounts.window_id == window.id)).one())
        groups = [m.details for m in store.window_measurements(db, window.id) if "between" in m.details]
        named = [
            m.details["faulty_rows"] for m in store.window_measurements(db, window.id) if "faulty_rows" in m.details
        ]
    assert [[value["detail"] for value in rows["values"]] for (rows,) in named] == [["(erased)", "web"]]
    assert [found["between"] for found in groups] == [["channel=(erased) & age_band=30+", "channel=web & age_band=30+"]]
    assert counted.rows == 100, "numbers stay as they were told"
    assert sorted(counted.table["protected:channel"].unique()) == ["(erased)", "app", "web"]
    assert "(erased)" not in counted.table["protected:age_band"]
    rest = "5.0 % to 9.0 % of rows; `age_band`: '30+': 40.0 % to 60.0 % of rows."
    assert window.sentence == f"Drift: `channel`: an erased value: {rest}"
    assert message.items == [{"sentence": window.sentence}]


@SQLITE_FIRST
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


@SQLITE_FIRST
def test_rows_that_compaction_left_on_disk_go_as_well(lived_in: Site) -> None:
    table = lived_in.events.table(world.NAME, "events")
    before = table.snapshot()
    whole = table.scan_files(before, before.files).with_columns(date=pl.col("ts").dt.date()).sort("seq").collect()
    table.swap(before.files, table.write([whole]), operation="OPTIMIZE", changes=False)
    assert len(list(table.folder.glob("date=*/*.parquet"))) == 5
    erase(lived_in)
    assert len(list(table.folder.glob("date=*/*.parquet"))) == 1
    assert left(lived_in, MARKER) == []


@SQLITE_FIRST
def test_rows_that_are_still_in_a_log_are_erased_and_the_log_lets_go_of_them(
    lived_in: Site, clock: ManualClock
) -> None:
    more = traffic().with_columns(event_id=pl.format("later-{}", "event_id"))
    lived_in.events.append_events(world.current(lived_in), more.drop("intent_true"), now=clock.now())
    assert traces(lived_in.settings.home_dir / "wal", MARKER)
    proof = erase(lived_in)
    assert proof["models"][0]["events"] == 2 * len(HERS)
    assert left(lived_in, MARKER) == []


NO_SUBJECT: dict[str, Any] = {
    "model": "plain", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {"answer": {"role": "prediction", "type": "category"}},
}  # fmt: skip
WITH_SUBJECT = NO_SUBJECT | {"columns": NO_SUBJECT["columns"] | {"customer": {"role": "subject", "type": "string"}}}


def test_models_without_a_subject_or_without_rows_are_passed(site: Site) -> None:
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(NO_SUBJECT), "tester")
    proof = erase(site)
    assert proof["models"][0]["tables"] == []


@SQLITE_FIRST
def test_a_first_row_that_no_table_holds_yet_is_erased(site: Site, clock: ManualClock) -> None:
    declared = parse_spec(WITH_SUBJECT)
    with site.database.write() as db:
        apply_spec(site, db, declared, "tester")
    frame = traffic().head(4).select("event_id", "ts", "version", "customer", answer="text")
    site.events.append_events(declared, frame, now=clock.now())
    proof = erase(site)
    assert [(t["table"], t["rows_removed"]) for t in proof["models"][0]["tables"]] == [("events", 1)]
    assert left(site, MARKER) == []


@SQLITE_FIRST
def test_numbers_with_a_gap_in_a_dataset_are_the_ids_that_events_have(site: Site, clock: ManualClock) -> None:
    """pandas writes a column of integers in which a cell is empty as floats: 17.0 is the person 17."""
    declared = parse_spec(WITH_SUBJECT)
    buffer = io.BytesIO()
    pl.DataFrame({"customer": [17.0, 18.0, None, math.inf], "text": ["a", "b", "c", "d"]}).write_parquet(buffer)
    with site.database.write() as db:
        apply_spec(site, db, declared, "tester")
        record_dataset(site, db, declared.model, "seen", "reference", buffer.getvalue(), "by hand", "ann")
        digest = site.events.subject_digest("17")
        asked = erasure.request(db, subject=digest, models=[], actor="dpo", now=clock.now()).id
    drain(site)
    assert [d["rows_removed"] for d in proof_of(site, asked)["models"][0]["datasets"]] == [1]
