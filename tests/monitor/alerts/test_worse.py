"""An episode that gets worse is told again: the headline follows, its history stays; what is the same is not told."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from core.clock import ManualClock
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.alerts import store as incident_store
from monitor.alerts.acknowledge import acknowledge_alert
from monitor.alerts.headlines import Alarm, is_worse, of_one_occurrence, told_window
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Alert, IncidentNote, Window
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec

ALARM = Alarm("drift", "p_value", "amount", 0.001, 0.01, "Drift: `amount`.", "info", ("amount", "region"))


def declare(site: Site, **monitors: Any) -> None:
    declared = document()["monitors"] | {"kpi": [], "fairness": []} | monitors
    with site.database.write() as db:
        service.apply_spec(site, db, spec(monitors=declared), "tester")


def send(site: Site, frame: pl.DataFrame, *, labelled: bool = False) -> None:
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == frame.height
    if labelled:
        assert receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON)).accepted == frame.height
    evaluate(site, "loans")


def with_level(frame: pl.DataFrame, share: float) -> pl.DataFrame:
    """The rows, of which a share comes from a region that the reference never saw."""
    step = round(1 / share)
    new = pl.int_range(pl.len()) % step == 0 if share < 0.5 else pl.int_range(pl.len()) % 10 < round(10 * share)
    return frame.with_columns(pl.when(new).then(pl.lit("west")).otherwise("region").alias("region"))


def alerts(site: Site, monitor: str = "drift") -> list[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == monitor]


def entries(site: Site, alert: Alert) -> list[str]:
    with site.database.read() as db:
        kinds = ("alert.opened", "alert.again", "alert.worse", "alert.acknowledged")
        found: Sequence[dict[str, Any]] = ledger_entries(db, kinds, subject="model:loans")
        return [e["kind"] for e in found if e["body"]["alert"] == str(alert.id)]


def timeline(site: Site, alert: Alert) -> Sequence[IncidentNote]:
    with site.database.read() as db:
        return [note for note in incident_store.notes(db, alert.incident_id) if note.alert_id == alert.id]


def test_a_level_that_goes_from_5_to_70_percent_within_the_episode_is_told_again(site: Site) -> None:
    declare(site)
    send(site, rows(1000))
    for at in range(2):
        send(site, with_level(rows(250, start=1000 + 250 * at), 0.05))
    (small,) = alerts(site)
    assert (small.column, entries(site, small)) == ("region", ["alert.opened"])
    assert small.severity == "warning"  # ten times the floor of values never seen
    with site.database.write() as db:
        acknowledge_alert(site, db, small.id, "anna", "known")
    for at in range(2):
        send(site, with_level(rows(250, start=1500 + 250 * at), 0.7))
    (large,) = alerts(site)
    assert large.id == small.id
    assert (large.severity, large.state, large.windows, len(large.episodes)) == ("critical", "open", 4, 1)
    assert "70.0 % of rows" in large.sentence
    assert large.value == pytest.approx(large.episodes[0]["headlines"][1]["value"])
    assert [h["severity"] for h in large.episodes[0]["headlines"]] == ["warning", "critical"]
    assert large.episodes[0]["headlines"][0]["sentence"] == small.sentence
    assert large.episodes[0]["sentence"] == large.sentence
    assert entries(site, large) == ["alert.opened", "alert.acknowledged", "alert.worse"]
    assert [n.kind for n in timeline(site, large)] == ["opened", "acknowledged", "worse"]
    with site.database.read() as db:
        incident = incident_store.incident(db, large.incident_id)
        window = db.get_one(Window, told_window(large))
    assert (incident.headline, incident.severity, incident.state) == (large.sentence, "critical", "open")
    assert window.from_seq == 1500, "the raw rows of the window that is told are confirmed"


@SQLITE_FIRST
def test_a_kpi_that_falls_through_its_limit_makes_the_change_of_its_inputs_more_severe(site: Site) -> None:
    declare(site, kpi=[{"metric": "accuracy", "min": 0.8}])
    send(site, rows(1000), labelled=True)
    send(site, rows(250, start=1000, shift=0.6), labelled=True)
    (drift,) = alerts(site)
    assert (drift.severity, alerts(site, "kpi")) == ("warning", [])
    send(site, rows(250, start=1250, shift=0.6, right=0.6), labelled=True)
    (drift,) = alerts(site)
    (kpi,) = alerts(site, "kpi")
    assert (drift.severity, entries(site, drift)) == ("critical", ["alert.opened", "alert.worse"])
    assert kpi.severity == "critical"  # twice the errors that the limit allows
    assert kpi.incident_id == drift.incident_id


@SQLITE_FIRST
def test_outcomes_that_arrive_late_make_the_change_of_their_window_more_severe(site: Site) -> None:
    declare(site, kpi=[{"metric": "accuracy", "min": 0.8}])
    send(site, rows(1000), labelled=True)
    late = rows(250, start=1000, shift=0.6, right=0.6)
    send(site, late)
    assert [a.severity for a in alerts(site)] == ["warning"]
    receive(site, "loans", "outcomes", Body(outcomes_body(late), NDJSON))
    evaluate(site, "loans")
    (drift,) = alerts(site)
    assert (drift.severity, entries(site, drift)) == ("critical", ["alert.opened", "alert.worse"])
    assert drift.sentence == drift.episodes[0]["headlines"][0]["sentence"]


@SQLITE_FIRST
def test_another_column_that_leads_is_told_again(site: Site, clock: ManualClock) -> None:
    declare(site)
    send(site, rows(1000))
    send(site, with_level(rows(250, start=1000), 0.1))
    send(site, with_level(rows(250, start=1250, shift=3.0), 0.1))
    (alert,) = alerts(site)
    assert (alert.column, entries(site, alert)) == ("amount", ["alert.opened", "alert.worse"])
    assert alert.sentence.startswith("Drift: `amount`")
    send(site, with_level(rows(250, start=1500, shift=3.0), 0.1))
    assert entries(site, alerts(site)[0]) == ["alert.opened", "alert.worse"]


@pytest.mark.parametrize(
    ("severity", "column", "worse"),
    [("info", "amount", False), ("info", "region", False), ("info", "city", True), ("warning", "amount", True),
     ("warning", "", True), ("info", "", False)],
)  # fmt: skip
def test_only_a_step_of_severity_or_a_column_that_was_not_named_is_worse(
    severity: Any, column: str, worse: bool
) -> None:
    told = [{"severity": "info", "columns": ["amount", "region"]}]
    assert is_worse(Alarm("drift", "p_value", column, None, None, "", severity), told) is worse


def test_episodes_of_two_window_lengths_that_overlap_or_last_are_one_occurrence() -> None:
    def episode(scale: str, begin: int, end: int, *, over: bool) -> dict[str, Any]:
        day = "2026-01-{:02}T00:00:00+00:00".format
        return {"scale": scale, "from_ts": day(begin), "to_ts": day(end), "ended": day(end + 1) if over else None}

    day = episode("1d", 5, 6, over=True)
    assert of_one_occurrence(episode("7d", 1, 8, over=False), [day]) == [day]
    assert of_one_occurrence(episode("7d", 6, 13, over=False), [day]) == []
    running = episode("1d", 5, 6, over=False)
    assert of_one_occurrence(episode("7d", 6, 13, over=False), [running]) == [running]
    assert of_one_occurrence(episode("7d", 1, 8, over=False), [day | {"withdrawn": True}]) == []


@SQLITE_FIRST
def test_a_day_and_two_days_that_see_one_change_are_announced_once(site: Site, clock: ManualClock) -> None:
    clock.move_to(clock.now() + timedelta(days=60))
    lengths = {"windows": ["1d", "2d"], "false_alarms": "1 per 3d", "kpi": [], "fairness": []}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(baseline={"rows": "first 4800"}, monitors=lengths), "tester")
    every = timedelta(minutes=6)  # 240 rows a day
    send(site, rows(4800, every=every))
    send(site, rows(1201, start=4800, shift=2.0, every=every))
    (alert,) = alerts(site)
    assert {e["scale"] for e in alert.episodes} == {"1d", "2d"}
    assert sorted(len(e["headlines"]) for e in alert.episodes) == [0, 1]
    assert entries(site, alert) == ["alert.opened"]
