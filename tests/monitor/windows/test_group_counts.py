"""Fairness of windows by the declared class, and of any period from the counts that windows stored."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from core.clock import ManualClock
from monitor import service, store
from monitor.fairness import FAIRNESS
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import FairnessCounts, Measurement
from monitor.windows.evaluate import evaluate
from monitor.windows.period_counts import PeriodCounts, period_counts
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, document, events_body, outcomes_body, rows

RULES = [{"metric": "demographic_parity_ratio", "by": ["age_band", "region_of_birth"], "min": 0.8, "depth": 2}]


def declared(*, new: bool = True, rules: Any = RULES, windows: Any = None, **prediction: Any) -> ModelSpec:
    base = document()
    columns = base["columns"] | {
        "decision": {"role": "prediction", "type": "category", **prediction},
        "region_of_birth": {"role": "protected", "type": "category"},
    }
    monitors = {"windows": windows or {"rows": 500}, "false_alarms": {"alpha": 0.05}, "fairness": rules}
    return parse_spec(base | {"columns": columns, "monitors": monitors}, new=new)


def people(count: int = 500, *, start: int = 0) -> pl.DataFrame:
    """Of 18-29, 10 % get the answer yes; of 30+, 40 %. Every fifth row says nothing of birth."""
    frame = rows(count, start=start)
    at = pl.int_range(count)
    young = at % 2 == 0
    yes = pl.when(young).then(at % 20 == 0).otherwise(at % 10 < 4)
    return frame.with_columns(
        age_band=pl.when(young).then(pl.lit("18-29")).otherwise(pl.lit("30+")),
        decision=pl.when(yes).then(pl.lit("yes")).otherwise(pl.lit("no")),
        region_of_birth=pl.when(at % 5 == 0).then(None).otherwise(pl.lit("north")),
    )


def run(site: Site, spec: ModelSpec, frame: pl.DataFrame) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec, "tester")
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    evaluate(site, "loans")


def measured(site: Site, by: str = "age_band") -> Measurement:
    with site.database.read() as db:
        query = select(Measurement).where(Measurement.monitor == "fairness", Measurement.column == by)
        return db.scalars(query.order_by(Measurement.from_ts.desc())).all()[0]


def period(site: Site, since: timedelta, until: timedelta) -> PeriodCounts:
    with site.database.read() as db:
        return period_counts(db, store.model(db, "loans").id, BEGIN + since, BEGIN + until)


@SQLITE_FIRST
def test_a_window_alarms_by_the_declared_class_and_says_which_it_was(site: Site) -> None:
    run(site, declared(positive="yes"), people(1000))
    found = measured(site)
    assert found.value == pytest.approx(0.1 / 0.4)
    assert found.alarm
    assert found.details["positive"] == "yes"
    assert (found.details["class_assumed"], found.details["positive_source"]) == (False, "declared")
    assert sorted(found.details["between"]) == ["18-29", "30+"]
    assert "for 'yes'" in found.details["definition"]
    birth = measured(site, "region_of_birth")
    assert birth.value is None
    assert {g["group"]: g["n"] for g in birth.details["groups"]} == {"(missing)": 100, "north": 400}
    crossed = measured(site, "age_band & region_of_birth")
    assert crossed.details["between"] == [
        "age_band=18-29 & region_of_birth=north",
        "age_band=30+ & region_of_birth=north",
    ]
    assert sum(g["n"] for g in crossed.details["groups"]) == 500


@SQLITE_FIRST
def test_a_new_spec_must_name_the_class_and_one_of_an_earlier_release_goes_on_and_says_so(site: Site) -> None:
    run(site, declared(), people(1000))
    found = measured(site)
    assert (found.value, found.alarm) == (None, False)
    assert all(word in str(found.reason) for word in ("'no'", "'yes'", "columns.decision.positive"))
    old = declared(new=False)
    assert "positive_class" not in old.document["monitors"]
    run(site, old, people(500, start=1000))
    found = measured(site)
    assert found.value == pytest.approx(0.25)  # of yes, the last in order
    assert found.details["class_assumed"]
    assert "class assumed" in found.details["definition"]


@SQLITE_FIRST
def test_any_period_is_answered_from_stored_counts_that_late_outcomes_correct(site: Site, clock: ManualClock) -> None:
    rules = [{"metric": "true_positive_rate_difference", "by": ["age_band"]}]
    frame = people(1440 * 3)
    run(site, declared(positive="yes", rules=rules, windows=["1d"]), frame)
    clock.move_to(BEGIN + timedelta(days=30))
    evaluate(site, "loans")
    whole = period(site, timedelta(0), timedelta(days=3))
    assert whole.counts is not None
    assert (whole.scale, len(whole.windows), whole.uncounted, whole.left_out) == ("1d", 3, (), ())
    assert (whole.counts.rows, whole.counts.labelled) == (4320, 0)
    found = FAIRNESS["demographic_parity_ratio"].compute(whole.counts, ["age_band"], positive="yes")
    assert found.value == pytest.approx(0.25)
    receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    evaluate(site, "loans")
    corrected = period(site, timedelta(0), timedelta(days=3)).counts
    assert corrected is not None
    assert (corrected.rows, corrected.labelled) == (4320, 4320)
    part = period(site, timedelta(hours=12), timedelta(days=2))
    assert len(part.windows) == len(part.reaching_out) == 1
    assert "1 windows (1440 rows) lie in the period only in part" in part.left_out[0]
    with site.database.write() as db:  # as if an earlier release had recorded it
        db.delete(db.scalars(select(FairnessCounts)).all()[0])
    older = period(site, timedelta(0), timedelta(days=3))
    assert (len(older.windows), len(older.uncounted)) == (2, 1)
    assert "were recorded before rows were counted by group" in older.left_out[0]
    assert period(site, timedelta(days=300), timedelta(days=400)).counts is None
