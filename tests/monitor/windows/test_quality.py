"""Data quality in the service: quiet on the same traffic, an alert where a column broke, ranges of the spec."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from governance.tables import LedgerEntry
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.parse import SpecError, parse_spec
from monitor.tables import Alert, Measurement
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows

pytestmark = SQLITE_FIRST


def declare(site: Site, **columns: Any) -> None:
    base = document()
    base["columns"] = {name: {**c, **columns.get(name, {})} for name, c in base["columns"].items()}
    base["monitors"] |= {"kpi": [], "fairness": []}
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(base), "tester")


def send(site: Site, frame: pl.DataFrame) -> None:
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == frame.height
    receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    evaluate(site, "loans")


def measured(site: Site) -> dict[tuple[str, str], Measurement]:
    with site.database.read() as db:
        newest = store.windows(db, store.model(db, "loans").id)[-1]
        return {(m.metric, m.column): m for m in store.window_measurements(db, newest.id) if m.monitor == "quality"}


def quality_alerts(site: Site) -> dict[str, Alert]:
    with site.database.read() as db:
        return {a.metric: a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == "quality"}


def test_the_same_traffic_is_quiet_and_broken_columns_are_named(site: Site) -> None:
    declare(site)
    send(site, rows(2000))
    assert not quality_alerts(site)
    assert {name for name, _ in measured(site)} == {
        "missing", "out_of_range", "unseen", "duplicates", "freshness", "label_delay",
    }  # fmt: skip
    assert measured(site)["missing", "amount"].value == 0.0
    one = pl.when(pl.int_range(250) % 4 == 0)
    send(
        site,
        rows(250, start=2000).with_columns(
            one.then(None).otherwise("amount").alias("amount"),
            one.then(pl.lit("east")).otherwise("region").alias("region"),
        ),
    )
    found = quality_alerts(site)
    assert set(found) == {"missing", "unseen"}
    assert found["missing"].sentence == (
        "Data quality: `amount`: missing values in 25.2 % of rows, against 0.0 % in the reference, large."
    )
    assert measured(site)["unseen", "region"].details["adjusted_p"] < 1e-6


def test_a_range_of_the_spec_is_held_and_one_of_the_reference_is_wider(site: Site) -> None:
    declare(site, amount={"min": -3.9})
    send(site, rows(2000))
    send(site, rows(250, start=2000).with_columns(amount=pl.col("amount").abs() * -4.0))
    assert set(quality_alerts(site)) == {"out_of_range"}
    assert measured(site)["out_of_range", "amount"].value == pytest.approx(0.33, abs=0.1)


def test_a_changed_range_is_learned_again_and_the_baseline_stays(site: Site) -> None:
    declare(site)
    send(site, rows(2000))
    with site.database.read() as db:
        before = store.newest_reference(db, store.model(db, "loans").id)
    declare(site, amount={"min": -3.9})
    send(site, rows(250, start=2000).with_columns(amount=pl.col("amount").abs() * -4.0))
    with site.database.read() as db:
        after = store.newest_reference(db, store.model(db, "loans").id)
    assert before is not None
    assert after is not None
    assert after.id == before.id
    assert after.quality not in (None, before.quality)
    assert "out_of_range" in quality_alerts(site)


def test_a_change_of_drift_rule_keeps_the_baseline(site: Site) -> None:
    declare(site)
    send(site, rows(1500))
    changed = document()
    changed["monitors"] |= {"kpi": [], "fairness": [], "drift": {"rule": "thresholds", "thresholds": {"psi": 0.2}}}
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(changed), "tester")
        found = store.newest_reference(db, store.model(db, "loans").id)
    assert found is not None
    assert (found.state, found.quality is None) == ("ready", False)


def test_a_range_on_a_column_of_words_is_refused(site: Site) -> None:
    with pytest.raises(SpecError, match="min and max are for columns of type number, not category"):
        declare(site, region={"min": 1})
    with pytest.raises(SpecError, match=r"min 2\.0 is above max 1\.0"):
        declare(site, amount={"min": 2, "max": 1})


def test_a_day_with_few_rows_alarms_for_windows_of_time(site: Site) -> None:
    base = document()
    base["monitors"] |= {"windows": ["1d"], "false_alarms": {"alpha": 0.2}, "kpi": [], "fairness": []}
    base["baseline"] = {"rows": "first 2400"}
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(base), "tester")
    site.clock.move_to(site.clock.now() + timedelta(days=3650))  # type: ignore[attr-defined]  # the tests' clock
    usual = rows(3600, every=timedelta(minutes=6))  # 240 a day
    send(site, usual)
    few = rows(60, start=3600 * 6 // 24, every=timedelta(minutes=24)).with_columns(
        pl.concat_str(pl.lit("f"), "event_id").alias("event_id")
    )
    send(site, few)
    site.clock.move_to(site.clock.now() + timedelta(minutes=10))  # type: ignore[attr-defined]
    evaluate(site, "loans")
    with site.database.read() as db:
        model = store.model(db, "loans").id
        found = store.measurements(db, model, metric="volume")[-1]
        (alert,) = [a for a in store.alerts(db, model) if a.monitor == "volume"]
        newest = store.windows(db, model)[-1]
    assert found.value == pytest.approx(60, abs=1)
    assert found.details["p"] <= found.details["alpha"] == pytest.approx(0.2 * 0.05)
    assert newest.decision["verdict"] == "volume_changed"
    assert alert.sentence.startswith("Volume: 60 rows per block, against 240 expected")
    assert "the distribution is not judged" in newest.sentence
    assert newest.sentence.startswith("Volume: 60 rows")


# --- which rows -------------------------------------------------------------------------------------------------------

DORMITORY = {"amount": 19.0, "region": 'campus "A"', "age_band": "18-29", "decision": "yes"}


def declare_without_subject(site: Site, **changes: Any) -> None:
    base = document(**changes)
    del base["columns"]["customer"]
    base["columns"]["note"] = {"role": "input", "type": "text"}
    base["monitors"] |= {"kpi": [], "fairness": [], "drift": {"columns": ["amount"]}}
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(base), "tester")


def with_a_group(frame: pl.DataFrame, every: int, **values: Any) -> pl.DataFrame:
    """The rows, of which every n-th has the same values."""
    chosen = pl.when(pl.int_range(pl.len()) % every == 0)
    return frame.with_columns(chosen.then(pl.lit(v)).otherwise(pl.col(c)).alias(c) for c, v in values.items())


def students(start: int, count: int, every: int) -> pl.DataFrame:
    frame = (
        rows(count, start=start).drop("customer").with_columns(pl.concat_str(pl.lit("hi "), "event_id").alias("note"))
    )
    return with_a_group(frame, every, **DORMITORY, note="may I   borrow money for " + "books and " * 20)


def test_the_rows_that_repeat_are_named_by_their_values(site: Site) -> None:
    declare_without_subject(site)
    send(site, students(0, 2000, 100))
    send(site, students(2000, 250, 5))
    alert = quality_alerts(site)["duplicates"]
    (first, *others) = measured(site)["duplicates", ""].details["faulty_rows"]
    assert not others
    assert (first["rows"], first["people"], first["withheld"]) == (50, None, False)
    shown = {v["column"]: v["detail"] for v in first["values"]}
    assert shown == {
        "region": 'campus "A"', "note": "may I borrow money for books and books a…", "decision": "yes", "amount": "19",
    }  # fmt: skip
    assert "age_band" not in alert.sentence  # protected
    assert "Most often: `region` 'campus \"A\"', `note`" in alert.sentence
    assert "(50 rows)" in alert.sentence
    with site.database.read() as db:
        entries = db.scalars(select(LedgerEntry.entry)).all()
        assert alert.sentence in store.windows(db, store.model(db, "loans").id)[-1].sentence
    assert entries
    assert not any("campus" in entry or "borrow" in entry for entry in entries)


def test_numbers_out_of_range_are_named_and_values_of_redacted_columns_are_not(site: Site) -> None:
    declare_without_subject(site, redact={"note": ["email"], "region": ["email"]})
    send(site, students(0, 2000, 100))
    broken = students(2000, 250, 100).with_columns(
        region=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("o'st")).otherwise("region"),
        amount=pl.when(pl.int_range(pl.len()) % 4 == 1).then(-999.0).otherwise("amount"),
    )
    send(site, broken)
    found = quality_alerts(site)
    assert "Most often: '-999' (" in found["out_of_range"].sentence
    assert found["unseen"].sentence.endswith("against 0.0 % in the reference, large.")  # the column is redacted
    assert "faulty_rows" not in measured(site)["unseen", "region"].details
