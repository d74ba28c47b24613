"""Estimates in the service: fitted when labels arrive, compared with realised values, invalid after many misses."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from governance.ledger.read import ledger_rows
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement
from monitor.windows.estimates import ESTIMATORS
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, outcomes_body, rows, spec


def scored_spec() -> ModelSpec:
    base = document()
    columns = base["columns"] | {"confidence": {"role": "score", "type": "number"}}
    kpi = [{"metric": "accuracy", "min": 0.5}, {"metric": "roc_auc"}, {"metric": "exact_match"}]
    return spec(columns=columns, monitors=base["monitors"] | {"kpi": kpi[:2], "fairness": []})


def scored(count: int, *, start: int = 0, right: tuple[float, float] = (0.6, 0.99)) -> pl.DataFrame:
    """Confidence between the two ends, and answers that are right just as often."""
    random = np.random.default_rng(start + 1)
    frame = rows(count, start=start, right=1.0)
    confidence = random.uniform(*right, count)
    wrong = random.random(count) >= confidence
    flipped = np.where(frame["truth"] == "yes", "no", "yes")
    return frame.with_columns(
        pl.Series("confidence", confidence), pl.Series("decision", np.where(wrong, flipped, frame["truth"].to_numpy()))
    )


def send(site: Site, frame: pl.DataFrame, *, outcomes: bool) -> None:
    assert (
        receive(site, "loans", "events", Body(frame.drop("truth").write_ndjson().encode(), NDJSON)).accepted
        == frame.height
    )
    if outcomes:
        receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    evaluate(site, "loans")


def measured(site: Site, metric: str) -> Sequence[Measurement]:
    with site.database.read() as db:
        return store.measurements(db, store.model(db, "loans").id, metric=metric, segments=("",))


def declare(site: Site) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, scored_spec(), "tester")


def test_an_estimate_is_given_before_outcomes_and_checked_when_they_arrive(site: Site) -> None:
    declare(site)
    reference = scored(1000)
    send(site, reference, outcomes=False)
    send(site, scored(250, start=1000), outcomes=False)
    newest = measured(site, "accuracy")[-1]
    assert newest.estimated is None
    assert "fewer than 300" in newest.details["estimate"]["reason"]
    receive(site, "loans", "outcomes", Body(outcomes_body(reference), NDJSON))
    later = scored(250, start=1250)
    send(site, later, outcomes=False)
    first = measured(site, "accuracy")
    assert "belong to the reference" in first[0].details["estimate"]["reason"]
    newest = first[-1]
    assert newest.value is None
    assert newest.estimated == pytest.approx(0.795, abs=0.06)
    assert newest.estimate_inside is None
    assert newest.details["estimate"]["statement"] == "no window has enough outcomes yet"
    receive(site, "loans", "outcomes", Body(outcomes_body(later), NDJSON))
    evaluate(site, "loans")
    newest = measured(site, "accuracy")[-1]
    assert newest.value is not None
    assert newest.estimated_low is not None
    assert newest.estimate_inside is True
    assert newest.details["estimate"]["statement"] == "the band held in 1 of 1 windows"
    with site.database.read() as db:
        assert [row.kind for row in ledger_rows(db, limit=100)].count("model.estimator") == 1


@SQLITE_FIRST
def test_outcomes_that_stop_following_the_score_make_the_estimate_invalid(site: Site) -> None:
    declare(site)
    send(site, scored(1000), outcomes=True)
    send(site, scored(500, start=1000), outcomes=True)
    assert all(m.details["estimate"]["valid"] for m in measured(site, "accuracy")[-2:])
    broken = scored(750, start=1500)
    turned = broken.with_columns(truth=pl.when(pl.int_range(750) % 3 == 0).then(pl.lit("no")).otherwise(pl.lit("yes")))
    send(site, turned, outcomes=True)
    newest = measured(site, "accuracy")[-1]
    assert newest.estimate_inside is False
    assert newest.details["estimate"]["valid"] is False
    assert "the relation between inputs and outcomes changed" in newest.details["estimate"]["statement"]


@SQLITE_FIRST
def test_an_estimator_that_left_the_cache_is_loaded_again(site: Site) -> None:
    declare(site)
    send(site, scored(1000), outcomes=True)
    send(site, scored(250, start=1000), outcomes=False)
    with site.database.read() as db:
        row = store.newest_reference(db, store.model(db, "loans").id)
    assert row is not None
    assert row.estimator is not None
    other = site.cache.find(ESTIMATORS, row.estimator)
    assert other is not None
    for number in range(ESTIMATORS.most):
        site.cache.put(ESTIMATORS, f"of another model {number}", other)
    assert site.cache.find(ESTIMATORS, row.estimator) is None
    send(site, scored(250, start=1250), outcomes=False)
    before, after = measured(site, "accuracy")[-2:]
    assert before.estimated == pytest.approx(0.795, abs=0.06)
    assert after.estimated == pytest.approx(0.795, abs=0.06)
    assert site.cache.find(ESTIMATORS, row.estimator) is not None


@SQLITE_FIRST
def test_late_outcomes_correct_a_value_and_the_one_before_stays_visible(site: Site) -> None:
    declare(site)
    frame = scored(250)
    send(site, frame, outcomes=False)
    receive(site, "loans", "outcomes", Body(outcomes_body(frame[:100]), NDJSON))
    evaluate(site, "loans")
    first = measured(site, "accuracy")[0]
    assert (first.previous_value, first.corrected_at) == (None, None)
    receive(site, "loans", "outcomes", Body(outcomes_body(frame[100:200]), NDJSON))
    evaluate(site, "loans")
    second = measured(site, "accuracy")[0]
    assert (second.previous_value, second.previous_n, second.n) == (first.value, 100, 200)
    assert second.corrected_at is not None
    receive(site, "loans", "outcomes", Body(outcomes_body(frame[200:]), NDJSON))
    evaluate(site, "loans")
    third = measured(site, "accuracy")[0]
    assert third.details["corrections"] == 2
    assert [h["n"] for h in third.details["history"]] == [100, 200]
    assert third.details["coverage"] == 1.0
