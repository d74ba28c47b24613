"""Concept drift in the service: labels in order of arrival, state between evaluations, one alert, the split budget."""

from datetime import timedelta

import pytest

from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.tables import Alert, ReferenceRow
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec


def baseline(site: Site) -> ReferenceRow:
    with site.database.read() as db:
        found = store.newest_reference(db, store.model(db, "loans").id)
        assert found is not None
        return found


def concept_alerts(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == "concept"]


def declare(site: Site) -> None:
    monitors = document()["monitors"] | {"kpi": [], "fairness": []}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(monitors=monitors), "tester")


def test_a_rise_of_errors_alarms_once_its_labels_arrive_however_late_and_only_once(site: Site) -> None:
    declare(site)
    quiet, broken = rows(1500), rows(750, start=1500, right=0.5)
    for frame in (quiet, broken):
        receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    receive(site, "loans", "outcomes", Body(outcomes_body(quiet), NDJSON))
    evaluate(site, "loans")
    assert not concept_alerts(site)
    state = baseline(site).concept
    assert state is not None
    assert (state["next_seq"], state["stream"]["labels"]) == (1500, 500)
    assert evaluate(site, "loans") == []
    assert baseline(site).concept == state
    late = broken.sample(fraction=1.0, shuffle=True, seed=1)
    for part in late.iter_slices(150):
        receive(site, "loans", "outcomes", Body(outcomes_body(part), NDJSON))
        evaluate(site, "loans")
    (alert,) = concept_alerts(site)  # both detectors watch one stream
    assert "Errors rose: the mean error of the last" in alert.sentence
    assert alert.severity == "critical"  # five times the errors of the reference
    with site.database.read() as db:
        model = store.model(db, "loans").id
        newest = store.windows(db, model)[-1]
        measured = {m.metric: m for m in store.window_measurements(db, newest.id) if m.monitor == "concept"}
    assert newest.verdict == "alarm"
    assert newest.sentence.startswith("Errors rose")  # what the verdict rests on, before what was not found
    for found in measured.values():
        if found.alarm:
            assert f"{found.value:.3g}" in found.details["sentence"]  # a tile and its sentence show one number
    assert f"{alert.value:.3g}" in alert.sentence
    assert measured["page_hinkley"].alarm
    assert measured["page_hinkley"].n == 1250
    crossed, limit = measured["page_hinkley"].value, measured["page_hinkley"].limit
    assert crossed is not None
    assert limit is not None
    assert crossed > limit, "the value with which it fired, not the one after it started again"
    assert measured["adwin"].alarm
    reference_mean = measured["adwin"].details["reference_mean"]
    assert measured["adwin"].value is not None
    assert measured["adwin"].value > reference_mean
    assert measured["page_hinkley"].details["run_length"] == pytest.approx(250 / (0.01 * 0.1))


@SQLITE_FIRST
def test_without_labels_of_the_reference_nothing_is_watched(site: Site) -> None:
    declare(site)
    receive(site, "loans", "events", Body(events_body(rows(1500)), NDJSON))
    receive(site, "loans", "outcomes", Body(outcomes_body(rows(1500)[1200:]), NDJSON))
    evaluate(site, "loans")
    assert baseline(site).concept is None


def test_the_budget_is_split_and_sums_to_the_declared_one() -> None:
    declared = spec()
    [scale] = declared.monitors.scales
    parts: tuple[false_alarm_budget.BudgetPart, ...] = ("drift", "quality", "silence", "concept", "limits", "estimate")
    assert sum(false_alarm_budget.alpha(declared, part, scale) for part in parts) == pytest.approx(
        declared.monitors.alpha(scale)
    )
    columns = {n: c for n, c in document()["columns"].items() if n != "truth"}
    without = spec(columns=columns, monitors={"windows": {"rows": 250}, "false_alarms": {"alpha": 0.01}})
    assert false_alarm_budget.alpha(without, "concept", scale) == 0.0
    assert false_alarm_budget.alpha(without, "drift", scale) == pytest.approx(0.009)


def test_the_run_length_of_windows_of_time_follows_from_the_number_of_labels() -> None:
    declared = spec(monitors={"windows": ["1d", "7d"], "false_alarms": "1 per 30d"})
    found = false_alarm_budget.run_length(declared, rows=14_000, lasted=timedelta(days=14))
    assert found == pytest.approx(
        1000 * 30 / false_alarm_budget.CONCEPT_SHARE
    )  # one false alarm in ten budgets of 30 days
