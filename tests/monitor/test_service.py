"""Windows from first event to verdict: baseline, drift, KPIs as outcomes arrive, alerts; on SQLite and PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl
import pytest

from core.clock import ManualClock
from governance import ledger
from monitor import alerts, service, store
from monitor.errors import AlertStateError, ModelNotFoundError
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import receive_events, receive_outcomes
from monitor.schema import ModelSpec, SpecError
from monitor.site import Site
from monitor.tables import Alert, Window
from monitor.windows import evaluate
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def declare(site: Site, declared: ModelSpec) -> service.Applied:
    with site.database.write() as db:
        return service.apply_spec(site, db, declared, "tester")


def send(site: Site, frame: pl.DataFrame, *, outcomes: bool = True) -> None:
    assert receive_events(site, "loans", events_body(frame), NDJSON).accepted == frame.height
    if outcomes:
        assert receive_outcomes(site, "loans", outcomes_body(frame), NDJSON).accepted == frame.height
    evaluate(site, "loans")


def windows(site: Site) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, "loans").id)


def open_alerts(site: Site) -> Sequence[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.state != "resolved"]


def kinds(site: Site) -> list[str]:
    with site.database.read() as db:
        return [row.kind for row in ledger.rows(db, limit=1000)]


def test_a_shift_after_a_quiet_stretch_raises_one_episode_for_drift_and_one_for_the_kpi(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1500))
    assert [w.verdict for w in windows(site)] == ["unknown"] * 4 + ["ok"] * 2
    assert not open_alerts(site)
    send(site, rows(500, start=1500, shift=0.8, right=0.5))
    judged = windows(site)
    assert [w.verdict for w in judged[-2:]] == ["alarm", "alarm"]
    assert "amount" in judged[-1].sentence
    episodes = {a.monitor: a for a in open_alerts(site)}
    assert set(episodes) == {"drift", "kpi"}
    assert episodes["drift"].windows == episodes["kpi"].windows == 2
    assert kinds(site).count("alert.opened") == 2


@SQLITE
def test_kpis_appear_as_outcomes_arrive_and_say_how_many_there_were(site: Site) -> None:
    declare(site, spec())
    frame = rows(250)
    send(site, frame, outcomes=False)
    window = windows(site)[0]
    with site.database.read() as db:
        before = {m.metric: m for m in store.window_measurements(db, window.id) if m.monitor == "kpi"}
    assert before["accuracy"].value is None
    assert "no outcome has arrived" in (before["accuracy"].reason or "")
    receive_outcomes(site, "loans", outcomes_body(frame[:100]), NDJSON)
    assert evaluate(site, "loans") == [window.id]
    with site.database.read() as db:
        after = {m.metric: m for m in store.window_measurements(db, window.id) if m.monitor == "kpi"}
    right = (frame[:100]["decision"] == frame[:100]["truth"]).mean()
    assert after["accuracy"].value == pytest.approx(right)
    assert (after["accuracy"].n, after["accuracy"].details["rows"]) == (100, 250)
    assert windows(site)[0].labels == 100


@SQLITE
def test_evaluating_twice_changes_nothing(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1500))
    before = [(w.id, w.verdict, w.refreshed_at) for w in windows(site)]
    assert evaluate(site, "loans") == []
    assert [(w.id, w.verdict, w.refreshed_at) for w in windows(site)] == before


@SQLITE
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


@SQLITE
def test_a_new_baseline_starts_the_windows_anew(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1250))
    with site.database.write() as db:
        service.open_baseline(site, db, store.model(db, "loans").id, reason="version v2 promoted")
    send(site, rows(250, start=1250, shift=0.8))
    newest = windows(site)[-1]
    assert (newest.number, newest.verdict) == (0, "unknown")
    assert "still being collected (250 of 1000 rows)" in newest.sentence


@SQLITE
def test_a_spec_is_a_revision_with_both_digests_in_the_ledger(site: Site) -> None:
    assert declare(site, spec()).outcome == "created"
    assert declare(site, spec()).outcome == "unchanged"
    changed = declare(site, spec(owner="new-owner@example.com"))
    assert (changed.outcome, changed.revision) == ("changed", 2)
    assert kinds(site) == ["model.spec", "model.spec"]


@SQLITE
def test_a_metric_nobody_computes_is_refused_with_what_exists(site: Site) -> None:
    monitors = document()["monitors"] | {"kpi": [{"metric": "acuracy"}]}
    with pytest.raises(SpecError, match=r"monitors\.kpi\.0\.metric: 'acuracy'.*accuracy"):
        declare(site, spec(monitors=monitors))
    with site.database.read() as db, pytest.raises(ModelNotFoundError):
        store.model(db, "loans")


def test_an_alert_is_acknowledged_once_resolved_once_and_both_are_entries(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1000))
    send(site, rows(250, start=1000, shift=1.0))
    alert = open_alerts(site)[0]
    with site.database.write() as db:
        alerts.acknowledge(site, db, alert.id, "anna", "looking")
    with pytest.raises(AlertStateError, match="acknowledged; it cannot be acknowledged"), site.database.write() as db:
        alerts.acknowledge(site, db, alert.id, "anna", None)
    with site.database.write() as db:
        alerts.resolve(site, db, alert.id, "anna", "reference was renewed")
    with pytest.raises(AlertStateError), site.database.write() as db:
        alerts.resolve(site, db, alert.id, "anna", None)
    assert kinds(site)[-2:] == ["alert.acknowledged", "alert.resolved"]
    send(site, rows(250, start=1250, shift=1.0))
    assert [a.id != alert.id for a in open_alerts(site)] == [True]


@SQLITE
def test_no_personal_data_enters_the_ledger(site: Site) -> None:
    declare(site, spec())
    send(site, rows(1000))
    send(site, rows(250, start=1000, shift=1.0))
    with site.database.read() as db:
        whole = b"".join(ledger.lines(db))
    assert b"c42" not in whole
    assert b"e1001" not in whole
