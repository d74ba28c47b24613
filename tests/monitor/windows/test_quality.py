"""Data quality in the service: quiet on the same traffic, an alert where a column broke, ranges of the spec."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

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
        "Data quality: `amount`: missing values in 25.2 % of rows, against 0.0 % in the reference."
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
