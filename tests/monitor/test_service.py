"""Windows from first event to verdict: reference, drift, KPIs as outcomes arrive, alerts; on SQLite and PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from core.clock import ManualClock
from governance.ledger.read import ledger_lines, ledger_rows
from monitor import service, store
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.errors import AlertStateError, ModelNotFoundError
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError
from monitor.tables import Alert, Measurement, Window
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec


def declare(site: Site, declared: ModelSpec) -> service.Applied:
    with site.database.write() as db:
        return service.apply_spec(site, db, declared, "tester")


def send(site: Site, frame: pl.DataFrame, *, outcomes: bool = True) -> None:
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == frame.height
    if outcomes:
        assert receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON)).accepted == frame.height
    evaluate(site, "loans")


def windows(site: Site) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, "loans").id)


def open_alerts(site: Site) -> Sequence[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.state != "resolved"]


def kinds(site: Site) -> list[str]:
    with site.database.read() as db:
        return [row.kind for row in ledger_rows(db, limit=1000) if row.subject != "rows"]


def test_a_shift_after_a_quiet_period_raises_one_episode_for_each_monitor_that_saw_it(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1500))
    assert [w.verdict for w in windows(site)] == ["unknown"] * 4 + ["ok"] * 2
    assert not open_alerts(site)
    send(site, rows(500, start=1500, shift=0.8, right=0.5))
    judged = windows(site)
    assert [w.verdict for w in judged[-2:]] == ["alarm", "alarm"]
    assert "amount" in judged[-1].sentence
    episodes = {a.monitor: a for a in open_alerts(site)}
    assert set(episodes) == {"drift", "kpi", "concept"}
    assert episodes["drift"].windows == episodes["kpi"].windows == 2
    assert kinds(site).count("alert.opened") == len(open_alerts(site))


@SQLITE_FIRST
def test_kpis_appear_as_outcomes_arrive_and_say_how_many_there_were(site: Site) -> None:
    declare(site, spec())
    frame = rows(250)
    send(site, frame, outcomes=False)
    window = windows(site)[0]
    with site.database.read() as db:
        before = {m.metric: m for m in store.window_measurements(db, window.id) if m.monitor == "kpi" and not m.segment}
    assert before["accuracy"].value is None
    assert "no outcome has arrived" in (before["accuracy"].reason or "")
    receive(site, "loans", "outcomes", Body(outcomes_body(frame[:100]), NDJSON))
    assert evaluate(site, "loans") == [window.id]
    with site.database.read() as db:
        after = {m.metric: m for m in store.window_measurements(db, window.id) if m.monitor == "kpi" and not m.segment}
    right = (frame[:100]["decision"] == frame[:100]["truth"]).mean()
    assert after["accuracy"].value == pytest.approx(right)
    assert (after["accuracy"].n, after["accuracy"].details["rows"]) == (100, 250)
    assert windows(site)[0].labels == 100


def measured_kpis(site: Site, window: Window) -> dict[tuple[str, str], Measurement]:
    with site.database.read() as db:
        return {
            (m.metric, m.column): m
            for m in store.window_measurements(db, window.id)
            if m.monitor == "kpi" and not m.segment
        }


def with_service_columns() -> ModelSpec:
    base = document()
    columns = base["columns"] | {
        "latency": {"role": "measure", "type": "number", "unit": "ms"},
        "failed": {"role": "measure", "type": "boolean"},
        "confidence": {"role": "score", "type": "number"},
        "thumb": {"role": "outcome", "type": "boolean"},
    }
    kpi = [
        {"metric": "latency_p95", "column": "latency", "max": 400}, {"metric": "error_rate", "column": "failed"},
        {"metric": "thumbs_up_share", "column": "thumb"}, {"metric": "roc_auc"}, {"metric": "pr_auc"},
    ]  # fmt: skip
    return spec(columns=columns, monitors=base["monitors"] | {"kpi": kpi, "fairness": []})


@SQLITE_FIRST
def test_a_kpi_of_a_column_needs_no_outcome_unless_the_column_is_one(site: Site) -> None:
    declare(site, with_service_columns())
    frame = rows(250).with_columns(
        pl.int_range(1, 251).cast(pl.Float64).alias("latency") * 4,
        (pl.int_range(250) % 10 == 0).alias("failed"),
        pl.lit(0.75).alias("confidence"),
        pl.Series("thumb", [True, False, None, True, True] * 50),
    )
    events = frame.drop("truth", "thumb").write_ndjson().encode()
    assert receive(site, "loans", "events", Body(events, NDJSON)).accepted == 250
    evaluate(site, "loans")
    window = windows(site)[0]
    before = measured_kpis(site, window)
    latency = before["latency_p95", "latency"]
    assert (latency.value, latency.unit, latency.n) == (np.percentile(frame["latency"], 95), "ms", 250)
    assert latency.alarm
    assert "beyond its limit 400" in window.sentence
    assert before["error_rate", "failed"].value == 0.1
    for late in (("thumbs_up_share", "thumb"), ("roc_auc", ""), ("pr_auc", "")):
        assert before[late].value is None
        assert "no outcome has arrived yet for any of the 250 rows" in (before[late].reason or "")
    outcomes = frame[:100].select("event_id", "truth", "thumb").write_ndjson().encode()
    assert receive(site, "loans", "outcomes", Body(outcomes, NDJSON)).accepted == 100
    evaluate(site, "loans")
    after = measured_kpis(site, window)
    thumbs = after["thumbs_up_share", "thumb"]
    assert (thumbs.value, thumbs.n, thumbs.details["coverage"]) == (0.75, 80, 80 / 250)
    assert after["latency_p95", "latency"].n == 250
    answers = frame[:100]
    probability = np.where(answers["decision"] == "yes", 0.75, 0.25)
    assert after["roc_auc", ""].value == pytest.approx(roc_auc_score(answers["truth"] == "yes", probability))
    assert "declare `positive`" in (after["pr_auc", ""].reason or "")


@SQLITE_FIRST
def test_outcomes_that_arrive_later_leave_the_rows_of_a_window_of_time_as_they_were(
    site: Site, clock: ManualClock
) -> None:
    kpi = [{"metric": "latency_p50", "column": "amount"}, {"metric": "accuracy"}]
    monitors = document()["monitors"] | {"windows": ["1d"], "false_alarms": {"alpha": 0.2}, "kpi": kpi}
    declare(site, spec(monitors=monitors, baseline={"rows": "first 1200"}))
    frame = rows(600, every=timedelta(minutes=10)).sample(fraction=1.0, shuffle=True, seed=1)  # late by days
    clock.move_to(frame["ts"].str.to_datetime(time_zone="UTC").max())  # type: ignore[arg-type]  # a time
    send(site, frame, outcomes=False)
    before = [measured_kpis(site, w)["latency_p50", "amount"] for w in windows(site)]
    assert [m.n for m in before] == [144] * 4
    assert receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON)).accepted == 600
    evaluate(site, "loans")
    after = [measured_kpis(site, w) for w in windows(site)]
    assert [m["latency_p50", "amount"].value for m in after] == [m.value for m in before]
    assert [m["accuracy", ""].n for m in after] == [144] * 4


REFUSED_KPIS = [
    ([{"metric": "latency_p95"}], r"monitors\.kpi\[0\]\.column: is missing.*number column: amount"),
    ([{"metric": "latency_p95", "column": "region"}], r"'region' has type category; latency_p95 needs number"),
    ([{"metric": "accuracy", "column": "amount"}], r"'amount' is not read by accuracy"),
    ([{"metric": "roc_auc"}], r"'roc_auc' needs a column with role score"),
    (
        [{"metric": "accuracy", "min": 0.5}, {"metric": "accuracy", "max": 0.9}],
        r"kpi\[1\]\.metric: 'accuracy' is named twice",
    ),
]


@SQLITE_FIRST
@pytest.mark.parametrize(("kpi", "reason"), REFUSED_KPIS, ids=[reason for _, reason in REFUSED_KPIS])
def test_a_kpi_that_does_not_fit_the_columns_is_refused(site: Site, kpi: list[dict[str, object]], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        declare(site, spec(monitors=document()["monitors"] | {"kpi": kpi}))


def test_a_column_nobody_declared_and_a_positive_class_of_anything_but_a_score_are_refused() -> None:
    with pytest.raises(SpecError, match="names column 'lateny', which is not declared"):
        spec(monitors=document()["monitors"] | {"kpi": [{"metric": "latency_p50", "column": "lateny"}]})
    columns = document()["columns"] | {"amount": {"role": "input", "type": "number", "positive": "yes"}}
    with pytest.raises(
        SpecError, match="only the prediction, the outcome and the score of a classification have a positive"
    ):
        spec(columns=columns)


@SQLITE_FIRST
def test_a_model_without_outcomes_may_monitor_its_service_but_not_its_accuracy(site: Site) -> None:
    columns = {name: c for name, c in document()["columns"].items() if c["role"] != "outcome"}
    monitors = document()["monitors"] | {"fairness": []}
    with pytest.raises(SpecError, match="'accuracy' needs a column with role outcome"):
        declare(site, spec(columns=columns, monitors=monitors))
    watched = monitors | {"kpi": [{"metric": "latency_p50", "column": "amount"}]}
    assert declare(site, spec(columns=columns, monitors=watched)).outcome == "created"


@SQLITE_FIRST
def test_evaluating_twice_changes_nothing(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1500))
    before = [(w.id, w.verdict, w.refreshed_at) for w in windows(site)]
    assert evaluate(site, "loans") == []
    assert [(w.id, w.verdict, w.refreshed_at) for w in windows(site)] == before


@SQLITE_FIRST
def test_time_windows_close_only_when_their_time_has_passed(site: Site, clock: ManualClock) -> None:
    monitors = document()["monitors"] | {"windows": ["1d"], "false_alarms": {"alpha": 0.2}}
    declare(site, spec(monitors=monitors, baseline={"rows": "first 1200"}))
    frame = rows(1600, every=timedelta(minutes=10))  # 144 a day, eleven days from 1 January
    clock.move_to(frame["ts"].str.to_datetime(time_zone="UTC")[-1])
    send(site, frame)
    closed = windows(site)
    assert [w.rows for w in closed] == [144] * 11
    assert closed[-1].to_ts <= clock.now()
    assert {w.decision["verdict"] for w in closed[:8]} <= {"collecting_reference", "reference"}
    assert closed[-1].decision["verdict"] == "no_evidence"


@SQLITE_FIRST
def test_a_new_reference_starts_the_windows_anew(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1250))
    with site.database.write() as db:
        service.open_reference(site, db, store.model(db, "loans").id, reason="version v2 promoted")
    send(site, rows(250, start=1250, shift=0.8))
    newest = windows(site)[-1]
    assert (newest.number, newest.verdict) == (0, "unknown")
    assert "still being collected (250 of 1000 rows)" in newest.sentence


@SQLITE_FIRST
def test_a_spec_is_a_revision_with_both_digests_in_the_ledger(site: Site) -> None:
    assert declare(site, spec()).outcome == "created"
    assert declare(site, spec()).outcome == "unchanged"
    changed = declare(site, spec(owner="new-owner@example.com"))
    assert (changed.outcome, changed.revision) == ("changed", 2)
    assert kinds(site) == ["model.spec", "model.spec"]


@SQLITE_FIRST
def test_other_reasons_under_a_version_that_stood_for_others_are_refused(site: Site) -> None:
    def told(version: str, text: str, **more: str) -> ModelSpec:
        return spec(reasons={"adverse": "no", "table": {"version": version, "texts": {"amount": text} | more}})

    assert declare(site, told("1", "The amount is high")).outcome == "created"
    assert declare(site, told("2", "The amount is too high")).outcome == "changed"
    assert declare(site, told("1", "The amount is high")).outcome == "changed"  # an earlier table may return
    assert declare(site, told("1", "The amount is high")).outcome == "unchanged"
    wrong = r"'2', which stood for other reasons in revision 2 \(amount was 'The amount is too high', and is 'Other'\)"
    with pytest.raises(SpecError, match=wrong):
        declare(site, told("2", "Other"))


@SQLITE_FIRST
def test_a_metric_nobody_computes_is_refused_with_what_exists(site: Site) -> None:
    monitors = document()["monitors"] | {"kpi": [{"metric": "acuracy"}]}
    with pytest.raises(SpecError, match=r"monitors\.kpi\[0\]\.metric: 'acuracy'.*accuracy"):
        declare(site, spec(monitors=monitors))
    with site.database.read() as db, pytest.raises(ModelNotFoundError):
        store.model(db, "loans")


def test_an_alert_is_acknowledged_once_resolved_once_and_both_are_entries(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1000))
    send(site, rows(250, start=1000, shift=1.0))
    alert = open_alerts(site)[0]
    with site.database.write() as db:
        acknowledge_alert(site, db, alert.id, "anna", "looking")
    with pytest.raises(AlertStateError, match="acknowledged; it cannot be acknowledged"), site.database.write() as db:
        acknowledge_alert(site, db, alert.id, "anna", None)
    with site.database.write() as db:
        resolve_alert(site, db, alert.id, "anna", "reference was renewed")
    with pytest.raises(AlertStateError), site.database.write() as db:
        resolve_alert(site, db, alert.id, "anna", None)
    assert kinds(site)[-2:] == ["alert.acknowledged", "alert.resolved"]
    send(site, rows(250, start=1250, shift=1.0))
    assert [a.id != alert.id for a in open_alerts(site)] == [True]


@SQLITE_FIRST
def test_no_personal_data_enters_the_ledger(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1000))
    send(site, rows(250, start=1000, shift=1.0))
    with site.database.read() as db:
        whole = b"".join(ledger_lines(db))
    assert b'"c42"' not in whole
    assert b"e1001" not in whole
