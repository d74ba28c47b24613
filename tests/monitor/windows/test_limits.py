"""KPIs against their limits: a minimum of rows, a budget that many looks share, and alarms of estimates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom
from sqlalchemy import select

from monitor import service, store
from monitor.fairness import FAIRNESS
from monitor.fairness.counts import count
from monitor.fairness.grouping import Grouping
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.kpi.bounds import Share
from monitor.kpi.intervals import wilson
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.tables import ESTIMATED, Alert, Measurement
from monitor.windows.estimate_alarms import with_estimate_alarms
from monitor.windows.evaluate import evaluate
from monitor.windows.limits import judged
from monitor.windows.readings import Limits, Reading
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec
from tests.monitor.windows.test_estimates import scored

ALPHA = 0.02


def reading(hits: int, n: int, of: int, *, lowest: float = 0.8, alpha: float = ALPHA, min_rows: int = 30) -> Reading:
    limits = Limits(lowest, None, min_rows, n == of, alpha, alpha, Share(hits, n))
    low, high = wilson(hits, n)
    details = {"coverage": n / of}
    return Reading("kpi", "accuracy", hits / n, None, "share", n, low=low, high=high, limits=limits, details=details)


def looked(counts: Sequence[tuple[int, int]], of: int, **more: Any) -> list[Reading]:
    """The window as it is recorded after each arrival of outcomes: hits and rows so far."""
    found: list[Reading] = []
    for hits, n in counts:
        found.append(judged(reading(hits, n, of, **more), found[-1].details["judgement"] if found else None))
    return found


def measured(site: Site, metric: str = "accuracy", segment: str = "") -> Sequence[Measurement]:
    with site.database.read() as db:
        return store.measurements(db, store.model(db, "loans").id, metric=metric, segments=(segment,))


def alerts(site: Site, monitor: str) -> Sequence[Alert]:
    with site.database.read() as db:
        return db.scalars(select(Alert).where(Alert.monitor == monitor)).all()


def declare(site: Site, **monitors: Any) -> None:
    with site.database.write() as db:
        declared = document()["monitors"] | {"fairness": []} | monitors
        columns = document()["columns"] | {"confidence": {"role": "score", "type": "number"}}
        baseline = {"rows": "first 2500"}
        service.apply_spec(site, db, spec(columns=columns, monitors=declared, baseline=baseline), "tester")


def send(site: Site, frame: pl.DataFrame) -> None:
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    evaluate(site, "loans")


def label(site: Site, frame: pl.DataFrame) -> None:
    receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    evaluate(site, "loans")


@SQLITE_FIRST
def test_the_first_labelled_event_shows_a_value_and_raises_no_alarm(site: Site) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "tester")
    frame = rows(250, right=0.0)
    send(site, frame)
    label(site, frame[:1])
    [one] = measured(site)
    assert (one.value, one.n, one.alarm) == (0.0, 1, False)
    assert one.details["judgement"]["why"] == "n = 1 is below the minimum of 30"
    assert not alerts(site, "kpi")
    label(site, frame[:60])
    [one] = measured(site)
    assert (one.n, one.alarm) == (60, True)
    assert len(alerts(site, "kpi")) == 1


def test_a_kpi_at_its_limit_alarms_at_most_at_its_rate_however_often_outcomes_arrive() -> None:
    random, windows, of = np.random.default_rng(1), 1_500, 240
    alarmed = 0
    for _ in range(windows):
        right = np.cumsum(random.random(of) < 0.8)
        found = looked([(int(right[n - 1]), n) for n in range(8, of + 1, 8)], of)
        alarmed += any(r.alarm for r in found)
        assert found[-1].details["judgement"]["spent"] <= ALPHA
    assert alarmed <= binom.ppf(0.999, windows, ALPHA)
    assert alarmed > 0  # the budget is spent, not saved


def test_a_kpi_far_beyond_its_limit_alarms_with_few_outcomes_and_again_with_all() -> None:
    found = looked([(10, 29), (11, 30), (100, 200)], 200)
    assert [r.alarm for r in found] == [False, True, True]
    assert found[1].limit == 0.8
    assert found[1].sentence == "accuracy is 0.367 (0.219-0.545, n = 30), beyond its limit 0.8 by 43.3 points, large."


def test_between_two_looks_an_alarm_may_end_and_none_may_begin() -> None:
    fine, bad, recovered = (29, 30), (20, 40), (38, 40)
    assert [r.alarm for r in looked([fine, bad], 200)] == [False, False]
    assert [r.alarm for r in looked([fine, (20, 45)], 200)] == [False, True]  # half as many rows again: a look
    assert [r.alarm for r in looked([(10, 30), recovered], 200)] == [True, False]
    assert [r.alarm for r in looked([fine, bad], 40)] == [False, True]  # the last outcome has arrived


def test_a_corrected_outcome_is_judged_at_the_same_alpha_and_spends_nothing() -> None:
    first, second = looked([(190, 200), (130, 200)], 200)
    assert not first.alarm
    assert second.alarm
    assert first.details["judgement"]["spent"] == second.details["judgement"]["spent"]


def test_limits_take_their_share_from_the_error_streams_and_none_where_there_is_no_limit() -> None:
    limited = spec()
    free = spec(monitors=document()["monitors"] | {"kpi": [{"metric": "accuracy"}], "fairness": []})
    assert false_alarm_budget.share(free, "drift") == false_alarm_budget.share(limited, "drift") == pytest.approx(0.8)
    assert false_alarm_budget.share(free, "concept") == 0.1
    assert false_alarm_budget.share(limited, "concept") == pytest.approx(0.05)
    assert false_alarm_budget.limit_alpha(free, "limits", "250 rows") == 0.0
    # A KPI and a fairness metric share a fortieth of 0.01, and the estimate of the KPI has another.
    assert false_alarm_budget.limit_alpha(limited, "limits", "250 rows") == pytest.approx(0.01 / 40 / 2)
    assert false_alarm_budget.limit_alpha(limited, "estimate", "250 rows") == pytest.approx(0.01 / 40)


@SQLITE_FIRST
def test_an_estimate_beyond_the_limit_alarms_before_outcomes_and_is_withdrawn_by_them(site: Site) -> None:
    declare(site, kpi=[{"metric": "accuracy", "min": 0.78}])
    reference = scored(2500)
    send(site, reference)
    label(site, reference)
    bad = scored(250, start=2500, right=(0.6, 0.64))
    send(site, bad)
    newest = measured(site, segment=ESTIMATED)[-1]
    assert (newest.monitor, newest.alarm, newest.limit) == ("estimate", True, 0.78)
    [alert] = alerts(site, "estimate")
    assert alert.sentence.startswith("accuracy is estimated at 0.6")
    assert "without outcomes" in alert.sentence
    assert not alerts(site, "kpi")
    label(site, bad.with_columns(truth=pl.col("decision")))  # every answer was right
    newest = measured(site, segment=ESTIMATED)[-1]
    assert not newest.alarm
    assert "within its limit" in newest.details["judgement"]["contradicted"]
    [alert] = alerts(site, "estimate")
    assert alert.withdrawn_at is not None
    assert not alerts(site, "kpi")


def estimated(value: float, half: float, *, realised: tuple[int, int] | None = None, valid: bool = True) -> Reading:
    """The reading of the monitor `estimate` of a window of 200 rows whose accuracy has a minimum of 0.8."""
    kpi = looked([realised or (1, 1)], 200)[0]
    note = {"valid": valid, "statement": "estimate invalid", "rows": 200, "method": "CBPE", "sampling": half / 1.96}
    kpi = replace(
        kpi, details=kpi.details | {"estimate": note | {"calibration": 0.0}}, estimated=value,
        estimated_low=value - half, estimated_high=value + half,
    )  # fmt: skip
    return with_estimate_alarms([kpi])[1]


def test_an_estimate_alarms_only_with_its_whole_band_and_unless_outcomes_contradict_it() -> None:
    assert estimated(0.7, 0.03).alarm
    assert not estimated(0.78, 0.03).alarm  # the band reaches the limit
    assert estimated(0.7, 0.03, realised=(100, 150)).alarm  # outcomes agree
    few = estimated(0.7, 0.03, realised=(34, 40))
    assert few.alarm  # a few good ones say little
    assert "while 40 of 200 outcomes are there (they give 0.850, 0.7" in few.sentence
    assert not estimated(0.7, 0.03, realised=(130, 150)).alarm
    assert not estimated(0.7, 0.03, realised=(60, 60)).alarm  # few, but certain
    invalid = estimated(0.7, 0.03, valid=False)
    assert not invalid.alarm
    assert invalid.details["judgement"]["why"] == "estimate invalid"


def test_a_fairness_value_that_alarms_is_computed_by_fairlearn_too() -> None:
    people = pl.DataFrame(
        {
            "sex": ["f"] * 500 + ["m"] * 500,
            "prediction": ["yes"] * 100 + ["no"] * 400 + ["yes"] * 300 + ["no"] * 200,
        }
    )
    counts = count(people, Grouping(("sex",)), prediction="prediction")
    found = FAIRNESS["demographic_parity_difference"].compute(counts, ["sex"], positive="yes")
    reading = Reading("fairness", "demographic_parity_difference", found.value, None, "share", found.n, column="sex")
    quiet, unequal = (
        judged(
            replace(reading, limits=Limits(None, most, 30, True, 0.01, 0.0, found.bounds, found.second_opinion)), None
        )
        for most in (0.5, 0.1)
    )
    assert unequal.alarm
    assert unequal.details["judgement"]["fairlearn"] == pytest.approx(0.4, abs=1e-12)
    assert "fairlearn" not in unequal.sentence  # the two agree
    assert not quiet.alarm
    assert "fairlearn" not in quiet.details["judgement"]
    other = replace(unequal, limits=Limits(None, 0.1, 30, True, 0.01, 0.0, found.bounds, lambda: 0.2))
    assert "fairlearn computes 0.200" in judged(other, None).sentence
